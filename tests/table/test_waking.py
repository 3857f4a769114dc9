"""Hints: quick where they can be heard, and no harm where they cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from databases import Database
from poolers import Pooled

from jobs_exec_table import waking as waking_module
from jobs_exec_table.connections import Connections
from jobs_exec_table.notifying import CHANNEL, Notifier
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.waking import Waking

LONG = 30.0


@asynccontextmanager
async def opened(url: str, listen_url: str | None = None) -> AsyncIterator[tuple[Connections, Waking]]:
    connections = Connections(TableSettings(JOB_DATABASE_URL=url, JOB_LISTEN_URL=listen_url))
    await connections.open()
    waking = Waking(connections)
    try:
        yield connections, waking
    finally:
        await waking.close()
        await waking.close()
        await connections.close()


@asynccontextmanager
async def listening(url: str, listen_url: str | None = None) -> AsyncIterator[Waking]:
    async with opened(url, listen_url) as (_, waking):
        await heard(waking)
        yield waking


async def heard(waking: Waking) -> None:
    """Waits until the listener listens and its first wake-up is taken."""
    await waking.wait(["default"], 0.0)
    async with asyncio.timeout(20):
        await waking.listening.wait()
    await waking.wait(["default"], 0.0)


async def test_a_hint_of_another_process_ends_the_wait(migrated: Database) -> None:
    async with listening(migrated.url) as waking, opened(migrated.url) as (_, other):
        waiting = asyncio.create_task(waking.wait(["default"], LONG))
        await asyncio.sleep(0)
        other.wake(["default"])
        assert await waiting is True


async def test_a_hint_for_another_queue_does_not(migrated: Database) -> None:
    async with listening(migrated.url) as waking:
        waking.wake(["reports"])
        both = [asyncio.create_task(waking.wait([queue], LONG)) for queue in ("default", "reports")]
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert done == {both[1]}
        both[0].cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def test_without_a_hint_the_wait_ends_with_its_time(migrated: Database) -> None:
    async with listening(migrated.url) as waking:
        assert await waking.wait(["default"], 0.01) is False


async def test_a_hint_that_came_while_nobody_waited_is_kept(migrated: Database) -> None:
    async with listening(migrated.url) as waking:
        waking.wake(["default"])
        async with asyncio.timeout(20):
            while not await waking.wait(["default"], 0.0):
                await asyncio.to_thread(one_notification, migrated)


def one_notification(database: Database) -> None:
    """The time that a hint needs."""
    with database.connect() as connection:
        connection.execute("listen again")
        connection.execute("notify again")
        assert list(connection.notifies(timeout=5, stop_after=1))


async def test_the_listener_comes_back_after_its_session_was_ended_and_wakes_everybody_once(migrated: Database) -> None:
    async with listening(migrated.url) as waking:
        waiting = asyncio.create_task(waking.wait(["default"], LONG))
        await asyncio.sleep(0)
        end_listener(migrated)
        assert await waiting is True
        async with asyncio.timeout(20):
            await waking.listening.wait()
        again = asyncio.create_task(waking.wait(["default"], LONG))
        await asyncio.sleep(0)
        waking.wake(["default"])
        assert await again is True


def end_listener(database: Database) -> None:
    with psycopg.connect(database.server.url("postgres"), autocommit=True) as connection:
        found = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = %s and application_name = 'jobs-exec listen'",
            (database.name,),
        ).fetchall()
    assert found == [(True,)]


async def test_an_outage_is_told_once(migrated: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jobs_exec.table")
    async with listening(migrated.url) as waking:
        migrated.server.execute(*allow_connections(migrated, False))
        end_listener(migrated)
        async with asyncio.timeout(20):
            while not caplog.records:
                await waking.wait(["default"], 0.05)
        await waking.wait(["default"], 0.5)
        migrated.server.execute(*allow_connections(migrated, True))
        async with asyncio.timeout(20):
            await waking.listening.wait()
    assert ["polling goes on" in record.getMessage() for record in caplog.records] == [True]


def allow_connections(database: Database, allowed: bool) -> list[psycopg.sql.Composed]:
    return [
        psycopg.sql.SQL("alter database {} allow_connections {}").format(
            psycopg.sql.Identifier(database.name), psycopg.sql.Literal(allowed)
        )
    ]


async def test_a_client_that_never_waits_never_listens(migrated: Database) -> None:
    async with opened(migrated.url) as (_, waking):
        waking.wake(["default"])
        await waking.close()
        assert not [each for each in migrated.sessions() if "listen" in each]


# --- few hints ------------------------------------------------------------------------------------------


async def test_many_hints_become_one_at_each_edge(migrated: Database) -> None:
    async with opened(migrated.url) as (connections, _):
        notifier = Notifier(connections, interval=LONG)
        with migrated.connect() as listener:
            listener.execute(f"listen {CHANNEL}".encode())
            for _ in range(100):
                notifier.hint(["default", "reports"])
            leading = await asyncio.to_thread(received, listener, 2)
            for _ in range(100):
                notifier.hint(["default"])
            await notifier.close()
            trailing = await asyncio.to_thread(received, listener, 2)
        assert sorted(leading) == ["default", "reports"]
        # The first hundred hints left a trailing one for each queue, in which the second hundred are contained.
        assert sorted(trailing) == ["default", "reports"]


def received(connection: psycopg.Connection[tuple[object, ...]], count: int) -> list[str]:
    found = [notify.payload for notify in connection.notifies(timeout=10, stop_after=count)]
    return found + [notify.payload for notify in connection.notifies(timeout=0.1)]


async def test_a_single_hint_has_no_second(migrated: Database) -> None:
    async with opened(migrated.url) as (connections, _):
        notifier = Notifier(connections, interval=0.01)
        with migrated.connect() as listener:
            listener.execute(f"listen {CHANNEL}".encode())
            notifier.hint(["default"])
            assert await asyncio.to_thread(received, listener, 1) == ["default"]
        await notifier.close()


async def test_a_hint_that_fails_is_dropped_silently(migrated: Database) -> None:
    async with opened(migrated.url) as (connections, waking):
        await connections.close()
        waking.wake(["default"])
        await waking.close()


# --- poolers --------------------------------------------------------------------------------------------


async def test_behind_a_pooler_nobody_listens_and_it_is_said_once(
    pooled: Pooled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobs_exec.table")
    async with opened(pooled.url) as (connections, waking):
        assert connections.pooled
        for _ in range(3):
            assert await waking.wait(["default"], 0.01) is False
    assert ["JOB_LISTEN_URL" in record.getMessage() for record in caplog.records] == [True]


async def test_a_listen_url_past_the_pooler_hears_hints_sent_through_it(pooled: Pooled) -> None:
    async with listening(pooled.url, pooled.direct.url) as waking:
        waiting = asyncio.create_task(waking.wait(["default"], LONG))
        await asyncio.sleep(0)
        waking.wake(["default"])
        assert await waiting is True


async def test_a_listen_url_through_the_pooler_is_found_out(
    pooled: Pooled, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "jobs_exec.table")
    monkeypatch.setattr(waking_module, "PROBE_TIMEOUT", 0.3)
    async with opened(pooled.url, pooled.url) as (_, waking):
        async with asyncio.timeout(20):
            while not caplog.records:
                assert await waking.wait(["default"], 0.05) is False
        assert not waking.listening.is_set()
    assert "nothing is delivered" in caplog.text
