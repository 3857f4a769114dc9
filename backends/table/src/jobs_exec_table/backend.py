"""`QueueBackend` on Postgres: one role a module, put together here.

`enqueueing`, `claiming`, `settling`, `attempts`, `scheduling`, `upkeep` and `operating` each know their statements;
`connections` knows the pools, `waking` the hints. Every method is one statement in a connection of the pool.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from jobs_exec.contracts import (
    AttemptTransaction,
    Capability,
    Claim,
    ClaimRequest,
    ExecutorRecord,
    Policy,
    Promoted,
    PromoteRequest,
    QueueBackend,
    Rescued,
    RescueRequest,
    ScheduleBook,
    Settled,
    Start,
    StartRequest,
    SyncAttemptTransaction,
    TypeRecord,
)
from jobs_exec.job import AttemptRef, ClaimedJob, NewJob, Receipt, Settlement
from jobs_exec_table.attempts import Attempts
from jobs_exec_table.claiming import Claiming
from jobs_exec_table.connections import Connections
from jobs_exec_table.enqueueing import Enqueueing
from jobs_exec_table.membership import Membership
from jobs_exec_table.operating import TableOperator
from jobs_exec_table.scheduling import TableBook
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.settling import Settling
from jobs_exec_table.starting import Starting
from jobs_exec_table.store import TableStore
from jobs_exec_table.upkeep import Upkeep
from jobs_exec_table.waking import Waking

CAPABILITIES = frozenset(Capability) - {
    Capability.PUSH,
    Capability.ORG_LIMITS,
}


class TableBackend:
    """See `jobs_exec.contracts.QueueBackend`."""

    name = "table"
    capabilities = CAPABILITIES

    def __init__(self, policy: Policy, settings: TableSettings) -> None:
        self.connections = Connections(settings)
        self.ledger = TableStore(self.connections)
        self.operator = TableOperator(self.connections, policy)
        self._enqueueing = Enqueueing(self.connections)
        self._membership = Membership(self.connections)
        self._claiming = Claiming(self.connections, policy)
        self._starting = Starting(self.connections, policy)
        self._settling = Settling(self.connections, policy)
        self._attempts = Attempts(
            self.connections, policy.lease, self._settling.settle_on, self._settling.settle_on_sync
        )
        self._upkeep = Upkeep(self.connections, policy)
        self._waking = Waking(self.connections)
        self._book = TableBook(self.connections, policy, self._waking.wake)

    async def open(self) -> None:
        """Connects. Raises `BackendUnavailable` or `SchemaMismatch`."""
        await self.connections.open()

    async def close(self) -> None:
        """Releases every connection; may be called twice."""
        await self._waking.close()
        await self._attempts.close()
        await self.connections.close()

    # --- enqueue ---------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Inserts a batch in one transaction, or in the caller's psycopg `AsyncConnection`."""
        receipts = await self._enqueueing.enqueue(jobs, connection)
        if connection is None:
            self._waking.wake(sorted({job.queue for job in jobs}))
        return receipts

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        """`enqueue` in the caller's psycopg `Connection`."""
        return self._enqueueing.enqueue_sync(jobs, connection)

    async def known_types(self, connection: object | None = None) -> Mapping[str, TypeRecord]:
        """The job types that executors have announced."""
        return await self._membership.known_types(connection)

    def known_types_sync(self, connection: object) -> Mapping[str, TypeRecord]:
        """The same through the caller's sync connection."""
        return self._membership.known_types_sync(connection)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A connection in a transaction that commits at the end of the block."""
        return self.connections.lend_transaction()

    # --- the executor's life ---------------------------------------------------------------------------

    async def join(self, executor: ExecutorRecord) -> None:
        """Announces an executor and the types it carries."""
        await self._membership.join(executor)

    async def heartbeat(self, executor: UUID) -> bool:
        """Renews the lease; False when the executor has been removed. Keeps attempt transactions open as well."""
        self._attempts.touch_soon()
        return await self._membership.heartbeat(executor)

    async def leave(self, executor: UUID) -> None:
        """Removes the executor; jobs it still has are given back, attempt returned."""
        await self._claiming.save_cursors()
        await self._membership.leave(executor)

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        """Gives back running jobs of the executor that it knows nothing of, attempt returned."""
        return await self._membership.give_back_unknown(executor, known)

    # --- the journey -----------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Claim:
        """Makes ready jobs running, fair over orgs."""
        return await self._claiming.claim(request)

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """Ends attempts, fenced by (id, token)."""
        return await self._settling.settle(batch)

    def begin_attempt(self, job: ClaimedJob) -> AttemptTransaction:
        """The attempt's transaction, not yet open."""
        return self._attempts.begin(job)

    def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttemptTransaction:
        """The same for a handler in a thread."""
        return self._attempts.begin_sync(job)

    # --- jobs that are triggered, schedules --------------------------------------------------------------

    @property
    def queue(self) -> QueueBackend:
        """Itself."""
        return self

    async def start(self, request: StartRequest) -> Start:
        """Makes one job running for the executor, or says why not."""
        return await self._starting.start(request)

    async def past(self, job: NewJob) -> Start | None:
        """How work that has ended forbids another start, if it does."""
        return await self._starting.past(job)

    @property
    def schedules(self) -> ScheduleBook:
        """Where periodic jobs are kept."""
        return self._book

    # --- upkeep ----------------------------------------------------------------------------------------

    async def promote(self, request: PromoteRequest) -> Promoted:
        """Due jobs become ready, held jobs follow their reason."""
        promoted = await self._upkeep.promote(request)
        self._waking.wake(sorted(promoted.queues))
        return promoted

    async def rescue(self, request: RescueRequest) -> Rescued:
        """Takes jobs back from executors that are gone, in two steps."""
        return await self._upkeep.rescue(request)

    async def purge(self, limit: int = 1000) -> int:
        """Deletes runs and keys past their time."""
        return await self._upkeep.purge(limit)

    # --- waking up -------------------------------------------------------------------------------------

    async def wake(self, queues: Sequence[str]) -> None:
        """Hints that `queues` have new jobs; the hint follows in the background and never fails."""
        self._waking.wake(queues)

    async def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """True at the first hint for one of `queues`, False after `timeout` seconds."""
        return await self._waking.wait(queues, timeout)
