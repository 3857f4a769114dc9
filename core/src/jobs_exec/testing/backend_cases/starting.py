"""Jobs that are started at once by whoever triggers them, under one lock with enqueue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from jobs_exec.contracts import Capability, PromoteRequest, Start, StartOutcome, StartRequest
from jobs_exec.job import Action, ClaimedJob, NewJob, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness

RETRY = 30.0


def failed(job: ClaimedJob, delay: float = RETRY) -> Settlement:
    """A failed attempt that is due again after `delay` seconds."""
    return Settlement(job.ref, Action.RETRY, error="no", reason="failed", delay=delay)


async def started(driver: Driver, job: NewJob) -> ClaimedJob:
    """Starts `job`, which must be possible."""
    answer = await start(driver, job)
    assert answer.outcome is StartOutcome.STARTED, answer
    assert answer.job is not None
    return answer.job


async def start(driver: Driver, job: NewJob) -> Start:
    """Asks to start `job` for the executor of `driver`."""
    return await driver.backend.start(StartRequest(driver.id, job))


class StartingCases(BackendCases):
    """See the module."""

    @pytest_asyncio.fixture
    async def starter(self, harness: BackendHarness) -> Driver:
        """An executor that has joined, of a backend that starts jobs."""
        self.needs(harness, Capability.START)
        return await Driver(harness).join()

    async def test_a_started_job_is_running_and_settles_like_a_claimed_one(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        new = new_job("acme", {"n": 1}, priority=2)
        job = await started(starter, new)
        assert (job.id, job.org_id, job.type, job.attempt, job.priority) == (new.id, "acme", "work", 1, 2)
        assert (job.payload, job.run_hash, job.suspect) == ('{"n":1}', new.run_hash, False)
        assert (await self.stored(harness, job.id)).status == "running"
        assert (await starter.claim()).jobs == ()
        assert await starter.settle(succeed(job, result='"done"')) == {job.ref}
        assert (await self.stored(harness, job.id)).status == "succeeded"

    async def test_a_repetition_of_a_success_is_answered_with_its_run(self, starter: Driver) -> None:
        job = await started(starter, new_job("acme"))
        await starter.settle(succeed(job, result='{"ok":true}'))
        answer = await start(starter, new_job("acme"))
        assert (answer.outcome, answer.job_id, answer.job) == (StartOutcome.SUCCEEDED, job.id, None)
        assert answer.run is not None
        assert (answer.run.job_id, answer.run.result) == (job.id, '{"ok":true}')

    async def test_a_job_that_runs_is_answered_as_running(self, harness: BackendHarness, starter: Driver) -> None:
        job = await started(starter, new_job("acme"))
        other = await Driver(harness).join()
        answer = await start(other, new_job("acme"))
        assert (answer.outcome, answer.job_id, answer.attempts) == (StartOutcome.RUNNING, job.id, 1)

    async def test_another_org_is_not_kept_from_the_same_work(self, starter: Driver) -> None:
        first, second = await started(starter, new_job("acme")), await started(starter, new_job("other"))
        assert (first.org_id, second.org_id) == ("acme", "other")
        assert first.id != second.id

    async def test_a_ready_job_is_taken_over_with_its_own_payload(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", {"n": 1}, key="k")])
        answer = await start(starter, new_job("acme", {"n": 2}, key="k"))
        assert answer.outcome is StartOutcome.STARTED
        assert answer.job is not None
        assert (answer.job.id, answer.job.payload, answer.conflict) == (receipt.id, '{"n":1}', True)

    async def test_a_scheduled_job_that_was_never_attempted_begins_now(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        self.needs(harness, Capability.DELAY)
        (receipt,) = await harness.backend.enqueue([new_job("acme", delay=3600)])
        assert (await started(starter, new_job("acme"))).id == receipt.id

    async def test_a_call_before_the_next_attempt_waits_and_spends_nothing(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        job = await started(starter, new_job("acme", max_attempts=3))
        await starter.settle(failed(job))
        answer = await start(starter, new_job("acme", max_attempts=3))
        assert (answer.outcome, answer.job_id, answer.reason) == (StartOutcome.WAITING, job.id, "failed")
        assert (answer.attempts, answer.max_attempts) == (1, 3)
        assert RETRY - 10 < answer.wait <= RETRY
        assert (await self.stored(harness, job.id)).attempts == 1
        await harness.advance(RETRY + 1)
        again = await started(starter, new_job("acme"))
        assert (again.id, again.attempt) == (job.id, 2)

    async def test_after_the_last_attempt_it_is_dead_until_redriven(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        self.needs(harness, Capability.DEAD_LETTERS)
        job = await started(starter, new_job("acme", max_attempts=1))
        await starter.settle(failed(job))
        for _ in range(2):
            answer = await start(starter, new_job("acme", max_attempts=1))
            assert (answer.outcome, answer.job_id, answer.reason) == (StartOutcome.DEAD, job.id, "failed")
        assert (await self.stored(harness, job.id)).status == "dead"
        await harness.backend.operator.redrive([job.id])
        assert (await started(starter, new_job("acme"))).id == job.id

    async def test_enqueue_makes_a_new_job_beside_a_dead_one_which_can_be_started(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        job = await started(starter, new_job("acme", max_attempts=1))
        await starter.settle(failed(job))
        (receipt,) = await harness.backend.enqueue([new_job("acme")])
        assert receipt.id != job.id
        assert (await started(starter, new_job("acme"))).id == receipt.id

    async def test_a_cancelled_job_is_answered_again_while_enqueue_makes_a_new_one(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        job = await started(starter, new_job("acme"))
        await starter.settle(Settlement(job.ref, Action.CANCEL, reason="no longer needed"))
        answer = await start(starter, new_job("acme"))
        assert (answer.outcome, answer.job_id) == (StartOutcome.CANCELLED, job.id)
        assert answer.reason == "no longer needed"
        (receipt,) = await harness.backend.enqueue([new_job("acme")])
        assert receipt.id != job.id
        assert (await started(starter, new_job("acme"))).id == receipt.id

    async def test_a_rejected_job_forbids_nothing_because_its_org_may_be_known_by_then(self, starter: Driver) -> None:
        job = await started(starter, new_job("acme"))
        await starter.settle(Settlement(job.ref, Action.REJECT, reason="org"))
        assert (await started(starter, new_job("acme"))).id != job.id

    async def test_a_job_held_for_its_org_stays_held(self, harness: BackendHarness, starter: Driver) -> None:
        job = await started(starter, new_job("acme"))
        await starter.settle(Settlement(job.ref, Action.HOLD, reason="org"))
        answer = await start(starter, new_job("acme"))
        assert (answer.outcome, answer.job_id, answer.reason) == (StartOutcome.HELD, job.id, "org")
        assert (await self.stored(harness, job.id)).status == "held"

    async def test_a_job_held_for_want_of_an_executor_is_started(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", type="rare")])
        await harness.backend.promote(PromoteRequest(("default",)))
        assert (await self.stored(harness, receipt.id)).status == "held"
        assert (await started(starter, new_job("acme", type="rare"))).id == receipt.id
        assert (await self.stored(harness, receipt.id)).status == "running"

    async def test_a_job_of_a_lost_executor_is_started_once_it_was_taken_back(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        job = await started(starter, new_job("acme"))
        await starter.die()
        heir = await Driver(harness).join()
        again = await started(heir, new_job("acme"))
        assert (again.id, again.attempt, again.suspect) == (job.id, 1, True)
        assert again.token > job.token
        assert await starter.settle(succeed(job)) == frozenset()

    async def test_a_job_past_its_time_ends_as_expired(self, harness: BackendHarness, starter: Driver) -> None:
        past = datetime.now(UTC) - timedelta(hours=1)
        answer = await start(starter, new_job("acme", expires_at=past))
        assert (answer.outcome, answer.job) == (StartOutcome.EXPIRED, None)
        assert answer.job_id is not None
        assert (await self.stored(harness, answer.job_id)).status == "expired"

    async def test_what_waited_past_its_time_ends_and_the_call_is_a_new_job(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        (receipt,) = await harness.backend.enqueue([new_job("acme", expires_at=soon)])
        await harness.advance(120)
        job = await started(starter, new_job("acme"))
        assert job.id != receipt.id
        assert (await self.stored(harness, receipt.id)).status == "expired"

    async def test_work_that_has_ended_is_told_without_starting_anything(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        backend = harness.backend
        assert await backend.past(new_job("acme", max_attempts=1)) is None
        job = await started(starter, new_job("acme", max_attempts=1))
        assert await backend.past(new_job("acme")) is None, "it lives"
        await starter.settle(failed(job))
        dead = await backend.past(new_job("acme"))
        assert dead is not None
        assert (dead.outcome, dead.job_id, dead.reason) == (StartOutcome.DEAD, job.id, "failed")
        await backend.enqueue([new_job("acme")])
        assert await backend.past(new_job("acme")) is None, "a new one lives"
        again = await started(starter, new_job("acme"))
        await starter.settle(succeed(again, result="1"))
        done = await backend.past(new_job("acme"))
        assert done is not None
        assert done.run is not None
        assert (done.outcome, done.run.job_id, done.run.result) == (StartOutcome.SUCCEEDED, again.id, "1")

    async def test_nothing_is_started_without_a_lease(self, harness: BackendHarness, starter: Driver) -> None:
        await harness.expire_lease(starter.id)
        new = new_job("acme")
        assert (await start(starter, new)).outcome is StartOutcome.NO_LEASE
        assert await harness.peek(new.id) is None

    async def test_of_many_callers_and_enqueuers_exactly_one_starts_it(
        self, harness: BackendHarness, starter: Driver
    ) -> None:
        starts = [start(starter, new_job("acme")) for _ in range(20)]
        enqueues = [harness.backend.enqueue([new_job("acme")]) for _ in range(20)]
        answers, receipts = await asyncio.gather(asyncio.gather(*starts), asyncio.gather(*enqueues))
        outcomes = [answer.outcome for answer in answers]
        assert outcomes.count(StartOutcome.STARTED) == 1
        assert outcomes.count(StartOutcome.RUNNING) == 19
        (job_id,) = {answer.job_id for answer in answers if answer.outcome is StartOutcome.STARTED}
        assert {receipt.id for (receipt,) in receipts} == {job_id}
