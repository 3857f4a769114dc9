"""The executor over the memory backend: what handlers do, and what becomes of their jobs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import uuid4

import pytest
from executing import PATIENCE, Probe, come_true
from pydantic import BaseModel

from jobs_exec import Cancel, JobContext, Retry, Snooze, job_type
from jobs_exec.contracts import (
    CallNext,
    Capability,
    ExecutorChanged,
    ExecutorRecord,
    JobEndedAtClaim,
    JobSettled,
    JobStarted,
    Policy,
    TypeRecord,
)
from jobs_exec.errors import CapabilityMissing
from jobs_exec.executor import Executor, Mode
from jobs_exec.identity import Identity
from jobs_exec.memory import MemoryBackend


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


async def test_a_job_is_run_once_and_its_result_is_stored() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> dict[str, Any]:
        return {"doubled": data["n"] * 2}

    probe = Probe(job_type("work", handler))
    job_id = await probe.enqueue(data={"n": 21})
    report = await probe.run(Mode.DRAIN)
    assert (await probe.stored(job_id)).result == '{"doubled":42}'
    assert (report.exit_code, report.counts.claimed, report.counts.succeeded) == (0, 1, 1)


async def test_a_sync_handler_runs_beside_the_loop() -> None:
    def handler(ctx: JobContext, data: dict[str, Any]) -> bool:
        return threading.current_thread() is threading.main_thread()

    probe = Probe(job_type("work", handler))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (await probe.stored(job_id)).result == "false"


async def test_a_failure_is_tried_again_until_the_last_attempt() -> None:
    attempts: list[int] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("boom")

    probe = Probe(job_type("work", handler, backoff=lambda attempt: 0.0, max_attempts=3))
    job_id = await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    stored = await probe.stored(job_id)
    assert attempts == [1, 2, 3]
    assert (stored.status, stored.reason, len(stored.errors)) == ("dead", "failed", 3)
    assert (report.counts.retried, report.counts.dead, report.counts.failed) == (2, 1, 3)


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
@pytest.mark.parametrize("sync", [False, True])
async def test_whatever_a_handler_raises_is_its_own_failure(raised: BaseException, sync: bool) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        raise raised

    def in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        raise raised

    probe = Probe(job_type("bad", in_thread if sync else handler, max_attempts=1), job_type("work", nothing))
    bad, good = await probe.enqueue("bad"), await probe.enqueue("work")
    report = await probe.run(Mode.DRAIN)
    assert report.exit_code == 0
    assert await probe.status(bad) == ("dead", "failed")
    assert await probe.status(good) == ("succeeded", None)


async def test_a_handler_that_cancels_its_own_task_fails_and_nothing_else_does() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    probe = Probe(job_type("work", handler, max_attempts=1))
    job_id = await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert report.exit_code == 0
    assert await probe.status(job_id) == ("dead", "failed")


async def test_a_payload_nobody_can_read_harms_only_its_own_job() -> None:
    probe = Probe(job_type("work", nothing))
    jobs = await probe.enqueue_each(3)
    _poison(probe, jobs[1], '{"a": 1e5000}')
    await probe.run(Mode.DRAIN)
    assert [await probe.status(job_id) for job_id in jobs] == [
        ("succeeded", None),
        ("dead", "payload"),
        ("succeeded", None),
    ]


async def test_a_payload_another_version_may_take_is_tried_again() -> None:
    class Order(BaseModel):
        number: int

    async def handler(ctx: JobContext, data: Order) -> None:
        raise AssertionError("called with a payload that does not fit")

    probe = Probe(job_type("work", handler, payload=Order))
    job_id = await probe.enqueue(data={"number": 1})
    _poison(probe, job_id, '{"number": "secret"}')
    report = await probe.run(Mode.DRAIN)
    stored = await probe.stored(job_id)
    assert (stored.status, report.counts.retried) == ("scheduled", 1)
    assert "secret" not in str(stored.errors)


def _poison(probe: Probe, job_id: Any, payload: str) -> None:
    object.__setattr__(probe.harness.tables.queue[job_id].job, "payload", payload)


async def test_outcome_values_say_how_it_goes_on() -> None:
    outcomes = {"later": Snooze(60), "again": Retry(30.0, "busy"), "pointless": Cancel("left")}

    async def handler(ctx: JobContext, data: dict[str, Any]) -> Any:
        return outcomes[data["say"]]

    probe = Probe(job_type("work", handler))
    ids = {say: await probe.enqueue(data={"say": say}) for say in outcomes}
    report = await probe.run(Mode.DRAIN)
    assert (report.counts.snoozed, report.counts.retried, report.counts.cancelled) == (1, 1, 1)
    assert (await probe.stored(ids["later"])).attempts == 0
    assert (await probe.stored(ids["again"])).attempts == 1
    assert await probe.status(ids["pointless"]) == ("cancelled", "cancelled")


async def test_a_result_that_is_no_json_fails_only_its_own_job() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> Any:
        return object() if data["n"] == 1 else data["n"]

    probe = Probe(job_type("work", handler))
    jobs = await probe.enqueue_each(3)
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 2
    assert await probe.status(jobs[1]) == ("dead", "result")


async def test_an_attempt_that_takes_too_long_is_cancelled_and_fails_as_timeout() -> None:
    cancelled: list[bool] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    probe = Probe(job_type("work", handler, timeout=0.01, max_attempts=1))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert cancelled == [True]
    assert await probe.status(job_id) == ("dead", "timeout")


async def test_a_handler_that_swallows_its_timeout_and_returns_has_still_timed_out() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "never"

    probe = Probe(job_type("work", handler, timeout=0.01, max_attempts=1))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert await probe.status(job_id) == ("dead", "timeout")


async def test_a_handler_that_ignores_its_timeout_is_given_up_and_others_go_on() -> None:
    let_go = asyncio.Event()

    async def stubborn(ctx: JobContext, data: dict[str, Any]) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    policy = Policy(poll_interval=0.01, lease=0.5)
    probe = Probe(
        job_type("bad", stubborn, timeout=0.01, max_attempts=1),
        job_type("work", nothing),
        policy=policy,
        queues="default:1",
    )
    bad = await probe.enqueue("bad", "acme")
    good = await probe.enqueue("work", "bravo")
    async with probe.at_work():
        figures = await probe.until(lambda figures: figures.succeeded == 1)
        let_go.set()
    assert figures.stuck == 1
    assert await probe.status(bad) == ("dead", "timeout")
    assert await probe.status(good) == ("succeeded", None)


async def test_half_the_threads_stuck_end_the_executor_with_a_reason() -> None:
    let_go = threading.Event()

    def stubborn(ctx: JobContext, data: dict[str, Any]) -> None:
        let_go.wait(PATIENCE)

    probe = Probe(job_type("work", stubborn, timeout=0.01, max_attempts=1), threads=2)
    job_id = await probe.enqueue()
    report = await asyncio.wait_for(probe.executor().run(), PATIENCE)
    let_go.set()
    assert report.exit_code == 1
    assert "1 of 2 threads are stuck" in str(report.problem)
    assert await probe.status(job_id) == ("dead", "timeout")


async def test_a_sync_job_that_found_no_thread_in_its_time_is_given_back_with_its_attempt() -> None:
    let_go = threading.Event()

    def slow(ctx: JobContext, data: dict[str, Any]) -> None:
        let_go.wait(PATIENCE)

    def quick(ctx: JobContext, data: dict[str, Any]) -> None:
        raise AssertionError("called after it was given back")

    probe = Probe(job_type("slow", slow), job_type("quick", quick, timeout=0.01), job_type("work", nothing), threads=1)
    await probe.enqueue("slow", "acme")
    async with probe.at_work():
        await come_true(lambda: bool(probe.backend.claims) and probe.harness.tables.queue != {})
        waiting = await probe.enqueue("quick", "bravo")
        await probe.until(lambda figures: figures.returned == 1)
        stored = await probe.stored(waiting)
        let_go.set()
    assert (stored.status, stored.attempts, stored.errors) == ("scheduled", 0, ())


async def test_a_queue_of_sync_handlers_claims_no_more_than_there_are_threads() -> None:
    def handler(ctx: JobContext, data: dict[str, Any]) -> None: ...

    probe = Probe(job_type("work", handler), threads=3, org_max_share=1)
    await probe.enqueue_each(10)
    await probe.run(Mode.DRAIN)
    assert max(request.limit for request in probe.backend.claims) == 3


async def test_middleware_is_part_of_the_attempt() -> None:
    async def refuse(ctx: JobContext, call_next: CallNext) -> Any:
        await call_next(ctx)
        raise PermissionError("after the handler")

    probe = Probe(job_type("work", nothing, max_attempts=1), middleware=[refuse])
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert await probe.status(job_id) == ("dead", "failed")


async def test_an_org_holds_no_more_than_its_share_of_the_slots() -> None:
    let_go = asyncio.Event()
    running: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        running.append(ctx.org_id)
        await let_go.wait()

    probe = Probe(job_type("work", handler), queues="default:4", org_max_share=0.5)
    await probe.enqueue_each(6, org="noisy")
    async with probe.at_work():
        await come_true(lambda: len(running) == 2)
        await probe.enqueue(org="quiet")
        await come_true(lambda: "quiet" in running)
        assert running.count("noisy") == 2
        let_go.set()
        await probe.until(lambda figures: figures.succeeded == 7)
    assert {request.org_slots for request in probe.backend.claims} == {2}
    assert any(request.org_running == {"noisy": 2} for request in probe.backend.claims)


async def test_nothing_is_claimed_while_all_slots_are_taken() -> None:
    started, let_go = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        started.set()
        await let_go.wait()

    probe = Probe(job_type("work", handler), queues="default:1")
    await probe.enqueue_each(2)
    async with probe.at_work():
        await started.wait()
        claims = len(probe.backend.claims)
        # Upkeep goes on meanwhile: two promotions are two poll intervals.
        promotions = probe.backend.calls.count("promote")
        await come_true(lambda: probe.backend.calls.count("promote") >= promotions + 2)
        assert len(probe.backend.claims) == claims
        let_go.set()
        await probe.until(lambda figures: figures.succeeded == 2)


async def test_observers_are_told_what_happened() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        if data["n"]:
            raise ValueError("boom")

    probe = Probe(job_type("work", handler, max_attempts=1))
    jobs = await probe.enqueue_each(2)
    late = await probe.enqueue(data={"late": True}, expires_at=probe.harness.tables.now())
    await probe.run(Mode.DRAIN)
    assert [event.state for event in probe.events if isinstance(event, ExecutorChanged)] == [
        "started",
        "draining",
        "stopped",
    ]
    assert {event.ref.job_id for event in probe.events if isinstance(event, JobStarted)} == set(jobs)
    settled = {event.ref.job_id: event for event in probe.events if isinstance(event, JobSettled)}
    assert [settled[job_id].action.value for job_id in jobs] == ["succeeded", "dead"]
    assert settled[jobs[1]].error
    ended = [event for event in probe.events if isinstance(event, JobEndedAtClaim)]
    assert [(event.job_id, event.status.value) for event in ended] == [(late, "expired")]


async def test_an_observer_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("observer")

    probe = Probe(job_type("work", nothing))
    object.__setattr__(probe.host, "observers", (broken, probe.events.append))
    await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert any(isinstance(event, JobSettled) for event in probe.events)
    assert "an observer failed" in caplog.text


async def test_a_duplicate_of_a_success_is_counted_without_running() -> None:
    probe = Probe(job_type("work", nothing))
    first = await probe.enqueue(data={"same": 1})
    await probe.run(Mode.DRAIN)
    # Inserted past the probe of enqueue, as by a transaction that was open meanwhile.
    success = probe.harness.tables.keys.copy()
    probe.harness.tables.keys.clear()
    again = await probe.enqueue(data={"same": 1})
    probe.harness.tables.keys.update(success)
    report = await probe.run(Mode.DRAIN)
    assert (report.counts.duplicates, report.counts.claimed) == (1, 0)
    assert (await probe.stored(again)).of == first


async def test_a_foreign_type_is_named_once_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(job_type("work", nothing))
    foreign = await probe.enqueue("elsewhere")
    # Another live executor carries it, so upkeep does not hold it.
    record = TypeRecord("elsewhere", "default", Identity.PAYLOAD)
    await probe.backend.join(ExecutorRecord(uuid4(), "other", 60.0, ("default",), (record,)))
    mine = await probe.enqueue("work")
    report = await probe.run(Mode.DRAIN)
    assert report.exit_code == 0
    assert await probe.status(mine) == ("succeeded", None)
    assert (await probe.stored(foreign)).status == "ready"
    assert [r.__dict__["type"] for r in caplog.records if "does not carry" in r.getMessage()] == ["elsewhere"]


def test_a_backend_that_does_not_hand_out_jobs_is_refused_at_once() -> None:
    class PushOnly(MemoryBackend):
        capabilities = frozenset({Capability.PUSH})

    probe = Probe(job_type("work", nothing))
    object.__setattr__(probe.host, "backend", PushOnly(probe.policy))
    with pytest.raises(CapabilityMissing, match="claim"):
        Executor(probe.host)
