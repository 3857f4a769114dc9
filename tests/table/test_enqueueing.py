"""Enqueueing on Postgres beyond the contract: bulk, COPY, callers' connections, and the twin in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from databases import Database
from psycopg.rows import dict_row

from jobs_exec.contracts import Policy
from jobs_exec.errors import InvalidJob
from jobs_exec.job import NewJob
from jobs_exec.testing.driving import Driver, new_job
from jobs_exec_table import claiming
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.enqueueing import CHUNK, COPY_FROM
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings


@pytest.fixture
async def backend(migrated: Database) -> AsyncIterator[TableBackend]:
    made = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=migrated.url))
    await made.open()
    yield made
    await made.close()


def many(count: int, type: str = "work") -> list[NewJob]:
    return [new_job("acme", {"n": n}, type) for n in range(count)]


async def test_a_batch_of_several_statements_keeps_its_order_and_its_receipts(
    migrated: Database, backend: TableBackend
) -> None:
    jobs = many(CHUNK + 500)
    jobs.append(new_job("acme", {"n": 3}))
    receipts = await backend.enqueue(jobs)
    assert [receipt.id for receipt in receipts[:-1]] == [job.id for job in jobs[:-1]]
    assert (receipts[-1].id, receipts[-1].duplicate) == (jobs[3].id, True)
    stored = migrated.execute("select id from jobs.jobs_queue order by seq")
    assert [row[0] for row in stored] == [job.id for job in jobs[:-1]]


async def test_two_batches_in_opposite_order_do_not_end_each_other(backend: TableBackend) -> None:
    jobs = many(CHUNK + 2000)
    first, second = await asyncio.gather(backend.enqueue(jobs), backend.enqueue(list(reversed(many(len(jobs))))))
    created = [receipt.id for receipt in (*first, *second) if not receipt.duplicate]
    assert len(created) == len(set(created)) == len(jobs)


async def test_jobs_without_identity_are_copied_and_run_like_others(migrated: Database, backend: TableBackend) -> None:
    receipts = await backend.enqueue(many(COPY_FROM, "each"))
    driver = await Driver(TableHarness(backend, migrated.url)).join()
    claimed = [job.id for _ in range(5) for job in (await driver.claim()).jobs]
    assert claimed == [receipt.id for receipt in receipts]


@pytest.mark.parametrize("row_factory", [psycopg.rows.tuple_row, dict_row])
async def test_a_callers_connection_may_have_a_row_factory_of_its_own(
    migrated: Database, backend: TableBackend, row_factory: object
) -> None:
    job = new_job("acme")
    async with await psycopg.AsyncConnection.connect(migrated.url, row_factory=row_factory) as connection:  # type: ignore[call-overload]
        (created,) = await backend.enqueue([job], connection)
        assert await backend.known_types(connection) == {}
    with psycopg.connect(migrated.url, row_factory=row_factory) as connection:  # type: ignore[call-overload]
        (repeat,) = backend.enqueue_sync([new_job("acme")], connection)
    assert (created.id, repeat.id, repeat.duplicate) == (job.id, job.id, True)


async def test_what_is_no_connection_is_refused_by_name(backend: TableBackend) -> None:
    with pytest.raises(InvalidJob, match="AsyncConnection"):
        await backend.enqueue([new_job("acme")], object())
    with pytest.raises(InvalidJob, match="psycopg Connection"):
        backend.enqueue_sync([new_job("acme")], object())


async def test_sql_and_a_client_mean_the_same_piece_of_work_by_one_key(
    migrated: Database, backend: TableBackend
) -> None:
    (made,) = await backend.enqueue([new_job("acme", {"a": 1}, key="k")])
    rows = migrated.execute(
        "select id, outcome, conflict from jobs.enqueue('acme', 'work', '{\"a\": 1}', key => 'k',"
        " allow_unregistered => true)"
    )
    assert rows == [(made.id, "duplicate", False)]


async def test_a_cursor_that_cannot_be_kept_costs_no_claim(
    migrated: Database, backend: TableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "CURSOR_EVERY", 0.0)
    migrated.execute("drop table jobs.job_cursors")
    migrated.execute("create table jobs.job_cursors (queue text, cursor text, check (false))")
    await backend.enqueue([new_job("acme")])
    driver = await Driver(TableHarness(backend, migrated.url)).join()
    assert len((await driver.claim()).jobs) == 1
    await backend.leave(driver.id)
    assert migrated.execute("select state::text, suspect from jobs.jobs_queue") == [("ready", False)]
