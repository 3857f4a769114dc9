"""How fast jobs are enqueued, through the client and with durable commits.

    python tests/benchmarks/enqueue.py --version 18 --seconds 5

One client over one connection, payloads of 200 bytes: one by one, in batches of 100 and 1,000 (the statement, identity
by payload), in batches of 1,000 and 10,000 by COPY (identity "none", where nothing needs checking), and one by one
inside a transaction of the caller's that writes a row of its own. Preparing the jobs is included. Prints one JSON
object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

from timing import durable_server

from databases import TEMPLATE, fresh_database  # isort: skip  (timing adds its folder)

from jobs_exec import Envelope, Identity, JobContext, job_type
from jobs_exec.client import Client
from jobs_exec.contracts import Policy
from jobs_exec.host import Host
from jobs_exec.settings import CoreSettings
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings

TEXT = "x" * 178
Step = Callable[[], Awaitable[int]]


async def _noop(ctx: JobContext, data: dict[str, Any]) -> None: ...


def _host(url: str) -> Host:
    policy = Policy()
    backend = TableBackend(policy, TableSettings(JOB_DATABASE_URL=url))
    types = (job_type("once", _noop), job_type("each", _noop, identity=Identity.NONE))
    return Host(
        settings=CoreSettings(),
        policy=policy,
        backend=backend,
        store=backend.ledger,
        job_types={made.name: made for made in types},
    )


class Enqueuer:
    """The ways in; each step answers how many jobs it enqueued."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = count()

    def _one(self, type: str) -> Envelope:
        number = next(self._numbers)
        return Envelope(f"org-{number % 1000:05}", type, {"n": number, "text": TEXT})

    def batches(self, type: str, size: int) -> Step:
        """`enqueue_many` of `size` jobs."""

        async def step() -> int:
            return len(await self._client.enqueue_many([self._one(type) for _ in range(size)]))

        return step

    async def single(self) -> int:
        """`enqueue` of one job."""
        number = next(self._numbers)
        await self._client.enqueue(org_id=f"org-{number % 1000:05}", type="once", data={"n": number, "text": TEXT})
        return 1

    async def beside_a_row(self) -> int:
        """One job in a transaction that inserts a row besides."""
        async with self._client.transaction() as connection:
            await connection.execute("insert into orders default values")
            await self._client.enqueue_many([self._one("once")], connection=connection)
        return 1

    async def row_alone(self) -> int:
        """That transaction without the job."""
        async with self._client.transaction() as connection:
            await connection.execute("insert into orders default values")
        return 1


async def _rate(step: Step, seconds: float) -> float:
    """Jobs a second, after a warm-up."""
    for _ in range(6):
        await step()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        done += await step()
    return done / (time.perf_counter() - started)


async def measure(url: str, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """One row for each way in."""
    async with Client.open(host=_host(url)) as client:
        ways = Enqueuer(client)
        steps: dict[str, Step] = {
            "one by one": ways.single,
            "in the caller's transaction, beside a row": ways.beside_a_row,
            "that transaction without the job": ways.row_alone,
            "batches of 100": ways.batches("once", 100),
            "batches of 1,000": ways.batches("once", 1_000),
            "batches of 1,000, COPY": ways.batches("each", 1_000),
            "batches of 10,000, COPY": ways.batches("each", 10_000),
        }
        for name, step in steps.items():
            yield {"way": name, "per_second": round(await _rate(step, seconds))}


async def main() -> None:
    """Parses the arguments and prints a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with durable_server(arguments.version) as server, fresh_database(server, TEMPLATE) as database:
        database.execute("create table orders (id bigint generated always as identity primary key)")
        async for row in measure(database.url, arguments.seconds):
            print(json.dumps({"postgres": arguments.version, **row}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
