"""Threads that are stuck: each runs a sync handler past the time its attempt had.

A thread is *abandoned* when whoever waited for it was cancelled: at its timeout, with the lease, by a middleware. It is
told of as stuck once the attempt's own timeout has passed and the handler still goes on. Not before: when a database is
away all attempts are stopped at once, and threads that end a little later are no reason to end the executor. Nor when
the executor is ending: it waits for none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from jobs_exec.executor.attempt import Attempt, Stop
from jobs_exec.executor.containing import inside


class Overdue:
    """Told of abandoned threads (`abandoned`), calls `tell` with the attempt of each that is stuck."""

    def __init__(self, tell: Callable[[Attempt], None], loop: asyncio.AbstractEventLoop) -> None:
        self._tell = tell
        self._loop = loop
        self._timers: set[asyncio.TimerHandle] = set()

    def abandoned(self, goes_on: Callable[[], bool]) -> None:
        """The handler of the attempt in whose context this is called was left alone in its thread."""
        attempt = inside.get()
        if attempt is None or attempt.stop is Stop.SHUTDOWN:
            return
        left = attempt.started + attempt.route.terms.timeout - time.monotonic()
        if left <= 0:
            self._tell(attempt)
        else:
            self._look_after(left, attempt, goes_on)

    def close(self) -> None:
        """Nobody is told any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _look_after(self, seconds: float, attempt: Attempt, goes_on: Callable[[], bool]) -> None:
        def look() -> None:
            self._timers.discard(timer)
            if goes_on():
                self._tell(attempt)

        timer = self._loop.call_later(seconds, look)
        self._timers.add(timer)
