"""The idempotency store: who may do a piece of work, and what came of it.

A piece of work is its 32-byte run hash; its owner is one attempt, (job id, token). Reservations are leases.
When ``backend.ledger is store`` (table with table, memory with memory) reservation and record are part of
the backend's own claim and settle, in one transaction, and the executor calls none of these per job. Any
other pairing calls `reserve` after the claim, `record` before the settle and `release` on every other end:
a piece of work is then never *recorded* twice, but an executor that dies between record and settle leaves
a job that ends as a duplicate of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from jobs_exec.job import AttemptRef, RunRef


@dataclass(frozen=True, slots=True)
class Reservation:
    """`owner` asks for the piece of work `run_hash` (32 bytes) of `org_id`."""

    owner: AttemptRef
    org_id: str
    run_hash: bytes


class Reserved(StrEnum):
    """The answer to one reservation."""

    ACQUIRED = "acquired"
    """The asker owns it (also when it did already)."""
    HELD = "held"
    """Another owner's lease is live."""
    DONE = "done"
    """It has succeeded; `ReserveAnswer.run` is the run that counts."""


@dataclass(frozen=True, slots=True)
class ReserveAnswer:
    """One answer of `IdempotencyStore.reserve`, in input order; `run` is set exactly when done."""

    outcome: Reserved
    run: RunRef | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """`owner` has done `run_hash`; it counts for `ttl` seconds. `result` is JSON text."""

    owner: AttemptRef
    org_id: str
    run_hash: bytes
    ttl: float
    result: str | None = field(default=None, repr=False)


class IdempotencyStore(Protocol):
    """Remembers successes by run hash. All batches may be empty; answers come in input order."""

    @property
    def name(self) -> str:
        """The entry-point name."""

    async def open(self) -> None:
        """Connects. Raises `BackendUnavailable` or `SchemaMismatch`."""

    async def close(self) -> None:
        """Releases every resource; may be called twice."""

    async def reserve(self, batch: Sequence[Reservation], lease: float) -> list[ReserveAnswer]:
        """Takes each free piece of work for `lease` seconds; a lapsed reservation is free."""

    async def renew(self, owners: Sequence[AttemptRef], lease: float) -> frozenset[AttemptRef]:
        """Extends the leases of those that still own theirs, and returns them."""

    async def record(self, batch: Sequence[Record]) -> frozenset[AttemptRef]:
        """Stores successes; refused unless still the owner. Returns the owners that were accepted."""

    async def release(self, owners: Sequence[AttemptRef]) -> None:
        """Gives reservations up; those of others are left alone."""

    async def get(self, run_hashes: Sequence[bytes]) -> Mapping[bytes, RunRef]:
        """The unexpired successes among `run_hashes`."""

    async def purge(self, limit: int) -> int:
        """Deletes up to `limit` expired successes and lapsed reservations; returns how many."""
