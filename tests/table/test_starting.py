"""Starting a triggered job on a real database: locks that others hold, and the rows it reads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from databases import Database
from psycopg import sql
from working import Work

from jobs_exec import Envelope, JobContext, job_type
from jobs_exec.contracts import StartOutcome
from jobs_exec.errors import BackendUnavailable
from jobs_exec.inline import Call, Ending, Inline
from jobs_exec.job import Action

LOCK_TIMEOUT = 3.0
_WAITING = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def handler(ctx: JobContext, data: dict[str, Any]) -> int:
    return ctx.attempt


def call(**data: Any) -> Call:
    return Call(Envelope("acme", "work", data))


@pytest.fixture
def work(migrated: Database) -> Work:
    return Work(migrated, (job_type("work", handler),))


async def test_a_job_of_an_open_transaction_is_started_when_that_commits(work: Work) -> None:
    async with Inline.open(host=work.host()) as inline, Inline.open(host=work.host()) as other:
        backend = other.host.backend
        async with backend.transaction() as connection:
            receipt = await enqueue(work, connection)
            triggered = asyncio.ensure_future(inline.trigger(call()))
            await until_waiting(work.database)
        ending = await triggered
    assert (ending.start.outcome, ending.start.job_id) == (StartOutcome.STARTED, receipt)


async def test_a_transaction_that_stays_open_keeps_a_caller_for_a_few_seconds_only(work: Work) -> None:
    async with Inline.open(host=work.host()) as inline:
        async with inline.host.backend.transaction() as connection:
            await enqueue(work, connection)
            began = time.monotonic()
            ending = await inline.trigger(call())
            waited = time.monotonic() - began
        assert (ending.start.outcome, ending.start.job_id) == (StartOutcome.RUNNING, None)
        assert waited > LOCK_TIMEOUT * 0.9
        assert done(await inline.trigger(call()))


async def test_a_transaction_that_is_rolled_back_leaves_the_work_to_the_caller(work: Work) -> None:
    async with Inline.open(host=work.host()) as inline:
        with contextlib.suppress(ZeroDivisionError):
            async with inline.host.backend.transaction() as connection:
                await enqueue(work, connection)
                triggered = asyncio.ensure_future(inline.trigger(call()))
                await until_waiting(work.database)
                raise ZeroDivisionError
        assert done(await triggered)
    assert len(work.ends()) == 1


async def test_a_row_that_somebody_has_locked_counts_as_running(work: Work) -> None:
    receipt = await work.enqueue("acme", "work", {})
    async with Inline.open(host=work.host()) as inline:
        with work.database.connect() as holder, holder.transaction():
            holder.execute("select from jobs.jobs_queue for update")
            ending = await inline.trigger(call())
            assert (ending.start.outcome, ending.start.job_id) == (StartOutcome.RUNNING, receipt.id)
        assert done(await inline.trigger(call()))
    assert work.ends() == {receipt.id: ("succeeded", None, 1)}


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_where_a_transaction_does_not_see_what_has_just_ended_nothing_is_run(work: Work, isolation: str) -> None:
    database = sql.Identifier(work.database.name)
    with work.database.connect() as owner:
        owner.execute(
            sql.SQL("alter database {} set default_transaction_isolation = {}").format(database, sql.Literal(isolation))
        )
    await work.enqueue("acme", "work", {})
    with pytest.raises(BackendUnavailable, match=isolation):
        async with Inline.open(host=work.host()):
            pass
    with pytest.raises(BackendUnavailable, match="read committed"):
        await work.drained()


async def test_triggers_and_enqueues_of_many_pieces_of_work_at_once_run_each_once(work: Work) -> None:
    ran: list[int] = []

    async def counted(ctx: JobContext, data: dict[str, Any]) -> None:
        ran.append(data["n"])

    work.types = (job_type("work", counted),)
    async with work.at_work() as working, Inline.open(host=work.host()) as inline, Inline.open(host=work.host()) as two:
        calls = [each.trigger(call(n=n)) for n in range(40) for each in (inline, two)]
        enqueues = [inline.accept(call(n=n)) for n in range(40)]
        await asyncio.gather(*calls, *enqueues)
        await working.until(lambda: len(work.ends()) == 40)
        await working.until(lambda: {status for status, _, _ in work.ends().values()} == {"succeeded"})
    assert sorted(ran) == list(range(40))


async def test_the_record_of_an_ended_caller_is_gone_and_the_types_stay_known(work: Work) -> None:
    async with Inline.open(host=work.host()) as inline:
        await inline.trigger(call())
    assert work.database.execute("select count(*) from jobs.job_executors") == [(0,)]
    assert work.database.execute("select name from jobs.job_types") == [("work",)]


async def enqueue(work: Work, connection: object) -> Any:
    from jobs_exec.client import Client

    async with Client.open(host=work.host()) as client:
        return (await client.enqueue(org_id="acme", type="work", data={}, connection=connection)).id


async def until_waiting(database: Database) -> None:
    """A session waits for the end of another's transaction."""
    async with asyncio.timeout(10):
        while not database.execute(_WAITING):  # noqa: ASYNC110  (a condition of the server)
            await asyncio.sleep(0.01)


def done(ending: Ending) -> bool:
    return ending.settlement is not None and ending.settlement.action is Action.SUCCEED
