"""`QueueBackend` in memory. Every method runs to its end without an await, so each is atomic on one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from jobs_exec.contracts.backend import (
    AttemptTransaction,
    Capability,
    Claim,
    ClaimRequest,
    ExecutorRecord,
    Promoted,
    PromoteRequest,
    QueueBackend,
    Rescued,
    RescueRequest,
    Settled,
    Start,
    StartRequest,
    SyncAttemptTransaction,
)
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.contracts.plugin import Policy
from jobs_exec.contracts.schedule import ScheduleBook
from jobs_exec.errors import CapabilityMissing
from jobs_exec.identity import Identity
from jobs_exec.job import AttemptRef, ClaimedJob, JobState, NewJob, Receipt, ReceiptOutcome, Settlement
from jobs_exec.memory import claiming, settling, starting, upkeep
from jobs_exec.memory.operator import MemoryOperator
from jobs_exec.memory.schedules import MemoryBook
from jobs_exec.memory.store import MemoryStore
from jobs_exec.memory.tables import Executor, Key, Row, Tables

_NO_DATABASE = "it has no database; use the table backend"


class MemoryBackend:
    """See `jobs_exec.contracts.QueueBackend`; for one process and one event loop."""

    name = "memory"
    capabilities = frozenset(
        {
            Capability.CLAIM,
            Capability.START,
            Capability.SCHEDULES,
            Capability.DELAY,
            Capability.PRIORITY,
            Capability.ORG_FAIRNESS,
            Capability.WAKE_UP,
            Capability.INSPECT,
            Capability.DEAD_LETTERS,
        }
    )

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        self.tables = tables or Tables()
        self.ledger = MemoryStore(self.tables)
        self.operator = MemoryOperator(self.tables)
        self.schedules: ScheduleBook = MemoryBook(self.tables, policy, self._enqueue, self.wake)
        self._policy = policy
        self._hints: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to release; the jobs stay as long as this object does."""

    # --- enqueue ---------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Inserts a batch; receipts in input order. Raises `CapabilityMissing` for a connection."""
        if connection is not None:
            self._refuse(Capability.TRANSACTIONAL_ENQUEUE)
        receipts = [self._enqueue(job) for job in jobs]
        await self.wake([job.queue for job in jobs])
        return receipts

    def _enqueue(self, job: NewJob) -> Receipt:
        live = self.tables.live.get(job.digest)
        if live is not None:
            return self._repeat_of_live(job, self.tables.queue[live])
        key = None if job.identity is Identity.NONE else self.tables.keys.get(job.run_hash)
        if key is not None and key.expires_at > self.tables.now():
            return self._repeat_of_success(job, key)
        self.tables.insert(job, self.tables.now())
        return Receipt(job.id, ReceiptOutcome.CREATED)

    def _repeat_of_live(self, job: NewJob, row: Row) -> Receipt:
        advanced = self._advance(job, row)
        conflict = row.job.payload_digest != job.payload_digest
        return Receipt(row.job.id, ReceiptOutcome.DUPLICATE, row.job.id, row.state.value, advanced, conflict)

    def _advance(self, job: NewJob, row: Row) -> bool:
        """An earlier time (none given: now) moves a job forward that is scheduled and was never attempted."""
        now = self.tables.now()
        due = job.run_at or now + timedelta(seconds=job.delay or 0)
        if row.state is not JobState.SCHEDULED or row.attempted or due >= row.run_at:
            return False
        row.run_at, row.first_due = due, max(due, now)
        row.state = JobState.READY if due <= now else JobState.SCHEDULED
        return True

    def _repeat_of_success(self, job: NewJob, key: Key) -> Receipt:
        run = self.tables.runs.get(key.ref.job_id)
        conflict = run is not None and run.row.job.payload_digest != job.payload_digest
        of = key.ref.job_id
        return Receipt(of, ReceiptOutcome.DUPLICATE, of, "succeeded", conflict=conflict)

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.TRANSACTIONAL_ENQUEUE)

    async def known_types(self, connection: object | None = None) -> Mapping[str, TypeRecord]:
        """The job types that executors have announced."""
        return dict(self.tables.types)

    def known_types_sync(self, connection: object) -> Mapping[str, TypeRecord]:
        """The job types that executors have announced."""
        return dict(self.tables.types)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.TRANSACTIONAL_ENQUEUE)

    # --- the executor's life ---------------------------------------------------------------------------

    async def join(self, executor: ExecutorRecord) -> None:
        """Announces an executor and the types it carries."""
        until = time.monotonic() + executor.lease
        self.tables.executors[executor.id] = Executor(executor, datetime.now(UTC), until)
        self.tables.types.update({record.name: record for record in executor.types})

    async def heartbeat(self, executor: UUID) -> bool:
        """Renews the lease, also a lapsed one; False when the executor has been removed."""
        known = self.tables.executors.get(executor)
        if known is None:
            return False
        known.lease_until, known.lapsed_at = time.monotonic() + known.record.lease, None
        return True

    async def leave(self, executor: UUID) -> None:
        """Removes the executor; jobs it still has are given back, attempt returned."""
        upkeep.give_back_unknown(self.tables, executor, ())
        self.tables.executors.pop(executor, None)

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        """Gives back running jobs of the executor that it knows nothing of, attempt returned."""
        return upkeep.give_back_unknown(self.tables, executor, known)

    # --- the journey -----------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Claim:
        """Makes ready jobs running, fair over orgs."""
        return claiming.claim(self.tables, request)

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """Ends attempts; refused where the token has moved."""
        return settling.settle(self.tables, batch)

    def begin_attempt(self, job: ClaimedJob) -> AttemptTransaction:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.ATTEMPT_TRANSACTION)

    def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttemptTransaction:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.ATTEMPT_TRANSACTION)

    # --- jobs that are triggered, schedules --------------------------------------------------------------

    @property
    def queue(self) -> QueueBackend:
        """Itself."""
        return self

    async def start(self, request: StartRequest) -> Start:
        """Makes one job running for the executor, or says why not."""
        return starting.start(self.tables, request, self._enqueue)

    async def past(self, job: NewJob) -> Start | None:
        """How work that has ended forbids another start, if it does."""
        return starting.past(self.tables, job)

    # --- upkeep ----------------------------------------------------------------------------------------

    async def promote(self, request: PromoteRequest) -> Promoted:
        """Due jobs become ready, held jobs follow their reason."""
        promoted = upkeep.promote(self.tables, request)
        await self.wake(sorted(promoted.queues))
        return promoted

    async def rescue(self, request: RescueRequest) -> Rescued:
        """Takes jobs back from executors that are gone, in two steps."""
        return upkeep.rescue(self.tables, request)

    async def purge(self, limit: int = 1000) -> int:
        """Deletes runs and keys past their retention."""
        return upkeep.purge(self.tables, self._policy.runs_retention, limit)

    # --- waking up -------------------------------------------------------------------------------------

    async def wake(self, queues: Sequence[str]) -> None:
        """Ends every `wait` for one of `queues`."""
        for queue in queues:
            self._hints.pop(queue, asyncio.Event()).set()

    async def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """Returns True at the first hint for one of `queues`, False after `timeout` seconds."""
        waits = [asyncio.ensure_future(self._hints.setdefault(q, asyncio.Event()).wait()) for q in queues]
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return bool(done)

    def _refuse(self, capability: Capability) -> NoReturn:
        raise CapabilityMissing(self.name, capability, _NO_DATABASE)
