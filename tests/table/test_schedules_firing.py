"""Firing on a real database: many at once, sessions that end in the middle, transactions of others, many orgs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from books import MINUTE, TICK, firing, opened_book, record
from databases import Database
from psycopg.rows import TupleRow

from jobs_exec.contracts import Fired, FireOutcome, Firing, tick_key
from jobs_exec.errors import BackendUnavailable
from jobs_exec.identity import Identity, run_hash
from jobs_exec_table import scheduling
from jobs_exec_table.faults import StatementRefused
from jobs_exec_table.statements import statement

ORGS = tuple(f"org-{number:03}" for number in range(250))
WAITING = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
BLOCK = (
    "insert into jobs.jobs_queue (digest, identity, org_id, type, run_hash)"
    " values (encode(substring(%(hash)s::bytea from 1 for 16), 'hex')::uuid, 'key', 'org-100', 'work', %(hash)s)"
)
"""The job that the firing would make for one of the orgs."""


async def test_of_eight_that_fire_one_tick_at_once_exactly_one_does(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add(orgs="*")
    for number in range(10):
        answers = at_once(migrated, Firing(view.id, (TICK + number * MINUTE,), ORGS[:20], TICK + number * MINUTE))
        fired = [answer for answer in answers if answer[0] == "fired"]
        assert [answer[1:4] for answer in fired] == [(20, 0, 0)]
        assert {answer[0] for answer in answers} <= {"fired", "busy", "moved"}
    counted = migrated.execute("select count(*), count(distinct digest) from jobs.jobs_queue")
    assert counted == [(200, 200)]
    assert migrated.execute("select fired from jobs.job_schedules") == [(10,)]


async def test_a_session_that_ends_in_the_middle_leaves_nothing_and_another_fires_all(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add(orgs="*", overlap="skip")
        with migrated.connect() as other, other.transaction():
            block(other, view.id)
            halted = asyncio.ensure_future(book.backend.schedules.fire(firing(view, ORGS)))
            (pid,) = await waiting(migrated)
            assert migrated.execute("select pg_terminate_backend(%s)", pid) == [(True,)]
            with pytest.raises(BackendUnavailable):
                await halted
            raise psycopg.Rollback
        assert await book.view() == view
        assert book.jobs() == []
        assert migrated.execute("select * from jobs.job_schedule_jobs") == []
        assert await book.backend.schedules.fire(firing(view, ORGS)) == Fired(FireOutcome.FIRED, created=250)


async def test_a_schedule_that_somebody_has_locked_is_busy_and_nobody_waits(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add()
        with migrated.connect() as other, other.transaction():
            other.execute("select from jobs.job_schedules for update")
            assert (await book.backend.schedules.fire(firing(view))).outcome is FireOutcome.BUSY
        assert (await book.backend.schedules.fire(firing(view))).outcome is FireOutcome.FIRED


async def test_a_transaction_that_keeps_one_job_holds_nobody_up_for_long(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add(orgs="*")
        with migrated.connect() as other, other.transaction():
            block(other, view.id)
            assert (await book.backend.schedules.fire(firing(view, ORGS))) == Fired(FireOutcome.BUSY)
            assert await book.view() == view
        answer = await book.backend.schedules.fire(firing(view, ORGS))
    assert answer == Fired(FireOutcome.FIRED, created=249, duplicates=1)


async def test_more_jobs_than_one_call_takes_are_one_transaction(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "CHUNK", 100)
    async with opened_book(migrated) as book:
        view = await book.add(orgs="*", overlap="skip")
        assert await book.backend.schedules.fire(firing(view, ORGS, ticks=2)) == Fired(
            FireOutcome.FIRED, created=250, skipped=250
        )
        moved = await book.view()
        assert (moved.next_tick, moved.last_tick, moved.fired) == (TICK + 2 * MINUTE, TICK + MINUTE, 2)
        with migrated.connect() as other, other.transaction():
            block(other, view.id, tick=2)
            migrated.execute("truncate jobs.job_schedule_jobs")
            assert (await book.backend.schedules.fire(firing(moved, ORGS))).outcome is FireOutcome.BUSY
        assert await book.view() == moved
        assert len(book.jobs()) == 251, "the calls before the one that was refused left their jobs"
        assert (await book.backend.schedules.fire(firing(view, ORGS))).outcome is FireOutcome.MOVED


async def test_a_tenants_schedule_fires_for_no_other_tenant(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add(org_id="acme")
        with pytest.raises(StatementRefused, match="22023"):
            await book.backend.schedules.fire(firing(view, ("acme", "emca")))
        assert book.jobs() == []
        assert (await book.backend.schedules.fire(firing(view))).created == 1


async def test_what_cannot_be_a_job_fails_its_firing_whole(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add(orgs="*")
        with pytest.raises(StatementRefused, match="org_id_has_no_white_space_around_it"):
            await book.backend.schedules.fire(firing(view, ("acme", " emca")))
        assert (book.jobs(), await book.view()) == ([], view)


async def test_executors_that_start_at_once_write_their_schedules_once(migrated: Database) -> None:
    records = [record(f"coded-{number}", owner="app") for number in range(20)]
    async with opened_book(migrated, size=4) as one, opened_book(migrated, size=4) as two:
        async with asyncio.timeout(30):
            await asyncio.gather(*(book.backend.schedules.sync(records) for book in (one, two, one, two)))
        written = migrated.execute("select ref, xmin::text from jobs.job_schedules order by ref")
        await one.backend.schedules.sync(records[::-1])
        assert migrated.execute("select ref, xmin::text from jobs.job_schedules order by ref") == written
    assert len(written) == 20


async def test_a_day_later_only_notes_about_live_jobs_are_kept(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.backend.schedules.fire(firing(await book.add(orgs="*", overlap="skip"), ORGS[:3]))
        migrated.execute("delete from jobs.jobs_queue where org_id <> 'org-001'")
        assert await book.backend.purge() == 0
        migrated.execute("update jobs.job_schedule_jobs set seen_at = now() - interval '25 hours'")
        assert await book.backend.purge() == 2
        notes = "select org_id::text, seen_at > now() - interval '1 hour' from jobs.job_schedule_jobs"
        assert migrated.execute(notes) == [("org-001", True)]
        await book.backend.schedules.remove((await book.view()).id)
        assert migrated.execute(notes) == []


async def test_a_job_that_is_redriven_days_later_is_skipped_for(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.backend.schedules.fire(firing(await book.add(overlap="skip")))
        ((job,),) = migrated.execute("select id from jobs.jobs_queue")
        migrated.execute("select jobs.jobs_end_v1(array[%s::uuid], array['dead'], 1e6, array['failed'])", job)
        migrated.execute("update jobs.job_schedule_jobs set seen_at = now() - interval '25 hours'")
        assert await book.backend.purge() == 0
        await book.backend.operator.redrive([job])  # type: ignore[list-item]
        fired = await book.backend.schedules.fire(firing(await book.view()))
        assert (fired.created, fired.skipped) == (0, 1)


def at_once(database: Database, asked: Firing, threads: int = 8) -> list[TupleRow]:
    """What each of several sessions was answered to one firing."""
    barrier = threading.Barrier(threads)
    call = {
        "schedule": asked.schedule,
        "expected": asked.expected,
        "ticks": [*asked.ticks],
        "orgs": [*asked.orgs],
        "next": asked.ticks[-1] + MINUTE,
        "missed": 0,
        "max_attempts": 5,
        "more": False,
    }

    def fire() -> TupleRow:
        with database.connect() as connection:
            barrier.wait(10)
            return connection.execute(statement("schedule_fire"), call).fetchall()[0]

    with ThreadPoolExecutor(threads) as pool:
        answers = [future.result() for future in [pool.submit(fire) for _ in range(threads)]]
    assert Counter(answer[0] for answer in answers)["fired"] == 1
    return answers


def block(connection: psycopg.Connection[TupleRow], schedule: object, tick: int = 0) -> None:
    """Enqueues one of the jobs in the transaction of `connection`."""
    key = tick_key(schedule, TICK + tick * MINUTE)  # type: ignore[arg-type]
    connection.execute(BLOCK, {"hash": run_hash("org-100", "work", Identity.KEY, key.encode())})


async def waiting(database: Database) -> list[object]:
    """The sessions that wait for another's transaction, when there are any."""
    async with asyncio.timeout(10):
        while not (found := database.execute(WAITING)):  # noqa: ASYNC110  (a condition of the server)
            await asyncio.sleep(0.01)
    return [pid for (pid,) in found]
