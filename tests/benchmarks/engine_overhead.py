"""What the engine itself costs for a no-op async job: run it by hand, it is no test.

The backend hands out jobs that were made beforehand and accepts every settle at once, so what is measured is claim
handling, decode, task, context, outcome, settle buffer and accounts::

    python tests/benchmarks/engine_overhead.py [JOBS]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jobs_exec import job_type
from jobs_exec.contracts import Claim, ClaimKind, ClaimRequest, JobContext, Policy, Position, Settled
from jobs_exec.executor import Executor, Mode
from jobs_exec.host import Host
from jobs_exec.identity import Identity, new_job_id
from jobs_exec.job import ClaimedJob, Settlement
from jobs_exec.memory import MemoryBackend
from jobs_exec.settings import CoreSettings

PAYLOAD = '{"customer": 1234, "lines": [1, 2, 3], "note": "' + "x" * 150 + '"}'


class Instant(MemoryBackend):
    """Hands out `jobs` from a list and accepts what comes back."""

    def __init__(self, jobs: int) -> None:
        super().__init__(Policy())
        now = datetime.now(UTC)
        self.jobs = [
            ClaimedJob(
                new_job_id(), f"org-{n % 100}", "work", "default", PAYLOAD, 1, 5, 1, 5, now, 0.0, Identity.PAYLOAD, b"h"
            )
            for n in range(jobs)
        ]

    async def claim(self, request: ClaimRequest) -> Claim:
        if request.kind is ClaimKind.SUSPECT:
            return Claim()
        taken, self.jobs = self.jobs[-request.limit :], self.jobs[: -request.limit]
        return Claim(tuple(taken), position=Position.WALKED if taken else Position.EMPTY)

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        return Settled(frozenset([each.ref for each in batch]))


async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


async def measure(jobs: int) -> float:
    backend = Instant(jobs)
    host = Host(
        settings=CoreSettings(queues="default:100"),
        policy=Policy(),
        backend=backend,
        store=backend.ledger,
        job_types={"work": job_type("work", handler)},
    )
    executor = Executor(host, mode=Mode.DRAIN)
    before = time.process_time()
    report = await executor.run()
    assert report.counts.succeeded == jobs, report
    return (time.process_time() - before) / jobs * 1e6


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    print(f"{asyncio.run(measure(count)):.1f} µs of processor time a job")
