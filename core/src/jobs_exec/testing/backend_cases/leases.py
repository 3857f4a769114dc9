"""Executors that go silent, die or leave, and what becomes of their jobs."""

from __future__ import annotations

from jobs_exec.contracts import ClaimKind, RescueRequest
from jobs_exec.job import Action, AttemptRef, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness


class LeaseCases(BackendCases):
    """See the module."""

    async def test_a_lost_job_returns_with_its_attempt_and_as_suspect(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.die()
        peek = await self.stored(harness, job.id)
        assert (peek.status, peek.attempts, peek.suspect, peek.crashes) == ("ready", 0, True, 0)
        assert await driver.settle(succeed(job)) == frozenset()
        assert not await harness.backend.heartbeat(driver.id)

    async def test_a_lapsed_executor_is_not_yet_lost(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await harness.expire_lease(driver.id)
        rescued = await harness.backend.rescue(RescueRequest())
        assert (rescued.lapsed, rescued.returned) == (1, 0)
        assert await driver.settle(succeed(job)) == {job.ref}

    async def test_a_heartbeat_clears_the_stamp(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await harness.expire_lease(driver.id)
        await harness.backend.rescue(RescueRequest())
        assert await harness.backend.heartbeat(driver.id)
        await harness.expire_lease(driver.id)
        assert (await harness.backend.rescue(RescueRequest())).returned == 0
        assert (await self.stored(harness, job.id)).status == "running"

    async def test_a_suspect_is_claimed_alone_and_only_as_suspect(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n}) for n in range(2)])
        await driver.claim()
        await driver.die()
        heir = await Driver(harness).join()
        ordinary = await heir.claim()
        assert (ordinary.jobs, ordinary.suspects) == ((), True)
        suspect = await heir.claim(10, kind=ClaimKind.SUSPECT)
        assert [job.suspect for job in suspect.jobs] == [True]

    async def test_a_suspect_that_keeps_crashing_is_dead_while_its_neighbours_pay_nothing(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme"), new_job("neighbour")])
        jobs = {job.org_id: job for job in (await driver.claim()).jobs}
        await driver.die()
        for _ in range(3):
            heir = await Driver(harness).join()
            assert (await heir.claim_one(kind=ClaimKind.SUSPECT)).org_id == "acme"
            await heir.die()
        heir = await Driver(harness).join()
        await heir.settle(succeed(await heir.claim_one(kind=ClaimKind.SUSPECT)))
        dead, fine = await self.stored(harness, jobs["acme"].id), await self.stored(harness, jobs["neighbour"].id)
        assert (dead.status, dead.reason, dead.crashes) == ("dead", "crashed", 3)
        assert (fine.status, fine.attempts) == ("succeeded", 1)

    async def test_an_executor_that_leaves_gives_its_jobs_back(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await harness.backend.leave(driver.id)
        peek = await self.stored(harness, job.id)
        assert (peek.status, peek.attempts, peek.suspect) == ("ready", 0, False)

    async def test_a_suspect_that_is_held_unrun_stays_suspect(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        await driver.claim()
        await driver.die()
        heir = await Driver(harness).join()
        suspect = await heir.claim_one(kind=ClaimKind.SUSPECT)
        await heir.settle(Settlement(suspect.ref, Action.HOLD, reason="org"))
        peek = await self.stored(harness, suspect.id)
        assert (peek.status, peek.suspect) == ("held", True)

    async def test_jobs_of_a_lost_claim_go_back_and_known_ones_stay(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n}) for n in range(3)])
        known, moved, unknown = (await driver.claim()).jobs
        stale = AttemptRef(moved.id, moved.token - 1)
        assert await harness.backend.give_back_unknown(driver.id, [known.ref, stale]) == 2
        for job in (moved, unknown):
            peek = await self.stored(harness, job.id)
            assert (peek.status, peek.attempts, peek.suspect) == ("ready", 0, False)
            assert await driver.settle(succeed(job)) == frozenset()
        assert await driver.settle(succeed(known)) == {known.ref}
        assert await harness.backend.give_back_unknown(driver.id, []) == 0
        assert await harness.backend.heartbeat(driver.id)
