"""The settle buffer: attempts end one by one, and are written in batches.

A batch goes out when `size` settlements wait or the oldest has waited `delay` seconds; up to `parallel` batches are
under way, each on a connection of its own. While the database is away a batch is kept and sent again with a capped,
jittered backoff; what was locked (busy) joins a later batch; what was refused belongs to somebody else by now and
is reported as lost. Nothing is dropped on the way.

What the backend wrote instead of a settlement that it could not store (`Settled.changed`) is what counts from then on.

`room` is what backpressure goes by: whoever claims waits there while too much is unwritten.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from jobs_exec.contracts.backend import QueueBackend, Settled
from jobs_exec.executor.outage import Outage
from jobs_exec.job import Settlement


class Ended(Protocol):
    """Something that ended and waits to be written."""

    settlement: Settlement


E = TypeVar("E", bound=Ended)


@dataclass(frozen=True, slots=True)
class SettleRules:
    """`size` settlements or `delay` seconds make a batch; claims wait while more than `backlog` are unwritten."""

    size: int = 100
    delay: float = 0.005
    parallel: int = 2
    backlog: int = 400
    outage: Callable[[], Outage] = lambda: Outage("settle")


class Settler(Generic[E]):
    """One role: `put` what ended, `run` writes it until `stop`, `flushed` waits for all that was put.

    `prepare` sees each batch before it is written and may change its settlements. `on_settled` is told which of a
    batch were accepted and which are lost.
    """

    def __init__(
        self,
        backend: QueueBackend,
        rules: SettleRules,
        *,
        on_settled: Callable[[Sequence[E], Sequence[E]], Awaitable[None]],
        prepare: Callable[[Sequence[E]], Awaitable[None]] | None = None,
    ) -> None:
        self._backend = backend
        self._rules = rules
        self._on_settled = on_settled
        self._prepare = prepare
        self._pending: deque[E] = deque()
        self._in_flight = 0
        self._writers = asyncio.Semaphore(rules.parallel)
        self._outage = rules.outage()
        self._stopping = False
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def unsettled(self) -> int:
        """How many attempts have ended and are not written yet."""
        return len(self._pending) + self._in_flight

    def put(self, ended: E) -> None:
        """Takes over what ended; returns at once."""
        pending = self._pending
        pending.append(ended)
        # Events are touched only where they change: this is called once a job.
        waiting = len(pending)
        if waiting == 1:
            self._empty.clear()
            self._arrived.set()
        if waiting == self._rules.size:
            self._full.set()
        if waiting == self._rules.backlog:
            self._room.clear()

    async def run(self) -> None:
        """Writes batches until `stop`, and then what is left."""
        async with asyncio.TaskGroup() as writing:
            while await self._batch_is_due():
                await self._writers.acquire()
                writing.create_task(self._write(self._take()))

    async def flushed(self) -> None:
        """Returns when everything that was put has been written."""
        await self._empty.wait()

    async def room(self) -> None:
        """Returns when little enough is unwritten to claim more."""
        await self._room.wait()

    def stop(self) -> None:
        """Lets `run` end as soon as nothing is left."""
        self._stopping = True
        self._arrived.set()
        self._full.set()

    async def _batch_is_due(self) -> bool:
        """Waits for a batch; False when there is none and none will come."""
        while not self._pending:
            if self._stopping and not self._in_flight:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._pending) < self._rules.size and not self._stopping:
            self._full.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rules.delay):
                    await self._full.wait()
        return True

    def _take(self) -> list[E]:
        batch = [self._pending.popleft() for _ in range(min(self._rules.size, len(self._pending)))]
        self._in_flight += len(batch)
        return batch

    async def _write(self, batch: list[E]) -> None:
        try:
            settled = await self._settle(batch)
            await self._report(batch, settled)
        finally:
            self._in_flight -= len(batch)
            self._writers.release()
        for each in [each for each in batch if each.settlement.ref in settled.busy] if settled.busy else ():
            self.put(each)
        if self.unsettled < self._rules.backlog:
            self._room.set()
        if not self.unsettled:
            self._empty.set()
            self._arrived.set()

    async def _report(self, batch: list[E], settled: Settled) -> None:
        for each in batch if settled.changed else ():
            each.settlement = settled.changed.get(each.settlement.ref, each.settlement)
        if len(settled.accepted) == len(batch):
            # The rule; it saves hashing every reference once more.
            await self._on_settled(batch, ())
            return
        accepted = [each for each in batch if each.settlement.ref in settled.accepted]
        gone = settled.accepted | settled.busy
        await self._on_settled(accepted, [each for each in batch if each.settlement.ref not in gone])

    async def _settle(self, batch: list[E]) -> Settled:
        """One write, repeated for as long as the backend is away."""
        while True:
            try:
                if self._prepare is not None:
                    await self._prepare(batch)
                settled = await self._backend.settle([each.settlement for each in batch])
            except Exception as error:
                # Not only outages: a settlement that was dropped would be a job that runs again.
                await self._outage.pause(error)
            else:
                self._outage.recovered()
                return settled
