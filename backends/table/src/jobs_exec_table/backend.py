"""`QueueBackend` on Postgres: one role a module, put together here.

`enqueueing`, `claiming`, `settling`, `attempts`, `upkeep` and `operating` each know their statements; `connections`
knows the pools, `waking` the hints. Every method is one statement in a connection of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from jobs_exec.contracts import (
    Capability,
    Claim,
    ClaimRequest,
    ExecutorRecord,
    Policy,
    Promoted,
    PromoteRequest,
    Rescued,
    RescueRequest,
    Settled,
    TypeRecord,
)
from jobs_exec.job import NewJob, Receipt, Settlement
from jobs_exec_table.claiming import Claiming
from jobs_exec_table.connections import Connections
from jobs_exec_table.enqueueing import Enqueueing
from jobs_exec_table.membership import Membership
from jobs_exec_table.operating import TableOperator
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.settling import Settling
from jobs_exec_table.store import TableStore
from jobs_exec_table.upkeep import Upkeep

CAPABILITIES = frozenset(Capability) - {Capability.PUSH, Capability.ORG_LIMITS}


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
        self._settling = Settling(self.connections, policy)
        self._upkeep = Upkeep(self.connections, policy)

    async def open(self) -> None:
        """Connects. Raises `BackendUnavailable` or `SchemaMismatch`."""
        await self.connections.open()

    async def close(self) -> None:
        """Releases every connection; may be called twice."""
        await self.connections.close()

    # --- enqueue ---------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Inserts a batch in one transaction, or in the caller's psycopg `AsyncConnection`."""
        return await self._enqueueing.enqueue(jobs, connection)

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
        return self.connections.transaction()

    # --- the executor's life ---------------------------------------------------------------------------

    async def join(self, executor: ExecutorRecord) -> None:
        """Announces an executor and the types it carries."""
        await self._membership.join(executor)

    async def heartbeat(self, executor: UUID) -> bool:
        """Renews the lease; False when the executor has been removed."""
        return await self._membership.heartbeat(executor)

    async def leave(self, executor: UUID) -> None:
        """Removes the executor; jobs it still has are given back, attempt returned."""
        await self._claiming.save_cursors()
        await self._membership.leave(executor)

    # --- the journey -----------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Claim:
        """Makes ready jobs running, fair over orgs."""
        return await self._claiming.claim(request)

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """Ends attempts, fenced by (id, token)."""
        return await self._settling.settle(batch)

    # --- upkeep ----------------------------------------------------------------------------------------

    async def promote(self, request: PromoteRequest) -> Promoted:
        """Due jobs become ready, held jobs follow their reason."""
        return await self._upkeep.promote(request)

    async def rescue(self, request: RescueRequest) -> Rescued:
        """Takes jobs back from executors that are gone, in two steps."""
        return await self._upkeep.rescue(request)

    async def purge(self, limit: int = 1000) -> int:
        """Deletes runs and keys past their time."""
        return await self._upkeep.purge(limit)
