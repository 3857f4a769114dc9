"""What an executor's log says about its start, about jobs that do not succeed, and about those that nobody runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from executing import PATIENCE, Probe, come_true

from jobs_exec import Cancel, Identity, JobContext, JobType, Retry, Snooze, job_type
from jobs_exec.contracts import RescueRequest, TypeRecord
from jobs_exec.executor import ExitReport, Mode
from jobs_exec.executor.endings import _without_payload
from jobs_exec.executor.outcomes import clean, error_text
from jobs_exec.testing.driving import Driver

PASSWORD = "geheim-4711"


async def works(ctx: JobContext, data: dict[str, Any]) -> None: ...


async def fails(ctx: JobContext, data: dict[str, Any]) -> None:
    raise KeyError("customer")


def lines(caplog: pytest.LogCaptureFixture, start: str) -> list[Any]:
    return [record for record in caplog.records if record.getMessage().startswith(start)]


async def drained(caplog: pytest.LogCaptureFixture, made: JobType, **settings: Any) -> ExitReport:
    caplog.set_level(logging.INFO)
    probe = Probe(made, **settings)
    await probe.enqueue(made.name, data={"n": 17})
    return await probe.run(Mode.DRAIN)


async def test_each_failed_attempt_is_a_warning_and_the_dead_job_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe = Probe(job_type("fails", fails, max_attempts=2, backoff=lambda _: 0.0))
    job_id = await probe.enqueue("fails", org="acme")
    await probe.run(Mode.DRAIN)
    retried, dead = lines(caplog, "attempt failed")
    assert (retried.levelname, dead.levelname) == ("WARNING", "ERROR")
    assert (retried.attempt, dead.attempt, dead.reason) == (1, 2, "failed")
    assert (dead.org_id, dead.job_id, dead.type) == ("acme", str(job_id), "fails")
    assert dead.executor == str(probe.backend.joined[0])
    assert dead.error == "KeyError: 'customer'"
    assert "test_executor_logs.py:" in dead.place
    assert dead.place.endswith("in fails")


async def hangs(ctx: JobContext, data: dict[str, Any]) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("ending", "level", "said"),
    [
        (Snooze(60), "INFO", "the job was snoozed"),
        (Cancel("pointless"), "INFO", "the job was cancelled"),
        (Retry(60, "later"), "WARNING", "attempt failed; the job will be tried again"),
        ({"success": False, "error": "no"}, "WARNING", "attempt failed; the job will be tried again"),
    ],
)
async def test_every_end_that_is_no_success_is_said(
    caplog: pytest.LogCaptureFixture, ending: object, level: str, said: str
) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> object:
        return ending

    await drained(caplog, job_type("work", handler, backoff=lambda _: 60.0))
    (line,) = lines(caplog, said)
    assert line.levelname == level


async def test_a_timeout_is_said_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    await drained(caplog, job_type("hangs", hangs, timeout=0.01, max_attempts=1))
    (dead,) = lines(caplog, "attempt failed")
    assert (dead.reason, dead.error) == ("timeout", "timed out after 0.01 seconds")


async def test_what_a_shutdown_returns_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe = Probe(job_type("hangs", hangs))
    await probe.enqueue("hangs")
    async with probe.at_work() as executor:
        await come_true(lambda: executor.progress.running == 1)
        executor.abort()
    (returned,) = lines(caplog, "the job was returned")
    assert (returned.levelname, returned.reason, returned.type) == ("INFO", "shutdown", "hangs")


async def test_a_stuck_thread_is_said_with_the_job_that_holds_it(caplog: pytest.LogCaptureFixture) -> None:
    let_go = threading.Event()

    def stuck(ctx: JobContext, data: dict[str, Any]) -> None:
        let_go.wait(PATIENCE)

    probe = Probe(job_type("stuck", stuck, timeout=0.01, max_attempts=1))
    job_id = await probe.enqueue("stuck", org="acme")
    async with probe.at_work():
        await probe.until(lambda figures: figures.dead == 1)
        let_go.set()
    (line,) = lines(caplog, "a sync handler did not end")
    assert (line.org_id, line.job_id, line.type, line.stuck) == ("acme", str(job_id), "stuck", 1)


async def test_jobs_taken_back_from_executors_that_are_gone_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(job_type("work", works))
    await probe.enqueue_each(2)
    gone = await Driver(probe.harness, (TypeRecord("work", "default", Identity.PAYLOAD),)).join()
    await gone.claim()
    await probe.harness.expire_lease(gone.id)
    await probe.backend.rescue(RescueRequest())
    await probe.harness.expire_lease(gone.id)
    report = await probe.run(Mode.DRAIN)
    (line,) = lines(caplog, "jobs of executors that are gone were taken back")
    assert (line.levelname, line.returned, line.dead, report.counts.succeeded) == ("WARNING", 2, 0, 2)


# --- payloads and passwords -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "payload", "logged"),
    [
        ("KeyError: 'to'", '{"from": "ann"}', "KeyError: 'to'"),
        ("ValueError: no ann@example.com", '{"to": ["ann@example.com"]}', "ValueError: no ..."),
        ("ValueError: card 4711 in 47110", '{"card": 4711}', "ValueError: card ... in ...0"),
        ("ValueError: row 7 of 70", '{"row": 7, "on": true}', "ValueError: row ... of 70"),
        ("ValueError: 'it\\'s \"x\"'", '{"text": "it\'s \\"x\\""}', "ValueError: '...'"),
        ("ValueError: " + "x" * 90 + " of y", '{"text": "' + "x" * 200 + '"}', "ValueError: ..."),
        ("ValueError: anything", '{"text": "' + "z" * 20_000 + '"}', "ValueError"),
        ("ValueError: anything", "no JSON", "ValueError"),
        ("anything at all", "[" * 100_000, "..."),
        ("ValueError: " + "long " * 500, "{}", ("ValueError: " + "long " * 500)[:500]),
    ],
)
def test_no_value_of_the_payload_is_in_the_words_that_are_logged(words: str, payload: str, logged: str) -> None:
    assert _without_payload(words, payload) == logged


@pytest.mark.parametrize("of", [lambda text: error_text(ConnectionError(text)), clean])
def test_a_stored_error_holds_no_password(of: Callable[[str], str]) -> None:
    for dsn in (f"postgresql://u:{PASSWORD}@h/x", f"host=h password={PASSWORD}", "x" * 8_150 + f" a://u:{PASSWORD}@h"):
        stored = of(f"cannot connect to {dsn}")
        assert "geheim" not in stored
        assert "cannot connect to" in stored


async def test_a_password_in_an_exception_is_neither_stored_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def dials(ctx: JobContext, data: dict[str, Any]) -> None:
        raise ConnectionError(f"postgresql://u:{PASSWORD}@h/x")

    probe = Probe(job_type("dials", dials, max_attempts=1))
    job_id = await probe.enqueue("dials")
    await probe.run(Mode.DRAIN)
    (kept,) = (await probe.stored(job_id)).errors
    assert "postgresql://u:********@h/x" in kept["error"]
    (dead,) = lines(caplog, "attempt failed")
    assert dead.error == "ConnectionError: postgresql://u:********@h/x"


# --- types and queues -------------------------------------------------------------------------------------


async def test_the_start_names_queues_and_types(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe = Probe(job_type("b", works), job_type("a", works), queues="default:7")
    await probe.run(Mode.ONCE)
    (started,) = lines(caplog, "executor started")
    assert (started.queues, started.types) == ("default:7", "a, b")


async def test_many_types_are_counted_instead_of_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Probe(*(job_type(f"type-{n:02}", works) for n in range(25))).run(Mode.ONCE)
    (started,) = lines(caplog, "executor started")
    assert started.types.endswith("type-19, 5 more")


async def test_an_executor_without_any_type_says_how_to_name_them(caplog: pytest.LogCaptureFixture) -> None:
    await Probe().run(Mode.DRAIN)
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "no job type is registered" in line.getMessage()
    assert "JOB_MODULES" in line.getMessage()
    assert "--import" in line.getMessage()


async def test_a_queue_without_types_is_said_with_the_queues_that_have_some(caplog: pytest.LogCaptureFixture) -> None:
    await Probe(job_type("a", works), queues="dflt:10").run(Mode.DRAIN)
    (line,) = lines(caplog, "no job type belongs to queue 'dflt'")
    assert "belong to default" in line.getMessage()


async def test_jobs_of_a_type_that_nobody_carries_are_said_once_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(job_type("known", works))
    for number in range(2):
        await probe.enqueue("greet", data={"n": number})
    for _ in range(2):  # found held at the second start, not held by it
        caplog.clear()
        report = await probe.run(Mode.DRAIN)
        (line,) = lines(caplog, "jobs are held because no executor carries their type")
        assert (line.type, line.held, report.held_types) == ("greet", 2, {"greet": 2})


async def test_nothing_is_said_of_types_that_somebody_carries(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(job_type("known", works))
    await probe.enqueue("known")
    report = await probe.run(Mode.DRAIN)
    assert report.held_types == {}
    assert not lines(caplog, "jobs are held")
