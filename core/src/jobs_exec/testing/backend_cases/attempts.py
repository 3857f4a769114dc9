"""The transaction of an attempt: all of it or nothing."""

from __future__ import annotations

from jobs_exec.contracts import Capability
from jobs_exec.job import Action, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness


class AttemptCases(BackendCases):
    """See the module."""

    async def test_an_attempts_transaction_settles_when_it_commits(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.ATTEMPT_TRANSACTION)
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        attempt = harness.backend.begin_attempt(job)
        await attempt.open()
        assert (await self.stored(harness, job.id)).status == "running"
        assert await attempt.commit(succeed(job)) is True
        assert (await self.stored(harness, job.id)).status == "succeeded"

    async def test_an_attempts_transaction_of_somebody_else_writes_nothing(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.ATTEMPT_TRANSACTION)
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        attempt, child = harness.backend.begin_attempt(job), new_job("acme", {"child": True})
        await harness.backend.enqueue([child], await attempt.open())
        await driver.settle(Settlement(job.ref, Action.GIVE_BACK))
        assert await attempt.commit(succeed(job)) is False
        assert (await self.stored(harness, job.id)).status == "ready"
        assert await harness.peek(child.id) is None

    async def test_a_rolled_back_attempt_leaves_the_job_to_the_settle(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.ATTEMPT_TRANSACTION)
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        attempt = harness.backend.begin_attempt(job)
        await attempt.open()
        await attempt.rollback()
        await attempt.rollback()
        assert await driver.settle(Settlement(job.ref, Action.RETRY, reason="failed")) == {job.ref}
