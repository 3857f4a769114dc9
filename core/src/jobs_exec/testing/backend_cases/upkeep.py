"""Promotion of due jobs, and jobs that are held."""

from __future__ import annotations

from jobs_exec.contracts import Capability, PromoteRequest, TypeRecord
from jobs_exec.identity import Identity
from jobs_exec.job import Action, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job
from jobs_exec.testing.harness import BackendHarness


class UpkeepCases(BackendCases):
    """See the module."""

    async def test_promotion_is_fair_over_orgs(self, harness: BackendHarness, driver: Driver) -> None:
        self.needs(harness, Capability.DELAY)
        await harness.backend.enqueue([new_job("noisy", {"n": n}, delay=1.0) for n in range(50)])
        await harness.backend.enqueue([new_job("quiet", delay=2.0)])
        await harness.advance(5)
        promoted = await harness.backend.promote(PromoteRequest(("default",), limit=2))
        assert (promoted.ready, promoted.more) == (2, True)
        assert {job.org_id for job in (await driver.claim()).jobs} == {"noisy", "quiet"}

    async def test_jobs_of_a_suspended_org_are_held_and_released(self, harness: BackendHarness, driver: Driver) -> None:
        jobs = [new_job("acme", {"n": n}) for n in range(2)]
        await harness.backend.enqueue(jobs)
        await driver.settle(Settlement((await driver.claim_one()).ref, Action.HOLD))
        promoted = await harness.backend.promote(PromoteRequest(("default",), suspended=frozenset({"acme"})))
        assert promoted.held_orgs == {"acme"}
        assert [(await self.stored(harness, job.id)).status for job in jobs] == ["held", "held"]
        await harness.backend.promote(PromoteRequest(("default",), active=frozenset({"acme"})))
        assert len((await driver.claim()).jobs) == 2

    async def test_a_type_without_a_live_executor_is_held_until_one_comes(self, harness: BackendHarness) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", type="foreign")])
        await harness.backend.promote(PromoteRequest(("default",)))
        assert (await self.stored(harness, receipt.id)).status == "held"
        explained = await harness.backend.promote(PromoteRequest(("default",), explain=True))
        assert explained.held_types == {"foreign": 1}
        owner = await Driver(harness, (TypeRecord("foreign", "default", Identity.PAYLOAD),)).join()
        assert (await harness.backend.promote(PromoteRequest(("default",), explain=True))).held_types == {}
        assert (await owner.claim_one()).id == receipt.id
