"""When a failed job is tried again: exponential backoff with full jitter.

The delay before attempt n + 1 is drawn evenly from 0 to ``min(cap, base * factor ** (n - 1))`` seconds
("full jitter", M. Brooker, AWS Architecture Blog, 2015): retries of jobs that failed together spread out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

RetryPolicy = Callable[[int], float]
"""From the number of the attempt that failed (1 for the first) to the delay in seconds."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff in seconds; without `jitter` the delay is the upper bound itself."""

    base: float = 2.0
    cap: float = 3600.0
    factor: float = 2.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.base <= self.cap and self.factor >= 1):
            raise ValueError("Backoff needs 0 <= base <= cap and factor >= 1")

    def __call__(self, attempt: int) -> float:
        """The delay after failed attempt number `attempt`."""
        # Beyond 2^60 the cap has long won; the bound keeps the power from overflowing.
        bound = min(self.cap, self.base * self.factor ** min(attempt - 1, 60))
        return random.uniform(0, bound) if self.jitter else bound  # noqa: S311  (spreads load, guards no secret)
