"""How many calls the endpoint carries out: signed, verified, run inline as a job that does nothing, answered.

    python tests/benchmarks/endpoint.py --version 18 --calls 3000 --callers 1 20

`jobs-exec serve` is a process of its own with default settings, on a durable server; each caller keeps one connection
and sends one call after another, every one a job of its own. Prints one JSON object a line for each number of callers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timing import durable_server, percentiles

from databases import TEMPLATE, Database, fresh_database  # isort: skip  (timing adds its folder)
from serving import SECRET, encoded, request, signed  # isort: skip

HERE = Path(__file__).parent


@contextmanager
def endpoint(database: Database) -> Iterator[int]:
    """The port of `jobs-exec serve` until the end of the block."""
    settings = {
        "JOB_MODULES": "noop_jobs",
        "PYTHONPATH": str(HERE),
        "JOB_DATABASE_URL": database.url,
        "JOB_CRON_SECRETS": SECRET,
        "JOB_CRON_TYPES": "noop",
    }
    command = [sys.executable, "-m", "jobs_exec", "serve", "--port", "0", "--json", "--log-level", "warning"]
    child = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())["port"]
    finally:
        child.terminate()
        child.wait(30)


async def caller(port: int, name: int, calls: int) -> list[float]:
    """Milliseconds of each call."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    waits = []
    for number in range(calls):
        body = encoded({"orgId": f"org-{name}", "type": "noop", "data": {"n": number, "pad": "x" * 150}})
        sent = time.perf_counter()
        writer.write(request(body, signed(body)))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(length)
        waits.append((time.perf_counter() - sent) * 1000)
    writer.close()
    return waits


async def measure(port: int, calls: int, callers: int, round_: int) -> dict[str, Any]:
    """`calls` in all, over `callers` connections."""
    begun = time.perf_counter()
    each = await asyncio.gather(*(caller(port, 1000 * round_ + name, calls // callers) for name in range(callers)))
    waits = [wait for waits in each for wait in waits]
    seconds = time.perf_counter() - begun
    return {"calls": len(waits), "per_second": round(len(waits) / seconds), **percentiles(waits, 50, 99)}


def main() -> None:
    """Parses the arguments and prints a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 20])
    arguments = parser.parse_args()
    with (
        durable_server(arguments.version) as server,
        fresh_database(server, TEMPLATE) as database,
        endpoint(database) as port,
    ):
        for round_, callers in enumerate(arguments.callers):
            row = asyncio.run(measure(port, arguments.calls, callers, round_))
            print(json.dumps({"postgres": arguments.version, "callers": callers, **row}), flush=True)


if __name__ == "__main__":
    main()
