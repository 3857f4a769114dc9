"""How an executor ends: by itself, at the first signal, at the second."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from executing import PATIENCE, Probe, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import OrgStatus, Policy
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor import Executor, ExitReport, Mode, State


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


class Held:
    """A handler that waits for `let_go`, and counts its ends."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.started.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def started(executor: Executor, held: Held) -> asyncio.Task[ExitReport]:
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(held.started.wait(), PATIENCE)
    return running


async def test_the_first_signal_lets_running_jobs_end_and_claims_no_more() -> None:
    held = Held()
    probe = Probe(job_type("work", held), queues="default:1")
    running_job, waiting_job = await probe.enqueue_each(2)
    executor = probe.executor()
    running = await started(executor, held)
    executor.drain()
    await come_true(lambda: executor.state is State.DRAINING)
    held.let_go.set()
    report = await asyncio.wait_for(running, PATIENCE)
    assert (report.exit_code, held.cancelled) == (0, 0)
    assert await probe.status(running_job) == ("succeeded", None)
    waiting = await probe.stored(waiting_job)
    assert (waiting.status, waiting.attempts) == ("ready", 0)
    assert executor.state is State.STOPPED


async def test_after_the_grace_what_runs_is_cancelled_and_given_back_with_its_attempt() -> None:
    held = Held()
    probe = Probe(job_type("work", held), shutdown_grace=0.01)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = await started(executor, held)
    executor.drain()
    report = await asyncio.wait_for(running, PATIENCE)
    stored = await probe.stored(job_id)
    assert (report.exit_code, held.cancelled, report.counts.returned) == (0, 1, 1)
    assert (stored.status, stored.attempts, stored.suspect) == ("ready", 0, False)


async def test_the_second_signal_cancels_at_once() -> None:
    held = Held()
    probe = Probe(job_type("work", held), shutdown_grace=3600)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = await started(executor, held)
    executor.drain()
    executor.abort()
    report = await asyncio.wait_for(running, PATIENCE)
    assert held.cancelled == 1
    assert (report.exit_code, "aborted: 1 running" in str(report.problem)) == (1, True)
    assert (await probe.stored(job_id)).status == "ready"


async def test_a_handler_that_swallows_the_cancel_at_shutdown_is_given_back_whatever_it_returns() -> None:
    waiting = asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> str:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "as if it were done"
        return "never"

    probe = Probe(job_type("work", handler), shutdown_grace=0)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(waiting.wait(), PATIENCE)
    executor.drain()
    await asyncio.wait_for(running, PATIENCE)
    assert (await probe.stored(job_id)).status == "ready"


async def test_a_sync_handler_that_outlives_the_shutdown_does_not_keep_the_executor() -> None:
    waiting, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(waiting.set)
        let_go.wait(PATIENCE)

    probe = Probe(job_type("work", handler), shutdown_grace=0)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(waiting.wait(), PATIENCE)
    executor.drain()
    report = await asyncio.wait_for(running, PATIENCE)
    let_go.set()
    assert report.counts.returned == 1
    assert (await probe.stored(job_id)).status == "ready"


async def test_jobs_claimed_but_not_started_are_given_back() -> None:
    class Slow:
        """A directory that answers when the executor is ending."""

        asked = asyncio.Event()
        answer = asyncio.Event()

        async def check(self, org_ids: Any) -> dict[str, Any]:
            self.asked.set()
            await self.answer.wait()
            return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

        def active(self) -> Any:
            raise NotImplementedError

    calls: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        calls.append(ctx.org_id)

    directory = Slow()
    probe = Probe(job_type("work", handler), directory=directory)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(directory.asked.wait(), PATIENCE)
    executor.drain()
    await come_true(lambda: executor.state is State.DRAINING)
    directory.answer.set()
    report = await asyncio.wait_for(running, PATIENCE)
    stored = await probe.stored(job_id)
    assert (calls, report.counts.returned) == ([], 1)
    assert (stored.status, stored.attempts) == ("ready", 0)


async def test_an_executor_leaves_when_it_ends() -> None:
    probe = Probe(job_type("work", nothing))
    await probe.run(Mode.DRAIN)
    assert probe.backend.left == probe.backend.joined
    assert probe.harness.tables.executors == {}


async def test_attempts_that_cannot_be_written_end_the_executor_with_a_reason() -> None:
    held = Held()
    probe = Probe(job_type("work", held), policy=Policy(poll_interval=0.01, lease=0.3))
    await probe.enqueue()
    executor = probe.executor()
    running = await started(executor, held)
    probe.backend.connected = False
    executor.drain()
    held.let_go.set()
    report = await asyncio.wait_for(running, PATIENCE)
    assert report.exit_code == 1
    assert "1 ended attempts could not be written" in str(report.problem)


async def test_no_task_of_ours_outlives_the_executor() -> None:
    probe = Probe(job_type("work", nothing))
    await probe.enqueue_each(5)
    before = asyncio.all_tasks()
    await probe.run(Mode.DRAIN)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_backend_that_cannot_be_reached_at_the_start_is_the_callers_error() -> None:
    probe = Probe(job_type("work", nothing))
    probe.backend.connected = False
    with pytest.raises(BackendUnavailable, match="unplugged"):
        await probe.run(Mode.FOREVER)


async def test_drain_works_everything_off_also_what_handlers_add() -> None:
    async def parent(ctx: JobContext, data: dict[str, Any]) -> None:
        for n in range(3):
            await ctx.enqueue(type="child", data={"n": n})

    probe = Probe(job_type("parent", parent), job_type("child", nothing))
    await probe.enqueue("parent")
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 4
    assert probe.harness.tables.queue == {}


async def test_drain_leaves_what_is_scheduled_for_later() -> None:
    probe = Probe(job_type("work", nothing))
    later = await probe.enqueue(data={"later": True}, delay=3600.0)
    now = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (await probe.stored(later)).status == "scheduled"
    assert (await probe.stored(now)).status == "succeeded"


async def test_drain_promotes_what_is_due() -> None:
    probe = Probe(job_type("work", nothing))
    due = await probe.enqueue(delay=60.0)
    await probe.harness.advance(61)
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert (await probe.stored(due)).status == "succeeded"


async def test_drain_waits_for_an_org_at_its_share() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    probe = Probe(job_type("work", handler), queues="default:4", org_max_share=0.25)
    await probe.enqueue_each(20, org="only")
    assert (await probe.run(Mode.DRAIN)).counts.succeeded == 20


async def test_drain_waits_for_a_job_that_was_claimed_while_the_last_one_was_written() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        # Longer than the write of the job before, and than the claims that walk past the org at its share.
        seen = len(probe.backend.claims)
        while len(probe.backend.claims) < seen + 4:  # noqa: ASYNC110  (a count of claims, no event)
            await asyncio.sleep(0)

    probe = Probe(job_type("work", handler), queues="default:2", org_max_share=0.5)
    await probe.enqueue_each(6, org="only")
    assert (await probe.run(Mode.DRAIN)).counts.succeeded == 6


async def test_once_is_one_claim_of_every_queue() -> None:
    probe = Probe(
        job_type("work", nothing),
        job_type("report", nothing, queue="reports"),
        queues="default:2,reports:3",
        org_max_share=1,
    )
    await probe.enqueue_each(5)
    await probe.enqueue_each(5, type="report")
    report = await probe.run(Mode.ONCE)
    assert report.counts.succeeded == 5
    assert sorted(request.queue for request in probe.backend.claims) == ["default", "reports"]


async def test_once_does_upkeep_first() -> None:
    probe = Probe(job_type("work", nothing))
    due = await probe.enqueue(delay=60.0)
    await probe.harness.advance(61)
    await probe.run(Mode.ONCE)
    assert (await probe.stored(due)).status == "succeeded"


async def test_once_reports_a_claim_that_failed() -> None:
    probe = Probe(job_type("work", nothing))
    await probe.enqueue()
    probe.backend.lose_next_claim = True
    report = await probe.run(Mode.ONCE)
    assert report.exit_code == 1
    assert "the reply was lost" in str(report.problem)


async def test_a_queue_without_types_here_is_named_and_not_served(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(job_type("work", nothing), queues="default:1,reports:1")
    await probe.run(Mode.DRAIN)
    assert "'reports'" in caplog.text
    assert {request.queue for request in probe.backend.claims} == {"default"}
