"""How long a job waits on an idle queue: from the return of `enqueue`, after its commit, to the start of its handler.

    python tests/benchmarks/latency.py --version 18 --jobs 200 --polled 60

The executor is a process of its own with default settings; jobs come one at a time, each after a random pause that
lets the executor's polling fall asleep. Once over a direct connection, where the executor hears hints, and once through
PgBouncer in transaction mode, where it only polls (`JOB_POLL_INTERVAL_MS` 500: the median is half of that by design).
Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from timing import durable_server, percentiles

from databases import TEMPLATE, Database, fresh_database  # isort: skip  (timing adds its folder)
from poolers import pgbouncer  # isort: skip

from jobs_exec.client import Client

HERE = Path(__file__).parent
RESULT = "select (result #>> '{}')::double precision from jobs.job_runs where job_id = %s"


@contextmanager
def executor(url: str) -> Iterator[None]:
    """`jobs-exec run` until the end of the block."""
    environment = os.environ | {"JOB_MODULES": "noop_jobs", "PYTHONPATH": str(HERE), "JOB_DATABASE_URL": url}
    command = [sys.executable, "-m", "jobs_exec", "run", "--log-level", "warning"]
    child = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


async def pick_ups(client: Client, database: Database, jobs: int, longest_pause: float) -> list[float]:
    """Milliseconds of each job; the handler's result is when it started."""
    waits = []
    for number in range(jobs + 1):
        await asyncio.sleep(random.uniform(longest_pause / 2, longest_pause))
        receipt = await client.enqueue(org_id="acme", type="started", data={"n": number}, allow_unregistered=True)
        committed = time.time()
        waits.append((await _started(database, receipt.id) - committed) * 1000)
    return waits[1:]  # the first one waited for the process


async def _started(database: Database, job_id: UUID) -> float:
    """When the handler began; asked seldom, because the asking takes the processor from the executor."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        if rows := await asyncio.to_thread(database.execute, RESULT, job_id):
            return float(str(rows[0][0]))
    raise TimeoutError("the job was not run")


async def measure(database: Database, url: str, jobs: int, longest_pause: float) -> dict[str, Any]:
    """Enqueued over a direct connection, run by an executor that reaches the database at `url`."""
    with executor(url):
        async with Client.open({"JOB_DATABASE_URL": database.url}) as client:
            waits = await pick_ups(client, database, jobs, longest_pause)
    return {"jobs": jobs, **percentiles(waits, 50, 90, 99)}


def main() -> None:
    """Parses the arguments and prints a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--polled", type=int, default=60)
    arguments = parser.parse_args()
    with durable_server(arguments.version) as server:
        with fresh_database(server, TEMPLATE) as database:
            row = asyncio.run(measure(database, database.url, arguments.jobs, 0.5))
            print(json.dumps({"postgres": arguments.version, "executor": "listens", **row}), flush=True)
        with fresh_database(server, TEMPLATE) as database, pgbouncer(database) as pooled:
            row = asyncio.run(measure(database, pooled.url, arguments.polled, 2.0))
            print(json.dumps({"postgres": arguments.version, "executor": "polls", **row}), flush=True)


if __name__ == "__main__":
    main()
