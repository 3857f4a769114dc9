"""Claims whose reply or lease was lost, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
from databases import Database
from executing import come_true
from working import PATIENCE, Work

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import ExecutorRecord, Policy, TypeRecord
from jobs_exec.executor import Executor, Mode
from jobs_exec.identity import Identity
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings

CLAIM = "select from jobs.jobs_claim_v1(%s, 'default', array['work'], 10, 1000000, '', 100, '{}', '{}', 60)"
WAITING = "select 1 from pg_stat_activity where query like '%executor_forget%' and pid <> pg_backend_pid() and wait_event_type = 'Lock'"


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


async def test_jobs_of_a_claim_that_has_not_committed_yet_are_waited_for_and_given_back(migrated: Database) -> None:
    work = Work(migrated, (job_type("work", nothing),))
    await work.enqueue_each("acme", "work", 2)
    backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=migrated.url))
    await backend.open()
    executor = uuid4()
    types = (TypeRecord("work", "default", Identity.PAYLOAD),)
    await backend.join(ExecutorRecord(executor, "probe", 60.0, ("default",), types))
    with psycopg.connect(migrated.url) as claiming:
        claiming.execute(CLAIM, (executor,))
        giving = asyncio.ensure_future(backend.give_back_unknown(executor, ()))
        await come_true(lambda: giving.done() or bool(migrated.execute(WAITING)))
        assert not giving.done()
        assert await backend.heartbeat(executor)
        claiming.commit()
        assert await asyncio.wait_for(giving, PATIENCE) == 2
    await backend.close()
    assert [end[0::2] for end in work.ends().values()] == [("ready", 0), ("ready", 0)]


async def test_a_drain_whose_lease_has_lapsed_does_not_take_the_queue_for_empty(migrated: Database) -> None:
    started, let_go = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        started.set()
        await let_go.wait()

    work = Work(migrated, (job_type("work", handler),), settings={"queues": "default:2"})
    jobs = await work.enqueue_each("acme", "work", 12)
    running = asyncio.ensure_future(Executor(work.host(), mode=Mode.DRAIN).run())
    await asyncio.wait_for(started.wait(), PATIENCE)
    migrated.execute("update jobs.job_executors set lease_until = clock_timestamp() - interval '1 ms'")
    let_go.set()
    report = await asyncio.wait_for(running, PATIENCE)
    assert (report.exit_code, report.counts.succeeded) == (0, len(jobs))
