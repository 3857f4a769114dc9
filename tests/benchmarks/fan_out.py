"""What one tick for many orgs costs, and what it does to the jobs of others meanwhile and after.

    python tests/benchmarks/fan_out.py --orgs 10000 50000 --version 18

Durable commits; a payload of 200 bytes with the tick in it. "fire" is one call of the book from this process, orgs passed
as an array; "enqueued" is the same number of jobs through `enqueue`, made beforehand, for comparison. While a tick is
fired another connection enqueues and claims jobs of a quiet org in the same queue; after it, a job of a quiet org is
claimed from behind the whole tick, by an executor that starts at the first org. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from timing import durable_server, percentiles

from databases import TEMPLATE, Database, fresh_database  # isort: skip  (timing adds its folder)
from books import Book, firing, opened_book  # isort: skip
from stepping import Queue, Stepped, org  # isort: skip

from jobs_exec.contracts import FireOutcome, ScheduleView
from jobs_exec.testing.driving import new_job

Row = dict[str, Any]
DATA = {"text": "x" * 180}


class Quiet:
    """A quiet org on a connection of its own: one job at a time, enqueued and claimed, for as long as it is asked to."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.times: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Quiet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self.database.connect() as connection:
            queue, executor = Queue(connection), Stepped(connection).join()
            while not self._stop.is_set():
                began = time.perf_counter()
                queue.fill({"quiet": 1})
                executor.claim(1)
                self.times.append((time.perf_counter() - began) * 1000)


async def fired(book: Book, view: ScheduleView, orgs: tuple[str, ...]) -> tuple[ScheduleView, float]:
    """The schedule after its next tick, and the seconds that took."""
    began = time.perf_counter()
    answer = await book.backend.schedules.fire(firing(view, orgs))
    seconds = time.perf_counter() - began
    assert (answer.outcome, answer.created) == (FireOutcome.FIRED, len(orgs)), answer
    return await book.view(view.schedule.name), seconds


async def measure(database: Database, count: int, rounds: int) -> AsyncIterator[Row]:
    """All scenes for one number of orgs."""
    orgs = tuple(org(number) for number in range(count))
    async with opened_book(database) as book:
        for overlap in ("allow", "skip"):
            name = f"report-{overlap}"
            view = await book.add(name, orgs="*", overlap=overlap, tick_as="at", data=DATA)
            times = []
            for _ in range(rounds):
                view, seconds = await fired(book, view, orgs)
                times.append(seconds)
                if overlap == "skip":
                    database.execute("truncate jobs.jobs_queue")
            yield {
                "scene": f"fire for {count:,} orgs, overlap {overlap}",
                "seconds": [round(each, 3) for each in times],
            }
        database.execute("truncate jobs.jobs_queue")
        jobs = [new_job(each, DATA, key=str(datetime.now(UTC) + timedelta(hours=1))) for each in orgs]
        began = time.perf_counter()
        await book.backend.enqueue(jobs)
        yield {"scene": f"{count:,} enqueued", "seconds": round(time.perf_counter() - began, 3)}
        yield await beside(book, view, orgs)


async def beside(book: Book, view: ScheduleView, orgs: tuple[str, ...]) -> Row:
    """A quiet org's job, enqueued and claimed: alone, while the tick is fired, and behind it."""
    database = book.database
    database.execute("truncate jobs.jobs_queue")
    with Quiet(database) as alone:
        await asyncio.sleep(0.5)
    with Quiet(database) as meanwhile:
        _, seconds = await fired(book, view, orgs)
    with database.connect() as connection:
        queue, executor = Queue(connection), Stepped(connection).join()
        queue.fill({"zz-quiet": 1})
        claims = 0
        began = time.perf_counter()
        while not any(job == "zz-quiet" for job in executor.claim(100).orgs):
            claims += 1
        behind = (time.perf_counter() - began) * 1000
    return {
        "scene": f"a quiet org beside {len(orgs):,}",
        "alone": percentiles(alone.times, 50, 99),
        "meanwhile": {**percentiles(meanwhile.times, 50, 99), "fire_seconds": round(seconds, 3)},
        "behind": {"claims_of_100_before": claims, "ms": round(behind, 1)},
    }


async def run(arguments: argparse.Namespace) -> None:
    """Prints a JSON object a line."""
    with durable_server(arguments.version) as server:
        for count in arguments.orgs:
            with fresh_database(server, TEMPLATE) as database:
                async for row in measure(database, count, arguments.rounds):
                    print(json.dumps({"postgres": arguments.version, **row}), flush=True)


def main() -> None:
    """Parses the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orgs", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
