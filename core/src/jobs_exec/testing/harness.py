"""What a contract suite needs of a backend besides its contract: a side door.

`BackendHarness.peek` reads what is really stored, past the backend under test; `advance` moves the business clock
(due, backoff, expiry, age, retention) and nothing else; `expire_lease` makes a lease lapse without waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from jobs_exec.contracts import IdempotencyStore, Policy, QueueBackend
from jobs_exec.memory import MemoryBackend, MemoryStore, Tables


@dataclass(frozen=True, slots=True)
class Peek:
    """One job as stored: `status` is a `JobState` or a `RunStatus`."""

    job_id: UUID
    org_id: str
    status: str
    attempts: int
    token: int
    suspect: bool
    crashes: int
    reason: str | None
    payload: str | None = field(repr=False)
    of: UUID | None = None
    result: str | None = None
    errors: tuple[dict[str, Any], ...] = ()


class BackendHarness(Protocol):
    """A backend under test, with the side door to its storage."""

    @property
    def backend(self) -> QueueBackend:
        """The backend under test, open."""

    async def peek(self, job_id: UUID) -> Peek | None:
        """What is stored of one job."""

    async def advance(self, seconds: float) -> None:
        """Moves the business clock forward."""

    async def expire_lease(self, executor: UUID) -> None:
        """Lets the lease of `executor` end now, and a stamp it already has become one lease old."""


class StoreHarness(Protocol):
    """A store under test; a reservation with a lease of 0 seconds has lapsed."""

    @property
    def store(self) -> IdempotencyStore:
        """The store under test, open."""

    async def advance(self, seconds: float) -> None:
        """Moves the business clock forward."""


class MemoryHarness:
    """`BackendHarness` and `StoreHarness` for the memory backend."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.tables = Tables()
        self.backend = MemoryBackend(policy or Policy(), self.tables)
        self.store: MemoryStore = self.backend.ledger

    async def peek(self, job_id: UUID) -> Peek | None:
        run = self.tables.runs.get(job_id)
        row = run.row if run else self.tables.queue.get(job_id)
        if row is None:
            return None
        return Peek(
            job_id,
            row.job.org_id,
            run.status.value if run else row.state.value,
            row.attempts,
            row.token,
            row.suspect,
            row.crashes,
            run.reason if run else row.reason,
            row.job.payload,
            run.of if run else None,
            run.result if run else None,
            tuple(row.errors),
        )

    async def advance(self, seconds: float) -> None:
        self.tables.offset += timedelta(seconds=seconds)

    async def expire_lease(self, executor: UUID) -> None:
        known = self.tables.executors[executor]
        known.lease_until = monotonic()
        if known.lapsed_at is not None:
            known.lapsed_at -= known.record.lease
