"""The heartbeat against the memory backend: held, at risk, lost; the clock is moved by hand."""

from __future__ import annotations

import asyncio
from uuid import UUID

from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor.heartbeat import Heartbeat, LeaseRules, LeaseState
from jobs_exec.memory import MemoryBackend
from jobs_exec.testing.driving import Driver
from jobs_exec.testing.harness import MemoryHarness


class Unplugged(MemoryBackend):
    """The memory backend behind a connection that can be cut."""

    def __init__(self) -> None:
        super().__init__(Policy())
        self.connected = True

    async def heartbeat(self, executor: UUID) -> bool:
        if not self.connected:
            raise BackendUnavailable("memory", "unplugged")
        return await super().heartbeat(executor)


class Probe:
    """A joined executor with its heartbeat, a clock moved by hand, and how often its handlers were cancelled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.risks = 0
        self.backend = Unplugged()
        self.harness = MemoryHarness()
        self.harness.backend = self.backend
        self.harness.tables = self.backend.tables
        self.driver = Driver(self.harness)
        rules = LeaseRules(lease=10.0)
        self.heart = Heartbeat(self.backend, self.driver.id, rules, on_risk=self._risk, clock=lambda: self.now)

    def _risk(self) -> None:
        self.risks += 1

    async def beat_after(self, seconds: float) -> LeaseState:
        self.now += seconds
        await self.heart.beat()
        return self.heart.state


async def joined() -> Probe:
    probe = Probe()
    await probe.driver.join()
    return probe


async def test_a_renewal_that_is_answered_keeps_the_lease() -> None:
    probe = await joined()
    assert await probe.beat_after(7) is LeaseState.HELD
    assert probe.heart.remaining == 8.0


async def test_handlers_are_cancelled_once_before_the_lease_can_have_ended() -> None:
    probe = await joined()
    probe.backend.connected = False
    assert await probe.beat_after(7.9) is LeaseState.HELD
    assert await probe.beat_after(0.2) is LeaseState.AT_RISK
    assert await probe.beat_after(5) is LeaseState.AT_RISK
    assert probe.risks == 1


async def test_an_executor_that_was_not_reaped_comes_back_after_an_outage() -> None:
    probe = await joined()
    probe.backend.connected = False
    await probe.beat_after(9)
    probe.backend.connected = True
    assert await probe.beat_after(1) is LeaseState.HELD


async def test_a_reaped_executor_is_lost_for_good() -> None:
    probe = await joined()
    await probe.driver.die()
    assert await asyncio.wait_for(probe.heart.run(), 10) is LeaseState.LOST
    assert probe.risks == 1


async def test_stopping_ends_the_role_without_waiting_for_the_interval() -> None:
    probe = await joined()
    probe.heart.stop()
    assert await asyncio.wait_for(probe.heart.run(), 1) is LeaseState.HELD
