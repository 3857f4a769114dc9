"""The executor over a real PostgreSQL: whole journeys, and a server that goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from databases import Database

from jobs_exec import JobContext, JobType, Snooze, job_type
from jobs_exec.client import Client
from jobs_exec.contracts import Policy
from jobs_exec.executor import Executor, ExitReport, Mode, Progress
from jobs_exec.host import Host
from jobs_exec.settings import CoreSettings
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings

PATIENCE = 30.0


def host_of(database: Database, *types: JobType) -> Host:
    policy = Policy(poll_interval=0.05, lease=5.0)
    backend = TableBackend(policy, TableSettings(JOB_DATABASE_URL=database.url))
    table = {made.name: made for made in types}
    return Host(settings=CoreSettings(), policy=policy, backend=backend, store=backend.ledger, job_types=table)


async def enqueue(database: Database, *types: JobType, count: int = 1, orgs: int = 1) -> None:
    async with Client.open(host=host_of(database, *types)) as client:
        for n in range(count):
            await client.enqueue(org_id=f"org-{n % orgs}", type=types[0].name, data={"n": n})


async def drained(database: Database, *types: JobType) -> ExitReport:
    return await asyncio.wait_for(Executor(host_of(database, *types), mode=Mode.DRAIN).run(), PATIENCE)


def rows(database: Database, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        cursor = connection.execute(text)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


async def test_jobs_of_many_orgs_run_once_each_and_leave_a_run(migrated: Database) -> None:
    seen: list[tuple[str, int]] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> int:
        seen.append((ctx.org_id, data["n"]))
        return int(data["n"])

    made = job_type("work", handler)
    await enqueue(migrated, made, count=250, orgs=7)
    report = await drained(migrated, made)
    assert (report.exit_code, report.counts.succeeded) == (0, 250)
    assert len(set(seen)) == len(seen) == 250
    assert rows(migrated, "select status, count(*) from jobs.job_runs group by 1") == [("succeeded", 250)]
    assert rows(migrated, "select 1 from jobs.jobs_queue") == []


@pytest.mark.parametrize("sync", [False, True])
async def test_effects_commit_with_the_success_and_with_nothing_else(migrated: Database, sync: bool) -> None:
    rows(migrated, "create table effects (n int)")
    attempts: list[int] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (data["n"],))
        fail_first(ctx)

    def in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction() as connection:
            connection.execute("insert into effects values (%s)", (data["n"],))
        fail_first(ctx)

    def fail_first(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("after the writes")

    made = job_type("work", in_thread if sync else handler, backoff=lambda attempt: 0.0)
    await enqueue(migrated, made, count=3)
    report = await drained(migrated, made)
    assert (report.counts.succeeded, report.counts.retried) == (3, 3)
    assert sorted(attempts) == [1, 1, 1, 2, 2, 2]
    assert rows(migrated, "select n from effects order by n") == [(0,), (1,), (2,)]


async def test_a_job_added_in_the_transaction_of_an_attempt_is_run(migrated: Database) -> None:
    seen: list[str] = []

    async def parent(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction():
            await ctx.enqueue(type="child")

    async def child(ctx: JobContext, data: dict[str, Any]) -> None:
        seen.append(ctx.org_id)

    made = (job_type("parent", parent), job_type("child", child))
    await enqueue(migrated, *made)
    assert (await drained(migrated, *made)).counts.succeeded == 2
    assert seen == ["org-0"]


async def test_a_snoozed_job_comes_back_when_it_is_due(migrated: Database) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> Any:
        return Snooze(60)

    made = job_type("work", handler)
    await enqueue(migrated, made)
    report = await drained(migrated, made)
    assert report.counts.snoozed == 1
    assert rows(migrated, "select attempts from jobs.jobs_queue") == [(0,)]


async def test_sessions_that_the_server_ends_cost_no_job(migrated: Database) -> None:
    """Every session of ours is ended while handlers run: claims, settles and heartbeats reconnect."""

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        await asyncio.sleep(0)

    made = job_type("work", handler, identity="none")
    await enqueue(migrated, made, count=300, orgs=3)
    ended = 0

    def cut(progress: Progress) -> None:
        nonlocal ended
        if ended < 3 and progress.succeeded >= ended * 50:
            ended += 1
            others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            rows(migrated, f"{others} and pid <> pg_backend_pid()")

    executor = Executor(host_of(migrated, made), mode=Mode.DRAIN, on_progress=cut)
    report = await asyncio.wait_for(executor.run(), PATIENCE)
    assert ended == 3
    assert report.exit_code == 0
    assert rows(migrated, "select status, count(*) from jobs.job_runs group by 1") == [("succeeded", 300)]
    assert rows(migrated, "select 1 from jobs.jobs_queue") == []
