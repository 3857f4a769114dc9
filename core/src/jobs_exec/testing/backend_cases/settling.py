"""How attempts end, fenced by (job id, token)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs_exec.contracts import PromoteRequest, RedriveOutcome
from jobs_exec.job import Action, AttemptRef, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness


class SettleCases(BackendCases):
    """See the module."""

    async def test_a_success_is_recorded_with_its_result(self, harness: BackendHarness, driver: Driver) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        assert await driver.settle(succeed(job, result='{"ok":true}')) == {job.ref}
        peek = await self.stored(harness, receipt.id)
        assert (peek.status, peek.result) == ("succeeded", '{"ok":true}')

    async def test_a_stale_token_is_refused_and_changes_nothing(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        stale = replace(job, token=job.token - 1)
        for action in Action:
            assert await driver.settle(Settlement(stale.ref, action)) == frozenset()
        assert (await self.stored(harness, job.id)).status == "running"

    async def test_an_attempt_is_settled_once(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        assert await driver.settle(Settlement(job.ref, Action.RETRY, reason="failed")) == {job.ref}
        assert await driver.settle(succeed(job)) == frozenset()
        assert (await self.stored(harness, job.id)).status != "succeeded"

    @pytest.mark.parametrize(
        ("action", "attempts"), [(Action.RETRY, 1), (Action.SNOOZE, 0), (Action.GIVE_BACK, 0), (Action.HOLD, 0)]
    )
    async def test_only_a_failure_spends_the_attempt_and_every_end_moves_the_token(
        self, harness: BackendHarness, driver: Driver, action: Action, attempts: int
    ) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.settle(Settlement(job.ref, action, delay=30, reason="why"))
        peek = await self.stored(harness, job.id)
        assert peek.attempts == attempts
        assert peek.token > job.token

    async def test_a_failed_job_comes_back_after_its_delay(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.settle(Settlement(job.ref, Action.RETRY, error="boom", reason="failed", delay=30))
        await harness.backend.promote(PromoteRequest(("default",)))
        assert (await driver.claim()).jobs == ()
        await harness.advance(31)
        await harness.backend.promote(PromoteRequest(("default",)))
        again = await driver.claim_one()
        assert (again.id, again.attempt) == (job.id, 2)
        assert again.token > job.token

    async def test_the_last_failure_ends_in_a_dead_run_that_keeps_everything(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", {"a": 1}, max_attempts=2)])
        for _ in range(2):
            await harness.advance(1)
            await harness.backend.promote(PromoteRequest(("default",)))
            await driver.settle(Settlement((await driver.claim_one()).ref, Action.RETRY, error="boom", reason="failed"))
        peek = await self.stored(harness, receipt.id)
        assert (peek.status, peek.attempts, peek.payload) == ("dead", 2, '{"a":1}')
        assert [(error["attempt"], error["error"]) for error in peek.errors] == [(1, "boom"), (2, "boom")]

    async def test_work_done_meanwhile_ends_as_duplicate_at_claim(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme")])
        first = await driver.claim_one()
        await driver.settle(Settlement(first.ref, Action.DEAD, reason="failed"))
        (second,) = await harness.backend.enqueue([new_job("acme")])
        await driver.settle(succeed(await driver.claim_one()))
        (outcome,) = await harness.backend.operator.redrive([first.id])
        assert outcome is RedriveOutcome.ALREADY_SUCCEEDED
        assert (await self.stored(harness, second.id)).status == "succeeded"

    async def test_one_attempt_in_a_batch_twice_is_settled_by_the_first(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.settle(succeed(job), Settlement(job.ref, Action.DEAD, reason="failed"))
        assert (await self.stored(harness, job.id)).status == "succeeded"

    async def test_a_late_settle_beside_the_live_one_changes_nothing(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme")])
        late = await driver.claim_one()
        await driver.settle(Settlement(late.ref, Action.GIVE_BACK))
        live = await driver.claim_one()
        failed = Settlement(live.ref, Action.RETRY, error="boom", reason="failed", delay=100.0)
        assert await driver.settle(succeed(late), failed) == {live.ref}
        peek = await self.stored(harness, live.id)
        assert (peek.status, peek.attempts, [error["error"] for error in peek.errors]) == ("scheduled", 1, ["boom"])

    async def test_a_refused_element_fails_no_other(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n}) for n in range(5)])
        good, bad, *rest = (await driver.claim()).jobs
        stale = Settlement(AttemptRef(bad.id, bad.token + 1), Action.SUCCEED)
        accepted = await driver.settle(succeed(good), stale, *map(succeed, rest))
        assert accepted == {good.ref, *(job.ref for job in rest)}
        assert (await self.stored(harness, bad.id)).status == "running"

    async def test_what_cannot_be_stored_ends_its_own_job_and_the_answer_says_what_was_written(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n}) for n in range(3)])
        first, culprit, last = (await driver.claim()).jobs
        batch = [succeed(first), succeed(culprit, ttl=1e13), succeed(last)]
        settled = await harness.backend.settle(batch)
        assert settled.accepted == {first.ref, culprit.ref, last.ref}
        assert {ref: each.action for ref, each in settled.changed.items()} == {culprit.ref: Action.DEAD}
        peeks = [await self.stored(harness, job.id) for job in (first, culprit, last)]
        assert [peek.status for peek in peeks] == ["succeeded", "dead", "succeeded"]
        assert peeks[1].reason == settled.changed[culprit.ref].reason == "result"
