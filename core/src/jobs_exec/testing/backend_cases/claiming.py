"""Which jobs a claim hands out, in which order, and which it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobs_exec.contracts import Capability, Position
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job
from jobs_exec.testing.harness import BackendHarness


class ClaimCases(BackendCases):
    """See the module."""

    async def test_a_claim_counts_the_attempt_and_takes_a_token(self, harness: BackendHarness, driver: Driver) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", {"a": 1})])
        job = await driver.claim_one()
        peek = await self.stored(harness, receipt.id)
        assert (job.id, job.org_id, job.attempt, job.payload) == (receipt.id, "acme", 1, '{"a":1}')
        assert (peek.status, peek.attempts, peek.token) == ("running", 1, job.token)

    async def test_no_job_is_claimed_twice(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n}) for n in range(10)])
        rival = await Driver(harness).join()
        claims = [await who.claim(3) for who in (driver, rival, driver, rival, driver)]
        ids = [job.id for claim in claims for job in claim.jobs]
        assert len(ids) == len(set(ids)) == 10

    async def test_the_first_of_every_org_comes_before_the_second_of_any(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.ORG_FAIRNESS)
        await harness.backend.enqueue([new_job("noisy", {"n": n}) for n in range(50)])
        await harness.backend.enqueue([new_job(f"quiet-{n}") for n in range(5)])
        claim = await driver.claim(6)
        assert {job.org_id for job in claim.jobs} == {"noisy", *(f"quiet-{n}" for n in range(5))}

    async def test_the_ring_goes_on_behind_the_last_org_served(self, harness: BackendHarness, driver: Driver) -> None:
        self.needs(harness, Capability.ORG_FAIRNESS)
        orgs = [f"org-{n:02}" for n in range(10)]
        await harness.backend.enqueue([new_job(org, {"n": n}) for org in orgs for n in range(20)])
        served, cursor = [], ""
        for _ in range(5):
            claim = await driver.claim(2, cursor=cursor)
            cursor = claim.cursor
            served += [job.org_id for job in claim.jobs]
        assert sorted(served) == orgs

    async def test_priority_orders_the_jobs_of_one_org(self, harness: BackendHarness, driver: Driver) -> None:
        self.needs(harness, Capability.PRIORITY)
        jobs = [new_job("acme", {"n": n}, priority=n) for n in (5, 0, 9)]
        await harness.backend.enqueue(jobs)
        claim = await driver.claim()
        assert [job.priority for job in claim.jobs] == [0, 5, 9]

    async def test_an_org_gets_no_more_than_its_share(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("noisy", {"n": n}) for n in range(10)])
        claim = await driver.claim(10, org_slots=5, org_running={"noisy": 2})
        assert len(claim.jobs) == 3
        assert claim.position is Position.WALKED

    async def test_a_claim_is_bounded_in_bytes_but_never_empty(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme", {"n": n, "text": "x" * 500}) for n in range(4)])
        assert len((await driver.claim(max_bytes=1100)).jobs) == 2
        assert len((await driver.claim(max_bytes=10)).jobs) == 1

    async def test_an_empty_queue_says_so(self, driver: Driver) -> None:
        assert (await driver.claim()).position is Position.EMPTY

    async def test_types_of_others_are_walked_past_and_named(self, harness: BackendHarness, driver: Driver) -> None:
        (receipt,) = await harness.backend.enqueue([new_job("acme", type="foreign")])
        claim = await driver.claim()
        assert not claim.jobs
        assert (set(claim.foreign), claim.position) == ({"foreign"}, Position.WALKED)
        assert (await self.stored(harness, receipt.id)).attempts == 0

    async def test_without_a_live_lease_nothing_is_claimed(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        await harness.expire_lease(driver.id)
        refused = await driver.claim()
        assert (refused.jobs, refused.position) == ((), Position.NO_LEASE)
        assert await harness.backend.heartbeat(driver.id)
        assert len((await driver.claim()).jobs) == 1

    async def test_a_job_past_its_expiry_ends_without_running(self, harness: BackendHarness, driver: Driver) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        (receipt,) = await harness.backend.enqueue([new_job("acme", expires_at=soon)])
        await harness.advance(120)
        claim = await driver.claim()
        assert (claim.jobs, [ended.status for ended in claim.ended]) == ((), ["expired"])
        assert (await self.stored(harness, receipt.id)).status == "expired"
