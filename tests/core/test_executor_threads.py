"""Sync handlers whose threads go on without their attempts, and commits that wait for locked rows."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from executing import PATIENCE, Probe, SyncAttempt, Transactional, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import Policy
from jobs_exec.executor import Executor
from jobs_exec.job import ClaimedJob, Settlement

BRISK = Policy(poll_interval=0.01, lease=0.3)


class Stubborn:
    """A sync handler whose first call waits for `let_go`, whatever happens to its attempt."""

    def __init__(self) -> None:
        self.let_go, self.started = threading.Event(), threading.Event()

    def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        if not self.started.is_set():
            self.started.set()
            self.let_go.wait(PATIENCE)


async def _cut_off(probe: Probe, executor: Executor, how: str) -> None:
    """The running attempts are stopped because the lease is at risk, or has been lost."""
    if how == "lost":
        await probe.reaped(probe.backend.joined[0])
        await probe.until(lambda figures: figures.lost == 1)
    else:
        probe.backend.connected = False
        await come_true(lambda: executor.progress.running == 0)
        probe.backend.connected = True
        await probe.until(lambda figures: figures.returned > 0)


@pytest.mark.parametrize("how", ["lease", "lost"])
async def test_a_thread_that_goes_on_past_its_time_after_its_lease_ended_is_stuck(how: str) -> None:
    stubborn = Stubborn()
    probe = Probe(job_type("work", stubborn, timeout=1.5), policy=BRISK, threads=2)
    await probe.enqueue()
    executor = probe.executor()
    running = probe._running = asyncio.ensure_future(executor.run())
    await come_true(stubborn.started.is_set)
    await _cut_off(probe, executor, how)
    # Its time is not over: a thread that an outage left alone may still end.
    assert (executor.progress.stuck, running.done()) == (0, False)
    report = await asyncio.wait_for(running, PATIENCE)
    stubborn.let_go.set()
    assert (report.exit_code, report.counts.stuck) == (1, 1)
    assert "1 of 2 threads are stuck" in str(report.problem)


async def test_a_thread_that_ends_in_its_time_after_its_lease_ended_is_not_stuck() -> None:
    ends, stays = Stubborn(), Stubborn()
    made = (job_type("ends", ends, timeout=1.5), job_type("stays", stays, timeout=1.5))
    probe = Probe(*made, policy=BRISK, threads=4)
    async with probe.at_work() as executor:
        for each, stubborn in (("ends", ends), ("stays", stays)):
            await probe.enqueue(each)
            await come_true(stubborn.started.is_set)
        await _cut_off(probe, executor, "lease")
        ends.let_go.set()
        # The one that stays began later: when it is told of, the other's time is over too.
        await come_true(lambda: executor.progress.stuck > 0)
        stays.let_go.set()
    assert (probe.report.exit_code, probe.report.counts.stuck) == (0, 1)


async def test_a_drain_that_leaves_threads_behind_is_a_graceful_end() -> None:
    stubborn = Stubborn()
    probe = Probe(job_type("work", stubborn), threads=1, shutdown_grace=0)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await come_true(stubborn.started.is_set)
    stubborn.let_go.set()
    assert (probe.report.exit_code, probe.report.counts.stuck, probe.report.counts.returned) == (0, 0, 1)
    assert (await probe.stored(job_id)).status == "ready"


async def test_commits_that_wait_for_locked_rows_keep_no_other_org_from_committing() -> None:
    unlocked = threading.Event()

    class Locked(Transactional):
        waiting = 0

        def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttempt:  # type: ignore[override]
            attempt = super().begin_attempt_sync(job)
            end = attempt.commit

            def commit(settlement: Settlement) -> bool:
                if job.org_id == "noisy":
                    Locked.waiting += 1
                    unlocked.wait(PATIENCE)
                return end(settlement)

            attempt.commit = commit
            return attempt

    def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction() as connection:
            connection.append("written")

    probe = Probe(job_type("work", handler), backend=Locked, threads=10, queues="default:10")
    await probe.enqueue_each(8, org="noisy")
    async with probe.at_work():
        await come_true(lambda: Locked.waiting == 8)
        await probe.enqueue(org="quiet")
        await probe.until(lambda figures: figures.succeeded == 1)
        unlocked.set()
        await probe.until(lambda figures: figures.succeeded == 9)
