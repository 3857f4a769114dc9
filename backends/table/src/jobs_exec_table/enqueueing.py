"""Enqueueing: one statement for up to 5,000 jobs, in a connection of ours or in the caller's, async or sync.

Durable commits, one client, PostgreSQL 18: one by one, `unnest` of 1,000 and COPY differ by an order of magnitude
each (figures in docs/explanation/design.md). COPY is taken only where no identity needs checking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row

from jobs_exec import Identity
from jobs_exec.job import NewJob, Receipt, ReceiptOutcome
from jobs_exec_table.caller import async_connection, sync_connection
from jobs_exec_table.connections import Connections
from jobs_exec_table.faults import translated_enqueue
from jobs_exec_table.statements import statement

CHUNK = 5_000
"""Jobs of one statement; more of them share a transaction."""

COPY_FROM = 500
"""Jobs from which COPY wins over the statement."""


class Enqueueing:
    """Inserts jobs and answers with receipts in input order."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None) -> list[Receipt]:
        """See `QueueBackend.enqueue`."""
        if connection is not None:
            return await _in(async_connection(connection), jobs)
        copying = self._connections.may_copy and _copyable(jobs)
        if len(jobs) <= CHUNK and not copying:
            async with self._connections.connection() as own:
                return await _in(own, jobs)
        async with self._connections.transaction() as own:
            return await _copy(own, jobs) if copying else await _in(own, jobs)

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        """See `QueueBackend.enqueue_sync`."""
        own = sync_connection(connection)
        receipts: list[Receipt] = []
        with translated_enqueue():
            for chunk in _chunks(jobs):
                rows = own.cursor(row_factory=tuple_row).execute(statement("enqueue"), _parameters(chunk)).fetchall()
                receipts += _receipts(chunk, rows)
        return receipts


async def _in(connection: AsyncConnection[Any], jobs: Sequence[NewJob]) -> list[Receipt]:
    receipts: list[Receipt] = []
    with translated_enqueue():
        for chunk in _chunks(jobs):
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(statement("enqueue"), _parameters(chunk))
            receipts += _receipts(chunk, await cursor.fetchall())
    return receipts


async def _copy(connection: AsyncConnection[TupleRow], jobs: Sequence[NewJob]) -> list[Receipt]:
    async with connection.cursor().copy(statement("copy_jobs")) as copy:
        for job in jobs:
            await copy.write_row(_copy_row(job))
    return [Receipt(job.id, ReceiptOutcome.CREATED) for job in jobs]


def _copyable(jobs: Sequence[NewJob]) -> bool:
    return len(jobs) >= COPY_FROM and all(
        job.identity is Identity.NONE and job.run_at is None and not job.delay for job in jobs
    )


def _copy_row(job: NewJob) -> tuple[object, ...]:
    return (
        job.id,
        job.org_id,
        job.type,
        job.queue,
        job.payload,
        job.identity.value,
        job.run_hash,
        job.digest,
        job.payload_digest,
        job.max_attempts,
        job.priority,
        job.expires_at,
        job.trace,
    )


def _chunks(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    return (jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK))


def _parameters(jobs: Sequence[NewJob]) -> dict[str, object]:
    return {
        "ids": [job.id for job in jobs],
        "orgs": [job.org_id for job in jobs],
        "types": [job.type for job in jobs],
        "queues": [job.queue for job in jobs],
        "payloads": [job.payload for job in jobs],
        "identities": [job.identity.value for job in jobs],
        "hashes": [job.run_hash for job in jobs],
        "payload_digests": [job.payload_digest for job in jobs],
        "max_attempts": [job.max_attempts for job in jobs],
        "priorities": [job.priority for job in jobs],
        "run_ats": [job.run_at for job in jobs],
        "delays": [job.delay for job in jobs],
        "expires_ats": [job.expires_at for job in jobs],
        "traces": [job.trace for job in jobs],
    }


def _receipts(jobs: Sequence[NewJob], rows: Sequence[TupleRow]) -> list[Receipt]:
    """The server mentions only repeats: (number from 1, id that counts, its state, advanced, conflict)."""
    receipts = [Receipt(job.id, ReceiptOutcome.CREATED) for job in jobs]
    for number, counts, state, advanced, conflict in rows:
        receipts[number - 1] = Receipt(counts, ReceiptOutcome.DUPLICATE, counts, state, advanced, conflict)
    return receipts
