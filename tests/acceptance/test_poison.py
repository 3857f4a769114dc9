"""Poison: what no rule of ours let in, and what handlers give back. Only the culprit suffers."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from databases import Database
from psycopg import sql
from working import Work

from jobs_exec import JobContext, job_type

HEALTHY = 40
MAX_RESULT = 64 * 1024
MAX_ERROR = 8 * 1024

PAYLOADS = {
    "a number beyond every float": '{"a": 1e5000}',
    "a thousand arrays": '{"a": ' + "[" * 1000 + "]" * 1000 + "}",
    "NUL": r'{"a": "x\u0000y"}',
    "half a surrogate pair": r'{"a": "\ud800"}',
    "an integer that others would change": '{"a": 123456789012345678901234567890}',
    "a number of many digits": '{"a": ' + "9" * 5000 + "}",
}
"""JSON to PostgreSQL; no enqueuer of ours would have stored it."""


def failing(error: BaseException) -> Any:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        raise error

    return handler


def returning(value: object) -> Any:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> object:
        return value

    return handler


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


class Witness:
    """A handler that keeps what it was called with."""

    def __init__(self) -> None:
        self.seen: list[UUID] = []

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.seen.append(ctx.job_id)


async def test_payloads_that_cannot_be_read_end_alone(migrated: Database) -> None:
    witness = Witness()
    work = Work(migrated, (job_type("work", witness),))
    first = await work.enqueue_each("acme", "work", HEALTHY // 2)
    poison = {name: work.insert("acme", "work", payload) for name, payload in PAYLOADS.items()}
    others = [work.insert("emca", "work", f'{{"n": {n}}}') for n in range(HEALTHY // 2)]
    report = await work.drained()
    assert (report.exit_code, report.counts.succeeded, report.counts.dead) == (0, HEALTHY, len(poison))
    ends = work.ends()
    assert {ends[job_id] for job_id in (*first, *others)} == {("succeeded", None, 1)}
    assert {name: ends[job_id] for name, job_id in poison.items()} == dict.fromkeys(poison, ("dead", "payload", 1))
    assert sorted(witness.seen) == sorted((*first, *others))
    for job_id in poison.values():
        (entry,) = work.errors(job_id)
        assert entry["error"].startswith("data")


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "294276-01-01", "4713-01-01 BC"])
@pytest.mark.parametrize("column", ["created_at", "run_at", "first_due", "expires_at"])
def test_times_that_no_client_can_read_are_refused_by_the_table(migrated: Database, column: str, moment: str) -> None:
    job_id = Work(migrated, ()).insert("acme", "work")
    statement = sql.SQL("update jobs.jobs_queue set {} = %s where id = %s").format(sql.Identifier(column))
    with (
        migrated.connect() as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="times_lie_between_the_years_1970_and_9999"),
    ):
        connection.execute(statement, (moment, job_id))


async def test_the_earliest_and_the_latest_time_are_read_by_everybody(migrated: Database) -> None:
    witness = Witness()
    work = Work(migrated, (job_type("work", witness),))
    healthy, odd = await work.enqueue_each("acme", "work", 5), work.insert("acme", "work")
    migrated.execute(
        "update jobs.jobs_queue set created_at = '1970-01-01Z', run_at = '1970-01-01Z',"
        " expires_at = '9999-12-30 23:59:59.999999Z' where id = %s",
        odd,
    )
    await work.drained()
    assert set(work.ends().values()) == {("succeeded", None, 1)}
    assert sorted(witness.seen) == sorted((*healthy, odd))


ERRORS = {
    "nul": ValueError("before\0after"),
    "surrogate": ValueError("before\ud800after"),
    "long": ValueError("é" * MAX_ERROR),
    "exit": SystemExit(3),
    "silent": KeyError(),
}


async def test_error_texts_that_postgres_cannot_store_fail_their_own_job(migrated: Database) -> None:
    types = [job_type(name, failing(error), max_attempts=1) for name, error in ERRORS.items()]
    work = Work(migrated, (job_type("work", Witness()), *types))
    healthy = await work.enqueue_each("acme", "work", HEALTHY)
    failed = {name: (await work.enqueue("acme", name)).id for name in ERRORS}
    await work.drained()
    ends = work.ends()
    assert {ends[job_id] for job_id in healthy} == {("succeeded", None, 1)}
    assert {name: ends[job_id] for name, job_id in failed.items()} == dict.fromkeys(failed, ("dead", "failed", 1))
    texts = {name: work.errors(job_id)[0]["error"] for name, job_id in failed.items()}
    assert r"before\u0000after" in texts["nul"]
    assert r"before\ud800after" in texts["surrogate"]
    assert all(0 < len(text.encode()) <= MAX_ERROR for text in texts.values())
    assert len(texts["long"].encode()) > MAX_ERROR // 2


RESULTS = {
    "nan": float("nan"),
    "infinite": {"a": [float("inf")]},
    "object": object(),
    "set": {1, 2},
    "deep": nested(100_000),
    "long": "x" * (MAX_RESULT - 1),
    "long_in_bytes": "é" * (MAX_RESULT // 2),
}
"""What cannot be stored: the two quotes make a text longer."""

STORED = {
    "at_the_limit": "x" * (MAX_RESULT - 2),
    "nul": {"a\0": "b\0"},
    "surrogate": ["\ud800"],
    "false": False,
    "large": 10**40,
}


async def test_results_that_cannot_be_stored_fail_their_own_job(migrated: Database) -> None:
    types = [job_type(name, returning(value)) for name, value in RESULTS.items()]
    kept = [job_type(f"kept.{name}", returning(value)) for name, value in STORED.items()]
    work = Work(migrated, (job_type("work", Witness()), *types, *kept))
    healthy = await work.enqueue_each("acme", "work", HEALTHY)
    failed = {name: (await work.enqueue("acme", name)).id for name in RESULTS}
    good = {name: (await work.enqueue("acme", f"kept.{name}")).id for name in STORED}
    await work.drained()
    ends = work.ends()
    assert {ends[job_id] for job_id in (*healthy, *good.values())} == {("succeeded", None, 1)}
    assert {name: ends[job_id] for name, job_id in failed.items()} == dict.fromkeys(failed, ("dead", "result", 1))
    assert all("the result cannot be stored" in work.errors(job_id)[0]["error"] for job_id in failed.values())
    stored = {name: result_of(migrated, job_id) for name, job_id in good.items()}
    assert stored["at_the_limit"] == STORED["at_the_limit"]
    assert stored["nul"] == {r"a\u0000": r"b\u0000"}
    assert stored["surrogate"] == [r"\ud800"]
    assert (stored["false"], stored["large"]) == (False, 10**40)


def result_of(database: Database, job_id: UUID) -> Any:
    ((text,),) = database.execute("select result::text from jobs.job_runs where job_id = %s", job_id)
    return json.loads(str(text))


async def test_a_handler_that_breaks_its_own_transaction_fails_alone(migrated: Database) -> None:
    migrated.execute("create table effects (n int primary key)")
    migrated.execute("insert into effects values (1)")

    async def swallowing(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            try:
                await connection.execute("insert into effects values (1)")
            except Exception:  # the transaction is aborted from here on
                ctx.log.info("seen before")

    work = Work(migrated, (job_type("work", Witness()), job_type("swallow", swallowing, max_attempts=1)))
    broken = await work.enqueue("acme", "swallow")
    healthy = await work.enqueue_each("acme", "work", HEALTHY)
    await work.drained()
    ends = work.ends()
    assert {ends[job_id] for job_id in healthy} == {("succeeded", None, 1)}
    assert ends[broken.id] == ("dead", "failed", 1)
