"""Backend outages: every role goes on trying, with capped and jittered pauses, and says so once.

The pause before try n is drawn from the upper half of ``min(cap, base * 2 ** n)`` seconds, so that executors that
lost the same database do not come back in step.
"""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from pathlib import Path

from jobs_exec.errors import JobsError

log = logging.getLogger(__name__)


class Outage:
    """The run of failures of one role; `recovered` ends it."""

    def __init__(self, role: str, *, base: float = 0.05, cap: float = 5.0) -> None:
        self._role = role
        self._base = base
        self._cap = cap
        self._failures = 0

    def failed(self, error: BaseException) -> float:
        """Notes a failure; returns the seconds to pause."""
        self._failures += 1
        log.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG,
            "%s failed, trying again: %s",
            self._role,
            describe(error),
            extra={"failures": self._failures},
        )
        bound = min(self._cap, self._base * 2 ** min(self._failures, 20))
        return random.uniform(bound / 2, bound)  # noqa: S311  (spreads load, guards no secret)

    async def pause(self, error: BaseException) -> None:
        """Notes a failure and waits."""
        await asyncio.sleep(self.failed(error))

    def recovered(self) -> None:
        """Ends the outage, if there was one."""
        if self._failures:
            log.info("%s works again", self._role, extra={"failures": self._failures})
            self._failures = 0


def describe(error: BaseException) -> str:
    """Our own errors in full; of others the class and the place, since a driver's text may quote a row."""
    if isinstance(error, JobsError):
        return str(error)
    places = [
        f" ({Path(frame.f_code.co_filename).name}:{line})" for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return type(error).__name__ + (places[-1] if places else "")
