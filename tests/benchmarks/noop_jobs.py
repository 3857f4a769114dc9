"""The jobs of the benchmarks: they do nothing."""

from __future__ import annotations

import time
from typing import Any

from jobs_exec import JobContext, job


@job("noop")
async def noop(ctx: JobContext, data: dict[str, Any]) -> None:
    """Succeeds at once."""


@job("started")
async def started(ctx: JobContext, data: dict[str, Any]) -> float:
    """Answers when it began, in seconds since 1970."""
    return time.time()
