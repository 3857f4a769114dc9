"""Runs an executor until all jobs have ended.

`Mode.DRAIN` would leave what is scheduled for a moment later: the retries of ``broken``, the snoozed jobs of ``busy``.
So the executor runs for ever, and is told to end when everything has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from jobs_exec.executor import Executor, ExitReport, OnProgress, Progress

PATIENCE = 30.0
"""Seconds without an ended job after which the rest is given up: the counts will tell."""


@dataclass(slots=True)
class Watch:
    """Counts ended jobs; `complete` is called once all have ended."""

    jobs: int
    advance: Callable[[int], None]
    complete: Callable[[], None] = lambda: None
    ended: int = 0

    def __call__(self, progress: Progress) -> None:
        """Takes the executor's figures, as `on_progress`."""
        ended = ended_jobs(progress)
        self.advance(ended - self.ended)
        self.ended = ended
        if ended >= self.jobs:
            self.complete()


def ended_jobs(progress: Progress) -> int:
    """How many jobs have left the queue."""
    of = progress
    return of.succeeded + of.dead + of.duplicates + of.cancelled + of.expired + of.rejected


async def drain(make: Callable[[OnProgress], Executor], jobs: int, advance: Callable[[int], None]) -> ExitReport:
    """Runs the executor that `make` makes until `jobs` have ended, or until nothing ends any more."""
    watch = Watch(jobs, advance)
    executor = make(watch)
    watch.complete = executor.drain
    running = asyncio.create_task(executor.run())
    try:
        before = -1
        while not running.done() and watch.ended > before:
            before = watch.ended
            await asyncio.wait({running}, timeout=PATIENCE)
        executor.drain()
        return await running
    finally:
        running.cancel()
