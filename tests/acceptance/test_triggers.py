"""Many callers of one piece of work: one runs it, the others are told; a killed one is followed by exactly one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import LEASE, Crowd, crowd
from databases import Database
from processes import SCRIPT
from working import Work

PROCESSES, CALLS = 5, 10
TOLD = {"in_flight", "duplicate"}
"""What callers are told whose work another one does or has done."""


@pytest.fixture
def callers(tmp_path: Path, migrated: Database) -> Iterator[Crowd]:
    with crowd(tmp_path, migrated) as made:
        yield made


def statuses(database: Database) -> list[tuple[object, ...]]:
    return database.execute("select status::text, attempts from jobs.job_runs")


def test_of_fifty_callers_one_runs_the_handler_and_the_others_are_told(callers: Crowd) -> None:
    for _ in range(PROCESSES):
        callers.call(CALLS)
    callers.until(lambda: len(callers.answers()) == PROCESSES * CALLS - 1, "49 answers")
    assert len(callers.begun()) == 1
    assert callers.outcomes() == {"in_flight": 49}
    callers.release()
    callers.until_ended()
    assert callers.outcomes() == {"in_flight": 49, "succeeded": 1}
    assert (len(callers.begun()), callers.database.execute("select count(*) from effects")) == (1, [(1,)])
    assert statuses(callers.database) == [("succeeded", 1)]
    assert callers.said() == ""


def test_after_a_killed_caller_exactly_one_takes_over_within_two_leases(callers: Crowd) -> None:
    for _ in range(PROCESSES):
        callers.call(CALLS)
    callers.until(lambda: len(callers.answers()) == PROCESSES * CALLS - 1, "49 answers")
    (victim,) = callers.begun()
    os.kill(victim, signal.SIGKILL)
    ((lease_until,),) = callers.database.execute("select max(lease_until) from jobs.job_executors")
    before = len(callers.answers())
    while len(callers.begun()) == 1:
        calls = [callers.call(CALLS // 5) for _ in range(2)]
        callers.until(
            lambda calls=calls: len(callers.begun()) > 1 or all(each.process.poll() is not None for each in calls),  # type: ignore[misc]
            "the takeover",
        )
    ((late,),) = callers.database.execute("select extract(epoch from max(at) - %s) from begun", lease_until)
    # One lease to be stamped as lapsed and a second one to be taken for lost, and what a caller takes to start.
    assert float(str(late)) < LEASE + 5.0
    more = callers.call(CALLS)
    callers.until(lambda: len(more.answers()) == CALLS, "answers while it is done")
    assert {answer["outcome"] for answer in more.answers()} == {"in_flight"}
    callers.release()
    callers.until_ended()
    outcomes = callers.outcomes()
    assert outcomes["succeeded"] == 1
    assert set(outcomes) <= {"succeeded", *TOLD}
    assert len(callers.answers()) > before
    assert (len(callers.begun()), callers.database.execute("select count(*) from effects")) == (2, [(1,)])
    assert statuses(callers.database) == [("succeeded", 1)]


def test_callers_enqueuers_and_an_executor_do_it_once(callers: Crowd) -> None:
    work = Work(callers.database, ())
    executor = subprocess.Popen(
        [SCRIPT, "run"],
        cwd=callers.folder,
        env=callers.environment(JOB_QUEUE_BACKEND="table", JOB_POLL_INTERVAL_MS="50"),
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(PROCESSES):
            callers.call(CALLS // 2)
        receipts = asyncio.run(enqueued(work, 25))
        callers.until(lambda: bool(callers.begun()), "the handler")
        callers.until(lambda: len(callers.answers()) >= 24, "the answers of those that do not run it")
        callers.release()
        callers.until_ended()
        callers.until(lambda: len(statuses(callers.database)) == 1, "the end")
    finally:
        executor.terminate()
        executor.wait(30)
    outcomes = callers.outcomes()
    assert sum(outcomes.values()) == 25
    assert set(outcomes) <= {"succeeded", *TOLD}
    assert len(set(receipts)) == 1
    assert (len(callers.begun()), callers.database.execute("select count(*) from effects")) == (1, [(1,)])
    assert statuses(callers.database) == [("succeeded", 1)]


async def enqueued(work: Work, times: int) -> list[object]:
    """Enqueues at once what the callers trigger, by the same tick."""
    from datetime import UTC, datetime

    from jobs_exec import Envelope
    from jobs_exec.client import Client
    from jobs_exec.contracts import Policy
    from jobs_exec.preparing import prepare

    async with Client.open(host=work.host()) as client:
        tick = datetime(2026, 11, 25, 13, tzinfo=UTC)
        jobs = [
            prepare(Envelope("acme", "effect", max_attempts=3), {}, {}, Policy(), allow_unregistered=True, tick=tick)
            for _ in range(times)
        ]
        answers = await asyncio.gather(*[client.backend.enqueue([job]) for job in jobs])
    return [receipt.id for (receipt,) in answers]
