"""What a claim, a settle and a promotion of 100 cost, whatever is queued.

    python tests/benchmarks/claim.py --backlogs 10000 100000 1000000 --orgs 101 1000 10000 50000 --version 18

Durable commits, one connection, each call a transaction of its own; payloads of 200 bytes, identity by payload. The
comparisons run on the same queue: FIFO with SKIP LOCKED by turns with the claim (its index is there in every scene),
ROW_NUMBER() over orgs after it; they only mark jobs as running, so they have less to do. On a machine that does other
things too the 10th percentile tells most. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from timing import durable_server, percentiles, timed

from databases import TEMPLATE, Database, Server, fresh_database  # isort: skip  (timing adds its folder)
from stepping import RETENTION, Queue, Stepped, org  # isort: skip

from jobs_exec_table.statements import statement

BATCH = 100
SMALL_ORGS = 10_000
Row = dict[str, Any]

FIFO_INDEX = "create index if not exists fifo on jobs.jobs_queue (queue, seq) where state = 'ready'"
FIFO = """
update jobs.jobs_queue set state = 'running', executor = gen_random_uuid(), token = token + 1,
    attempts = attempts + 1, started_at = now()
where id = any(array(
    select id from jobs.jobs_queue where queue = 'default' and state = 'ready'
    order by seq limit 100 for update skip locked))
returning id, org_id, payload
"""
ROW_NUMBER = """
update jobs.jobs_queue set state = 'running', executor = gen_random_uuid(), token = token + 1,
    attempts = attempts + 1, started_at = now()
where id = any(array(
    select id from jobs.jobs_queue where id = any(array(
        select id from (
            select id, org_id, row_number() over (partition by org_id order by priority, seq) as rank
            from jobs.jobs_queue where queue = 'default' and state = 'ready' and not suspect) ranked
        order by rank, org_id limit 100))
    for update skip locked))
returning id, org_id, payload
"""


class Timed(Stepped):
    """An executor whose statements are not counted but timed."""

    def _counted(self, name: str, parameters: Any) -> list[Row]:
        cursor = self.connection.execute(statement(name), parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def settle(self, jobs: list[tuple[Any, int]]) -> None:
        """Ends `jobs`, pairs of id and token, as succeeded."""
        count = len(jobs)
        parameters = {
            "ids": [job[0] for job in jobs],
            "tokens": [job[1] for job in jobs],
            "actions": ["succeeded"] * count,
            "retention": RETENTION,
            "delays": [None] * count,
            "ttls": [RETENTION] * count,
            "results": ["1"] * count,
            "reasons": [None] * count,
            "errors": [None] * count,
            "ofs": [None] * count,
        }
        self.connection.execute(statement("settle"), parameters).fetchall()

    def running(self) -> list[tuple[Any, int]]:
        """Id and token of 100 jobs that it has."""
        text = "select id, token from jobs.jobs_queue where executor = %s and state = 'running' limit 100"
        return [(row[0], row[1]) for row in self.connection.execute(text, (self.id,)).fetchall()]


def _claims(executor: Timed, rounds: int) -> Row:
    """Fair and FIFO claims by turns, so that whatever else the machine does befalls both."""

    def fifo() -> None:
        assert len(executor.connection.execute(FIFO).fetchall()) == BATCH

    # Right after a checkpoint each page that is touched is written to the log whole: 133 pages a claim at first, with a
    # million jobs, and 3 after 200 claims. FIFO touches neighbours and hardly notices.
    executor.connection.execute(FIFO_INDEX)
    for _ in range(rounds):
        executor.claim(BATCH)
    times = [(timed(lambda: executor.claim(BATCH)), timed(fifo)) for _ in range(rounds)]
    fair = percentiles([each[0] for each in times], 10, 50, 90)
    baseline = percentiles([each[1] for each in times], 10, 50)
    return {**fair, "fifo_p10_ms": baseline["p10_ms"], "fifo_p50_ms": baseline["p50_ms"]}


def _settles(executor: Timed, rounds: int) -> Row:
    times = []
    for _ in range(rounds):
        executor.claim(BATCH)
        jobs = executor.running()
        times.append(timed(lambda jobs=jobs: executor.settle(jobs)))  # type: ignore[misc]
    return percentiles(times, 10, 50, 90)


def _ranked(connection: Connection[TupleRow]) -> Row:
    return percentiles([timed(lambda: connection.execute(ROW_NUMBER).fetchall()) for _ in range(5)], 50, 90)


def backlogs(database: Database, sizes: list[int], rounds: int) -> Iterator[Row]:
    """One org with ever more jobs beside 10,000 small ones; on the largest the comparisons and what must cost nothing."""
    with database.connect() as connection:
        queue, executor = Queue(connection), Timed(connection).join()
        queue.fill({org(n): 10 for n in range(SMALL_ORGS)}, bytes=180, identity="payload")
        done = 0
        for size in sizes:
            queue.fill({org(SMALL_ORGS // 2) + "-heavy": size - done}, bytes=180, identity="payload")
            done = size
            _rest(queue)
            yield {"scene": f"claim: 1 org with {size:,} jobs + 10,000 with 10", **_claims(executor, rounds)}
        yield {"scene": "settle of 100, there", **_settles(executor, rounds)}
        yield {"scene": "ROW_NUMBER() over orgs, there", **_ranked(connection)}
        queue.fill({f"held-{n:05}": 1 for n in range(10_000)}, state="held", bytes=180)
        _rest(queue)
        yield {"scene": "claim: and 10,000 held orgs", **_claims(executor, rounds)}
        queue.fill({"nobody": sizes[-1]}, type="foreign", state="held", reason="type", bytes=180)
        _rest(queue)
        yield {"scene": f"claim: and {sizes[-1]:,} held jobs of a foreign type", **_claims(executor, rounds)}


def ring_sizes(server: Server, sizes: list[int], rounds: int) -> Iterator[Row]:
    """100,000 jobs of ever more orgs."""
    for orgs in sizes:
        with fresh_database(server, TEMPLATE) as database, database.connect() as connection:
            queue, executor = Queue(connection), Timed(connection).join()
            queue.fill({org(n): max(1, 100_000 // orgs) for n in range(orgs)}, bytes=180, identity="payload")
            _rest(queue)
            yield {"scene": f"claim: {orgs:,} orgs", **_claims(executor, rounds)}


def foreign(database: Database, size: int, rounds: int) -> Iterator[Row]:
    """Ready jobs of a type that somebody else carries, in the same queue."""
    with database.connect() as connection:
        queue, executor = Queue(connection), Timed(connection).join()
        queue.fill({org(n): 10 for n in range(SMALL_ORGS)}, bytes=180, identity="payload")
        _rest(queue)
        yield {"scene": "claim: 10,000 orgs with 10 jobs", **_claims(executor, rounds)}
        queue.fill({org(SMALL_ORGS // 2): size}, type="foreign", bytes=180)
        _rest(queue)
        yield {"scene": f"claim: and {size:,} ready jobs of a foreign type", **_claims(executor, rounds)}


def promotion(database: Database, size: int, rounds: int) -> Iterator[Row]:
    """Nothing due; then many of one org and one of another."""
    with database.connect() as connection:
        queue, executor = Queue(connection), Timed(connection).join()
        times = [timed(lambda: executor.claim(BATCH)) for _ in range(rounds * 5)]
        yield {"scene": "claim: empty queue", **percentiles(times, 10, 50, 90)}
        queue.fill({org(n): 10 for n in range(SMALL_ORGS)}, state="scheduled", bytes=180)
        connection.execute("update jobs.jobs_queue set run_at = now() + interval '1 day'")
        _rest(queue)
        times = [timed(lambda: executor.promote(1_000)) for _ in range(rounds)]
        yield {"scene": "promotion: 100,000 scheduled, none due", **percentiles(times, 10, 50, 90)}
        connection.execute("truncate jobs.jobs_queue")
        queue.fill({"heavy": size, "zz-small": 1}, state="scheduled", bytes=180)
        _rest(queue)
        times = []
        while "zz-small" not in queue.counts("ready"):
            times.append(timed(lambda: executor.promote(1_000)))
        calls = len(times)
        times += [timed(lambda: executor.promote(1_000)) for _ in range(rounds)]
        yield {
            "scene": f"promotion: {size:,} due of one org + 1 of another",
            "calls_until_the_other": calls,
            **percentiles(times, 10, 50, 90),
        }


def _rest(queue: Queue) -> None:
    queue.settle_statistics()
    queue.connection.execute("checkpoint")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """All scenes."""
    rounds, largest = arguments.rounds, arguments.backlogs[-1]
    with durable_server(arguments.version) as server:
        scenes: list[Callable[[Database], Iterator[Row]]] = [
            lambda database: promotion(database, largest, rounds),
            lambda database: foreign(database, largest, rounds),
            lambda database: backlogs(database, arguments.backlogs, rounds),
        ]
        yield from ring_sizes(server, arguments.orgs, rounds)
        for scene in scenes:
            with fresh_database(server, TEMPLATE) as database:
                yield from scene(database)


def main() -> None:
    """Parses the arguments and prints a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backlogs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--orgs", type=int, nargs="+", default=[101, 1_000, 10_000, 50_000])
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    for row in measure(arguments):
        print(json.dumps({"postgres": arguments.version, **row}), flush=True)


if __name__ == "__main__":
    main()
