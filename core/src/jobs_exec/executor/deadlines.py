"""Deadlines: one role looks at all running attempts a few times a second.

A timer for each attempt costs more than a no-op job does (asyncio.timeout: 6 µs); a look at 100 running attempts
costs 10 µs, four times a second. A handler that was told to end and has not after `patience` seconds is given up.
"""

from __future__ import annotations

import asyncio
import time

from jobs_exec.executor.attempt import Attempt, Stop
from jobs_exec.executor.running import Runner

TICK = 0.25
_SOONEST = 0.001


class Deadlines:
    """One role: `run` until cancelled."""

    def __init__(self, runner: Runner, patience: float) -> None:
        self._runner = runner
        self._patience = patience

    async def run(self) -> None:
        """Stops what is over its time, gives up what does not stop."""
        while True:
            pause = self.look(time.monotonic())
            await asyncio.sleep(pause)

    def look(self, now: float) -> float:
        """One look at all that run; returns the seconds until the next."""
        soonest = now + TICK
        for attempt in tuple(self._runner.running):
            due = self._due(attempt)
            if due <= now:
                self._act(attempt)
                due = self._due(attempt)
            soonest = min(soonest, due)
        return max(soonest - now, _SOONEST)

    def _due(self, attempt: Attempt) -> float:
        if attempt.closing or attempt.over:
            return float("inf")
        if attempt.stop is not None:
            return attempt.stopped + self._patience
        return attempt.started + attempt.route.terms.timeout

    def _act(self, attempt: Attempt) -> None:
        if attempt.stop is None:
            self._runner.stop(attempt, Stop.TIMEOUT)
        else:
            self._runner.give_up(attempt)
