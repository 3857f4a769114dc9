"""The settle buffer: attempts end one by one, and are written in batches.

A batch goes out when `size` settlements wait or the oldest has waited `delay` seconds. While the database is away
the whole batch is kept and sent again with a capped, jittered backoff; what was locked (busy) joins the next batch;
what was refused belongs to somebody else by now and is reported as lost. Nothing is dropped on the way.

`unsettled` is what backpressure goes by: whoever claims stops when too much waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from jobs_exec.contracts.backend import QueueBackend, Settled
from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import Settlement
from jobs_exec.retry import Backoff, RetryPolicy

log = logging.getLogger(__name__)

_OUTAGE = Backoff(base=0.2, cap=5.0)


@dataclass(frozen=True, slots=True)
class SettleRules:
    """`size` settlements or `delay` seconds make a batch; `outage` is the wait after the n-th failed write."""

    size: int = 100
    delay: float = 0.005
    outage: RetryPolicy = _OUTAGE


class Settler:
    """One role: `put` settlements, `run` writes them until `stop`, `flushed` waits for all that were put."""

    def __init__(
        self,
        backend: QueueBackend,
        rules: SettleRules,
        *,
        on_accepted: Callable[[Settlement], None],
        on_lost: Callable[[Settlement], None],
    ) -> None:
        self._backend = backend
        self._rules = rules
        self._on_accepted = on_accepted
        self._on_lost = on_lost
        self._pending: deque[Settlement] = deque()
        self._in_flight = 0
        self._stopping = False
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def unsettled(self) -> int:
        """How many attempts have ended and are not written yet."""
        return len(self._pending) + self._in_flight

    def put(self, settlement: Settlement) -> None:
        """Takes a settlement over; returns at once."""
        self._pending.append(settlement)
        self._empty.clear()
        self._arrived.set()
        if len(self._pending) >= self._rules.size:
            self._full.set()

    async def run(self) -> None:
        """Writes batches until `stop`, and then what is left."""
        while await self._batch_is_due():
            await self._write(self._take())

    async def flushed(self) -> None:
        """Returns when everything that was put has been written."""
        await self._empty.wait()

    def stop(self) -> None:
        """Lets `run` end as soon as nothing is left."""
        self._stopping = True
        self._arrived.set()
        self._full.set()

    async def _batch_is_due(self) -> bool:
        """Waits for a batch; False when there is none and none will come."""
        if not self._pending and not self._stopping:
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._pending) < self._rules.size and not self._stopping:
            self._full.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rules.delay):
                    await self._full.wait()
        return bool(self._pending)

    def _take(self) -> list[Settlement]:
        batch = [self._pending.popleft() for _ in range(min(self._rules.size, len(self._pending)))]
        self._in_flight = len(batch)
        return batch

    async def _write(self, batch: list[Settlement]) -> None:
        settled = await self._settle(batch)
        self._in_flight = 0
        for each in batch:
            if each.ref in settled.accepted:
                self._on_accepted(each)
            elif each.ref in settled.busy:
                self.put(each)
            else:
                self._on_lost(each)
        if not self._pending:
            self._empty.set()

    async def _settle(self, batch: list[Settlement]) -> Settled:
        """One write, repeated for as long as the backend is away."""
        for failures in count(1):
            try:
                return await self._backend.settle(batch)
            except BackendUnavailable as error:
                log.warning("%d settlement(s) are kept until the backend is back: %s", len(batch), error)
                await asyncio.sleep(self._rules.outage(failures))
        raise AssertionError("unreachable")
