"""When is there nothing left to do? For executors that end by themselves (`Mode.DRAIN`).

A queue is dry when a claim that began after the last settle and the last promotion found nothing. A round of the
claimer that was under way while we asked may have begun before, so two passes in a row must find nothing. What is
scheduled for later, jobs of foreign types and held jobs are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from jobs_exec.executor.attempt import Lane
from jobs_exec.executor.outage import Outage
from jobs_exec.executor.upkeep import Upkeep

_PASSES = 2
_BETWEEN = 0.01


class Draining:
    """`done` returns when the queues are dry; `quiet` waits until nothing runs and nothing is unwritten."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        upkeep: Upkeep,
        quiet: Callable[[], Awaitable[None]],
        claimed: Callable[[], int],
    ) -> None:
        self._lanes = tuple(lanes)
        self._upkeep = upkeep
        self._quiet = quiet
        self._claimed = claimed
        self._outage = Outage("draining")

    async def done(self) -> None:
        """Returns after enough passes in a row that found nothing."""
        found_nothing = 0
        while found_nothing < _PASSES:
            found_nothing = found_nothing + 1 if await self._finds_nothing() else 0
            if not found_nothing:
                await asyncio.sleep(_BETWEEN)

    async def _finds_nothing(self) -> bool:
        await self._quiet()
        before = self._claimed()
        try:
            promoted = await self._upkeep.promote(explain=True)
        except Exception as error:
            await self._outage.pause(error)
            return False
        self._outage.recovered()
        await self._asked_again()
        still = self._claimed() == before and all(lane.dry for lane in self._lanes)
        return still and not (promoted.ready or promoted.released or promoted.more)

    async def _asked_again(self) -> None:
        """One more answer of every claimer."""
        for lane in self._lanes:
            lane.answered.clear()
            lane.hint.set()
        for lane in self._lanes:
            await lane.answered.wait()
