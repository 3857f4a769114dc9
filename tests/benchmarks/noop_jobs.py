"""The job of the benchmarks: it does nothing."""

from __future__ import annotations

from typing import Any

from jobs_exec import JobContext, job


@job("noop")
async def noop(ctx: JobContext, data: dict[str, Any]) -> None:
    """Succeeds at once."""
