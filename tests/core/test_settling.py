"""The settle buffer against the memory backend: batches, outages, busy rows, lost attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import executing

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import JobSettled, Policy, Settled
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor import Mode
from jobs_exec.executor.outage import Outage
from jobs_exec.executor.settling import Settler, SettleRules
from jobs_exec.job import Action, AttemptRef, Settlement
from jobs_exec.memory import MemoryBackend
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import MemoryHarness


class Recording(MemoryBackend):
    """The memory backend with the sizes of its settles, outages on demand, and rows that are locked once."""

    def __init__(self) -> None:
        super().__init__(Policy())
        self.sizes: list[int] = []
        self.outages = 0
        self.locked_once = False

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        if self.outages:
            self.outages -= 1
            raise BackendUnavailable("memory", "unplugged")
        self.sizes.append(len(batch))
        if self.locked_once:
            self.locked_once = False
            first, *rest = batch
            settled = await super().settle(rest)
            return Settled(settled.accepted, frozenset({first.ref}))
        return await super().settle(batch)


@dataclass(eq=False)
class Ended:
    """One attempt that ended."""

    settlement: Settlement

    @property
    def ref(self) -> AttemptRef:
        return self.settlement.ref


class Probe:
    """A settler over a `Recording` backend with `jobs` running, and what it reported."""

    def __init__(self, rules: SettleRules) -> None:
        self.backend = Recording()
        self.accepted: list[Ended] = []
        self.lost: list[Ended] = []
        self.settler = Settler[Ended](self.backend, rules, on_settled=self._settled)

    async def _settled(self, accepted: Sequence[Ended], lost: Sequence[Ended]) -> None:
        self.accepted += accepted
        self.lost += lost

    async def running(self, count: int) -> list[Ended]:
        harness = MemoryHarness()
        harness.backend = self.backend
        driver = await Driver(harness).join()
        await self.backend.enqueue([new_job("acme", {"n": n}) for n in range(count)])
        return [Ended(succeed(job)) for job in (await driver.claim(count)).jobs]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.settler.run())
            yield
            await asyncio.wait_for(self.settler.flushed(), 10)
            self.settler.stop()


NOW = SettleRules(delay=0.0, outage=lambda: Outage("settle", base=0.0))


async def test_what_ends_together_is_written_together() -> None:
    probe = Probe(SettleRules(size=10, delay=60))
    settlements = await probe.running(20)
    async with probe.at_work():
        for each in settlements:
            probe.settler.put(each)
    assert probe.backend.sizes == [10, 10]
    assert len(probe.accepted) == 20


async def test_a_small_batch_does_not_wait_longer_than_its_delay() -> None:
    probe = Probe(SettleRules(size=10, delay=0.001))
    (only,) = await probe.running(1)
    async with probe.at_work():
        probe.settler.put(only)
    assert probe.accepted == [only]
    assert probe.settler.unsettled == 0


async def test_an_outage_keeps_the_batch_until_the_backend_is_back() -> None:
    probe = Probe(NOW)
    settlements = await probe.running(3)
    probe.backend.outages = 4
    async with probe.at_work():
        for each in settlements:
            probe.settler.put(each)
    assert len(probe.accepted) == 3
    assert probe.backend.outages == 0


async def test_a_locked_row_is_sent_again_and_is_not_lost() -> None:
    probe = Probe(NOW)
    settlements = await probe.running(3)
    probe.backend.locked_once = True
    async with probe.at_work():
        for each in settlements:
            probe.settler.put(each)
    assert sorted(each.ref.job_id for each in probe.accepted) == sorted(each.ref.job_id for each in settlements)
    assert probe.lost == []


async def test_an_attempt_of_somebody_else_is_reported_as_lost() -> None:
    probe = Probe(NOW)
    (mine,) = await probe.running(1)
    await probe.backend.settle([Settlement(mine.ref, Action.GIVE_BACK)])
    async with probe.at_work():
        probe.settler.put(mine)
    assert (probe.accepted, probe.lost) == ([], [mine])


async def test_stopping_writes_what_is_left() -> None:
    probe = Probe(SettleRules(size=10, delay=60))
    settlements = await probe.running(3)
    for each in settlements:
        probe.settler.put(each)
    probe.settler.stop()
    await asyncio.wait_for(probe.settler.run(), 10)
    assert len(probe.accepted) == 3


async def test_what_waits_is_counted_for_backpressure() -> None:
    probe = Probe(NOW)
    settlements = await probe.running(3)
    for each in settlements:
        probe.settler.put(each)
    assert probe.settler.unsettled == 3


async def test_who_claims_waits_while_too_much_is_unwritten() -> None:
    probe = Probe(SettleRules(size=2, delay=0.0, backlog=4))
    settlements = await probe.running(6)
    for each in settlements:
        probe.settler.put(each)
    waiting = asyncio.ensure_future(probe.settler.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    async with probe.at_work():
        await asyncio.wait_for(waiting, 10)
    assert len(probe.accepted) == 6


async def test_two_batches_are_written_at_the_same_time_and_no_more() -> None:
    probe = Probe(SettleRules(size=1, delay=0.0, parallel=2))
    together, both = 0, asyncio.Event()
    settle = probe.backend.settle

    async def slow(batch: Sequence[Settlement]) -> Settled:
        nonlocal together
        together += 1
        assert together <= 2
        if together == 2:
            both.set()
        await both.wait()
        settled = await settle(batch)
        together -= 1
        return settled

    probe.backend.settle = slow  # type: ignore[method-assign]
    for each in await probe.running(4):
        probe.settler.put(each)
    async with probe.at_work():
        await asyncio.wait_for(both.wait(), 10)
    assert len(probe.accepted) == 4


async def test_what_was_written_instead_is_what_figures_and_observers_are_told() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        """Does nothing."""

    class Small(executing.Backend):
        """Cannot store what it is told."""

        async def settle(self, batch: Sequence[Settlement]) -> Settled:
            return await super().settle([replace(each, key_ttl=1e13) for each in batch])

    probe = executing.Probe(job_type("work", handler), backend=Small)
    job_id = await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert (report.counts.succeeded, report.counts.dead) == (0, 1)
    assert await probe.status(job_id) == ("dead", "result")
    told = [(each.action, each.reason) for each in probe.events if isinstance(each, JobSettled)]
    assert told == [(Action.DEAD, "result")]
