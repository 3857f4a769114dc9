"""The heartbeat: one renewal of the executor's row keeps all its jobs.

The lease is measured here with a monotonic clock, from *before* the request was sent: the server's lease ends later
than ours, never earlier. States::

    held ──(no renewal for most of a lease)──▶ at risk ──(a renewal is answered)──▶ held
      └──────────────(answered: the row is gone)──┴─────────────────────────────▶ lost

At risk, `on_risk` cancels the handlers before the lease can have ended; what they gave back is written (`flush`)
before the lease is renewed. Lost is final for this identity: whoever reaped it has the jobs, and the executor must
join again under a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.executor.outage import Outage


class LeaseState(StrEnum):
    """Where the executor stands with its lease."""

    HELD = "held"
    AT_RISK = "at_risk"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """Seconds: the lease itself, and by default three renewals in it and a fifth of it kept as a margin."""

    lease: float = 15.0
    renewals: int = 3
    margin: float = 0.2

    @property
    def interval(self) -> float:
        """Between two renewals."""
        return self.lease / self.renewals

    @property
    def usable(self) -> float:
        """How long after a renewal was sent handlers may go on without another."""
        return self.lease * (1 - self.margin)


async def _nothing() -> None:
    """Nothing to write."""


class Heartbeat:
    """One role: `run` renews until `stop` or until the lease is lost."""

    def __init__(
        self,
        backend: QueueBackend,
        executor: UUID,
        rules: LeaseRules,
        *,
        on_risk: Callable[[], None],
        flush: Callable[[], Awaitable[None]] = _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._executor = executor
        self._rules = rules
        self.on_risk = on_risk
        self._flush = flush
        self._outage = Outage("heartbeat")
        self._pause = rules.interval
        self._clock = clock
        self._renewed = clock()
        self._stopped = asyncio.Event()
        self.state = LeaseState.HELD

    @property
    def remaining(self) -> float:
        """Seconds for which handlers may still go on."""
        return self._renewed + self._rules.usable - self._clock()

    async def run(self) -> LeaseState:
        """Renews at every interval; returns the last state, `LeaseState.LOST` when the executor was reaped."""
        while self.state is not LeaseState.LOST and not self._stopped.is_set():
            await self.beat()
            await self._rest()
        return self.state

    async def beat(self) -> None:
        """One renewal; a backend that cannot be reached costs nothing but time."""
        if self.state is LeaseState.AT_RISK:
            await self._flush_first()
        sent = self._clock()
        try:
            async with asyncio.timeout(max(self.remaining, self._rules.interval)):
                alive = await self._backend.heartbeat(self._executor)
        except Exception as error:
            self._pause = min(self._outage.failed(error), self._rules.interval)
        else:
            self._pause = self._rules.interval
            self._outage.recovered()
            self._answered(alive, sent)
        self._watch()

    def stop(self) -> None:
        """Ends `run` after the renewal under way."""
        self._stopped.set()

    async def _flush_first(self) -> None:
        """Bounded: rows that somebody keeps locked must not keep the executor from coming back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rules.lease):
                await self._flush()

    def _answered(self, alive: bool, sent: float) -> None:
        if alive:
            self._renewed = sent
            self.state = LeaseState.HELD
        else:
            self.state = LeaseState.LOST
            self.on_risk()

    def _watch(self) -> None:
        if self.state is LeaseState.HELD and self.remaining <= 0:
            self.state = LeaseState.AT_RISK
            self.on_risk()

    async def _rest(self) -> None:
        """Until the next renewal, or until the lease is at risk if that is sooner."""
        if self.state is LeaseState.LOST:
            return
        pause = min(self._pause, self.remaining) if self.remaining > 0 else self._pause
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopped.wait()
        self._watch()
