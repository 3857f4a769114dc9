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
        cursor = sync_connection(connection).cursor(row_factory=tuple_row)
        calls = Calls(jobs)
        with translated_enqueue():
            if calls.need_seqs:
                calls.seqs = cursor.execute(statement("enqueue_seqs"), {"count": len(jobs)}).fetchall()[0][0]
            for chunk in calls.chunks():
                calls.answered(chunk, cursor.execute(statement("enqueue"), calls.parameters(chunk)).fetchall())
        return calls.receipts


class Calls:
    """The statements of one batch: one, or several that share a transaction, and the receipts in input order.

    Several are sorted by identity over all of them, so that two batches in opposite order take their locks in one
    order; `seqs` then keeps the jobs of each org in the order of the batch.
    """

    def __init__(self, jobs: Sequence[NewJob]) -> None:
        self._jobs = jobs
        self.need_seqs = len(jobs) > CHUNK
        self.seqs: list[int] | None = None
        self.receipts = [Receipt(job.id, ReceiptOutcome.CREATED) for job in jobs]

    def chunks(self) -> Iterator[Sequence[int]]:
        """Places in the batch, up to `CHUNK` a statement."""
        places: Sequence[int] = range(len(self._jobs))
        if self.need_seqs:
            places = sorted(places, key=lambda place: self._jobs[place].digest)
        return (places[start : start + CHUNK] for start in range(0, len(places), CHUNK))

    def parameters(self, chunk: Sequence[int]) -> dict[str, object]:
        """Those of one statement."""
        seqs = None if self.seqs is None else [self.seqs[place] for place in chunk]
        return _parameters([self._jobs[place] for place in chunk]) | {"seqs": seqs}

    def answered(self, chunk: Sequence[int], rows: Sequence[TupleRow]) -> None:
        """The server mentions only repeats: (number from 1, id that counts, its state, advanced, conflict)."""
        for number, counts, state, advanced, conflict in rows:
            repeat = Receipt(counts, ReceiptOutcome.DUPLICATE, counts, state, advanced, conflict)
            self.receipts[chunk[number - 1]] = repeat


async def _in(connection: AsyncConnection[Any], jobs: Sequence[NewJob]) -> list[Receipt]:
    cursor = connection.cursor(row_factory=tuple_row)
    calls = Calls(jobs)
    with translated_enqueue():
        if calls.need_seqs:
            await cursor.execute(statement("enqueue_seqs"), {"count": len(jobs)})
            calls.seqs = (await cursor.fetchall())[0][0]
        for chunk in calls.chunks():
            await cursor.execute(statement("enqueue"), calls.parameters(chunk))
            calls.answered(chunk, await cursor.fetchall())
    return calls.receipts


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
