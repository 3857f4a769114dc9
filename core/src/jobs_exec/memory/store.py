"""The run ledger in memory: `IdempotencyStore` on the same tables as the backend's claim and settle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from jobs_exec.contracts.store import Record, Reservation, ReserveAnswer
from jobs_exec.contracts.store import Reserved as Answer
from jobs_exec.job import AttemptRef, RunRef
from jobs_exec.memory.tables import Key, Reserved, Tables


class MemoryStore:
    """See `jobs_exec.contracts.IdempotencyStore`."""

    name = "memory"

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to release."""

    async def reserve(self, batch: Sequence[Reservation], lease: float) -> list[ReserveAnswer]:
        """Takes each free piece of work for `lease` seconds."""
        return [self._reserve(each, time.monotonic(), lease) for each in batch]

    def _reserve(self, asked: Reservation, now: float, lease: float) -> ReserveAnswer:
        done = self.tables.success(asked.run_hash)
        if done is not None:
            return ReserveAnswer(Answer.DONE, done)
        held = self.tables.reservations.get(asked.run_hash)
        if held is not None and held.owner != asked.owner and held.until > now:
            return ReserveAnswer(Answer.HELD)
        self.tables.reservations[asked.run_hash] = Reserved(asked.owner, now + lease)
        return ReserveAnswer(Answer.ACQUIRED)

    async def renew(self, owners: Sequence[AttemptRef], lease: float) -> frozenset[AttemptRef]:
        """Extends the leases of those that still own theirs, and returns them."""
        wanted, until = frozenset(owners), time.monotonic() + lease
        mine = {work: each for work, each in self.tables.reservations.items() if each.owner in wanted}
        self.tables.reservations.update({work: Reserved(each.owner, until) for work, each in mine.items()})
        return frozenset(each.owner for each in mine.values())

    async def record(self, batch: Sequence[Record]) -> frozenset[AttemptRef]:
        """Stores successes; refused unless still the owner."""
        return frozenset(each.owner for each in batch if self._record(each))

    def _record(self, record: Record) -> bool:
        held = self.tables.reservations.get(record.run_hash)
        if held is None or held.owner != record.owner:
            return False
        del self.tables.reservations[record.run_hash]
        now = self.tables.now()
        ref = RunRef(record.owner.job_id, record.owner.token, now, record.result)
        self.tables.keys[record.run_hash] = Key(ref, now + timedelta(seconds=record.ttl))
        return True

    async def release(self, owners: Sequence[AttemptRef]) -> None:
        """Gives reservations up; those of others are left alone."""
        wanted = frozenset(owners)
        for work in [work for work, each in self.tables.reservations.items() if each.owner in wanted]:
            del self.tables.reservations[work]

    async def get(self, run_hashes: Sequence[bytes]) -> Mapping[bytes, RunRef]:
        """The unexpired successes among `run_hashes`."""
        found = {work: self.tables.success(work) for work in run_hashes}
        return {work: ref for work, ref in found.items() if ref is not None}

    async def purge(self, limit: int) -> int:
        """Deletes up to `limit` expired successes and lapsed reservations; returns how many."""
        now, monotonic = self.tables.now(), time.monotonic()
        keys = [work for work, key in self.tables.keys.items() if key.expires_at <= now][:limit]
        lapsed = [work for work, each in self.tables.reservations.items() if each.until <= monotonic]
        lapsed = lapsed[: limit - len(keys)]
        for work in keys:
            del self.tables.keys[work]
        for work in lapsed:
            del self.tables.reservations[work]
        return len(keys) + len(lapsed)
