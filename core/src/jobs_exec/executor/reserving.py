"""Reservations at an idempotency store that is not the backend's own ledger.

After the claim each piece of work is reserved for the attempt, renewed with the heartbeat's rhythm, recorded before
its success is settled, and released on every other end. A success that is refused because the reservation was lost
is given back: at its next claim the store knows it as done, or it is run again.

An attempt that commits a transaction of its own is recorded *after* the commit: a record before it would let a
rolled-back job count as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from jobs_exec.contracts.store import IdempotencyStore, Record, Reservation, ReserveAnswer
from jobs_exec.executor.attempt import Attempt
from jobs_exec.executor.outage import Outage
from jobs_exec.identity import Identity
from jobs_exec.job import Action, Settlement


class Reservations:
    """One role: `run` renews; the other methods are called along an attempt's way."""

    def __init__(self, store: IdempotencyStore, lease: float) -> None:
        self._store = store
        self._lease = lease
        self._owned: set[Attempt] = set()
        self._outage = Outage("idempotency store")

    async def run(self) -> None:
        """Renews what is owned, three times a lease, until cancelled."""
        while True:
            await asyncio.sleep(self._lease / 3)
            await self.renew()

    async def renew(self) -> None:
        """One renewal; what is lost shows when it is recorded."""
        owners = [attempt.ref for attempt in self._owned]
        if not owners:
            return
        try:
            await self._store.renew(owners, self._lease)
        except Exception as error:
            self._outage.failed(error)
        else:
            self._outage.recovered()

    async def reserve(self, attempts: Sequence[Attempt]) -> list[ReserveAnswer | None] | None:
        """An answer for each attempt, None for work without an identity; None at all when the store cannot say."""
        asked = [attempt for attempt in attempts if attempt.job.identity is not Identity.NONE]
        batch = [Reservation(each.ref, each.job.org_id, each.job.run_hash) for each in asked]
        try:
            answers = dict(zip(asked, await self._store.reserve(batch, self._lease), strict=True))
        except Exception as error:
            self._outage.failed(error)
            return None
        self._outage.recovered()
        return [answers.get(attempt) for attempt in attempts]

    def own(self, attempt: Attempt) -> None:
        """It has acquired its piece of work."""
        attempt.reserved = True
        self._owned.add(attempt)

    async def record(self, batch: Sequence[Attempt]) -> None:
        """Records the successes among `batch` before they are settled; raises what the store raises."""
        done = [each for each in batch if each.reserved and each.settlement.action is Action.SUCCEED]
        if not done:
            return
        accepted = await self._store.record([_record(each) for each in done])
        for attempt in done:
            self._disown(attempt)
            if attempt.ref not in accepted:
                attempt.settlement = Settlement(attempt.ref, Action.GIVE_BACK)

    async def committed(self, attempt: Attempt, kept: bool) -> None:
        """An attempt's own transaction has been answered; what cannot be recorded now shows as a warning only."""
        if not kept or not attempt.reserved:
            await self.release([attempt])
            return
        try:
            await self.record([attempt])
        except Exception as error:
            self._outage.failed(error)

    async def release(self, ended: Iterable[Attempt]) -> None:
        """Gives up what ended otherwise; a reservation that cannot be released lapses."""
        kept = [attempt for attempt in ended if attempt.reserved]
        if not kept:
            return
        for attempt in kept:
            self._disown(attempt)
        try:
            await self._store.release([attempt.ref for attempt in kept])
        except Exception as error:
            self._outage.failed(error)

    def _disown(self, attempt: Attempt) -> None:
        attempt.reserved = False
        self._owned.discard(attempt)


def _record(attempt: Attempt) -> Record:
    settlement, job = attempt.settlement, attempt.job
    return Record(attempt.ref, job.org_id, job.run_hash, settlement.key_ttl or 0.0, settlement.result)
