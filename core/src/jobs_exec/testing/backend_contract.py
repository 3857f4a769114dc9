"""The suite every queue backend passes: subclass `QueueBackendContract` and give it a fixture `harness`.

Tests are selected by the backend's declared capabilities; one that does not apply is a visible skip. Nothing here
waits for real time, and what matters is checked with `BackendHarness.peek`, past the backend under test.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobs_exec.contracts import (
    CancelOutcome,
    Capability,
    Claim,
    ClaimKind,
    ClaimRequest,
    ExecutorRecord,
    JobFilter,
    Policy,
    Position,
    PromoteRequest,
    RedriveOutcome,
    RescueRequest,
    TypeRecord,
)
from jobs_exec.envelope import Envelope
from jobs_exec.errors import JobNotFound
from jobs_exec.identity import Identity
from jobs_exec.job import Action, AttemptRef, ClaimedJob, NewJob, Settlement
from jobs_exec.preparing import prepare
from jobs_exec.testing.harness import BackendHarness, Peek

WORK = TypeRecord("work", "default", Identity.PAYLOAD)
EACH = TypeRecord("each", "default", Identity.NONE)
KNOWN = {record.name: record for record in (WORK, EACH)}
LEASE = 15.0


def new_job(org: str, data: dict[str, Any] | None = None, type: str = "work", **options: Any) -> NewJob:
    """A job as the client would have prepared it."""
    return prepare(Envelope(org, type, data or {}, **options), {}, KNOWN, Policy(), allow_unregistered=True)


def succeed(job: ClaimedJob, *, ttl: float | None = 3600.0, result: str | None = None) -> Settlement:
    """A success that suppresses repetition for `ttl` seconds."""
    return Settlement(job.ref, Action.SUCCEED, result=result, key_ttl=ttl)


class Driver:
    """An executor stepped by hand."""

    def __init__(self, harness: BackendHarness, types: tuple[TypeRecord, ...] = (WORK, EACH)) -> None:
        self.harness = harness
        self.backend = harness.backend
        self.types = types
        self.id = uuid4()

    async def join(self) -> Driver:
        await self.backend.join(ExecutorRecord(self.id, "probe", LEASE, ("default",), self.types))
        return self

    async def claim(self, limit: int = 100, **options: Any) -> Claim:
        types = frozenset(record.name for record in self.types)
        return await self.backend.claim(ClaimRequest(self.id, "default", types, limit, **options))

    async def claim_one(self, **options: Any) -> ClaimedJob:
        (job,) = (await self.claim(1, **options)).jobs
        return job

    async def settle(self, *settlements: Settlement) -> frozenset[AttemptRef]:
        return (await self.backend.settle(settlements)).accepted

    async def die(self) -> None:
        """Goes silent until somebody has taken its jobs back."""
        for _ in range(2):
            await self.harness.expire_lease(self.id)
            await self.backend.rescue(RescueRequest())


class QueueBackendContract:
    """See the module."""

    @pytest.fixture
    async def driver(self, harness: BackendHarness) -> Driver:
        if Capability.CLAIM not in harness.backend.capabilities:
            pytest.skip(f"the {harness.backend.name} backend does not claim")
        return await Driver(harness).join()

    async def stored(self, harness: BackendHarness, job_id: UUID) -> Peek:
        peek = await harness.peek(job_id)
        assert peek is not None, "the job is neither queued nor recorded"
        return peek

    # --- identity at enqueue ---------------------------------------------------------------------------

    async def test_a_new_job_is_stored_ready_under_its_own_id_and_org(self, harness: BackendHarness) -> None:
        job = new_job("acme", {"a": 1})
        (receipt,) = await harness.backend.enqueue([job])
        peek = await self.stored(harness, receipt.id)
        assert (receipt.id, receipt.duplicate) == (job.id, False)
        assert (peek.org_id, peek.status, peek.attempts, peek.payload) == ("acme", "ready", 0, '{"a":1}')

    async def test_receipts_come_in_input_order_and_repeats_point_at_the_first(self, harness: BackendHarness) -> None:
        first, other, again = new_job("acme", {"a": 1}), new_job("acme", {"a": 2}), new_job("acme", {"a": 1})
        receipts = await harness.backend.enqueue([first, other, again])
        assert [receipt.id for receipt in receipts] == [first.id, other.id, first.id]
        assert [receipt.duplicate for receipt in receipts] == [False, False, True]
        assert await harness.peek(again.id) is None

    async def test_one_org_never_suppresses_the_same_work_of_another(self, harness: BackendHarness) -> None:
        receipts = await harness.backend.enqueue([new_job("acme", {"a": 1}), new_job("emca", {"a": 1})])
        assert not any(receipt.duplicate for receipt in receipts)

    async def test_a_running_job_still_suppresses_its_repetition(self, harness: BackendHarness, driver: Driver) -> None:
        (first,) = await harness.backend.enqueue([new_job("acme")])
        await driver.claim_one()
        (again,) = await harness.backend.enqueue([new_job("acme")])
        assert (again.id, again.of, again.of_state) == (first.id, first.id, "running")

    async def test_without_identity_nothing_is_suppressed(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme", type="each")])
        await driver.settle(succeed(await driver.claim_one(), ttl=None))
        (again,) = await harness.backend.enqueue([new_job("acme", type="each")])
        assert not again.duplicate

    async def test_a_success_suppresses_until_its_key_expires(self, harness: BackendHarness, driver: Driver) -> None:
        (first,) = await harness.backend.enqueue([new_job("acme")])
        await driver.settle(succeed(await driver.claim_one(), ttl=60))
        await harness.advance(59)
        (again,) = await harness.backend.enqueue([new_job("acme")])
        assert (again.id, again.of_state) == (first.id, "succeeded")
        await harness.advance(2)
        (later,) = await harness.backend.enqueue([new_job("acme")])
        assert not later.duplicate

    async def test_a_dead_run_suppresses_nothing(self, harness: BackendHarness, driver: Driver) -> None:
        await harness.backend.enqueue([new_job("acme")])
        await driver.settle(Settlement((await driver.claim_one()).ref, Action.DEAD, reason="failed"))
        (again,) = await harness.backend.enqueue([new_job("acme")])
        assert not again.duplicate

    async def test_one_key_with_two_payloads_is_a_conflict(self, harness: BackendHarness) -> None:
        await harness.backend.enqueue([new_job("acme", {"a": 1}, key="k")])
        same, other = await harness.backend.enqueue(
            [new_job("acme", {"a": 1}, key="k"), new_job("acme", {"a": 2}, key="k")]
        )
        assert (same.duplicate, same.conflict) == (True, False)
        assert (other.duplicate, other.conflict) == (True, True)

    async def test_an_earlier_time_moves_an_unattempted_job_forward(self, harness: BackendHarness) -> None:
        self.needs(harness, Capability.DELAY)
        late, soon = datetime.now(UTC) + timedelta(hours=2), datetime.now(UTC) + timedelta(hours=1)
        await harness.backend.enqueue([new_job("acme", run_at=late)])
        (earlier,) = await harness.backend.enqueue([new_job("acme", run_at=soon)])
        (later,) = await harness.backend.enqueue([new_job("acme", run_at=late)])
        assert (earlier.advanced, later.advanced) == (True, False)

    # --- claim -----------------------------------------------------------------------------------------

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
        assert (await driver.claim()).jobs == ()
        assert await harness.backend.heartbeat(driver.id)
        assert len((await driver.claim()).jobs) == 1

    async def test_a_job_past_its_expiry_ends_without_running(self, harness: BackendHarness, driver: Driver) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        (receipt,) = await harness.backend.enqueue([new_job("acme", expires_at=soon)])
        await harness.advance(120)
        claim = await driver.claim()
        assert (claim.jobs, [ended.status for ended in claim.ended]) == ((), ["expired"])
        assert (await self.stored(harness, receipt.id)).status == "expired"

    # --- settle ----------------------------------------------------------------------------------------

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

    # --- leases ----------------------------------------------------------------------------------------

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

    # --- promotion and held jobs -----------------------------------------------------------------------

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
        owner = await Driver(harness, (TypeRecord("foreign", "default", Identity.PAYLOAD),)).join()
        await harness.backend.promote(PromoteRequest(("default",)))
        assert (await owner.claim_one()).id == receipt.id

    # --- people ----------------------------------------------------------------------------------------

    async def test_a_queued_job_is_cancelled_and_a_running_one_is_not(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.INSPECT)
        await harness.backend.enqueue([new_job("acme")])
        running = await driver.claim_one()
        (queued,) = await harness.backend.enqueue([new_job("acme", {"a": 2})])
        outcomes = await harness.backend.operator.cancel([queued.id, running.id, queued.id, uuid4()])
        expected = [
            CancelOutcome.CANCELLED,
            CancelOutcome.RUNNING,
            CancelOutcome.ALREADY_ENDED,
            CancelOutcome.NOT_FOUND,
        ]
        assert outcomes == expected
        assert (await self.stored(harness, queued.id)).status == "cancelled"

    async def test_a_redriven_job_starts_afresh_under_its_id_with_its_history(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.DEAD_LETTERS)
        await harness.backend.enqueue([new_job("acme", {"a": 1})])
        job = await driver.claim_one()
        await driver.settle(Settlement(job.ref, Action.DEAD, error="boom", reason="failed"))
        assert await harness.backend.operator.redrive([job.id]) == [RedriveOutcome.REDRIVEN]
        again = await driver.claim_one()
        peek = await self.stored(harness, job.id)
        assert (again.id, again.attempt, again.payload) == (job.id, 1, '{"a":1}')
        assert again.token > job.token
        assert peek.errors[0]["error"] == "boom"

    async def test_redrive_answers_for_every_id(self, harness: BackendHarness, driver: Driver) -> None:
        self.needs(harness, Capability.DEAD_LETTERS)
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.settle(Settlement(job.ref, Action.DEAD, reason="failed"))
        await harness.backend.enqueue([new_job("acme")])
        outcomes = await harness.backend.operator.redrive([job.id, uuid4()])
        assert outcomes == [RedriveOutcome.ALREADY_LIVE, RedriveOutcome.NOT_FOUND]

    async def test_listing_filters_by_org_and_shows_no_payload(self, harness: BackendHarness) -> None:
        self.needs(harness, Capability.INSPECT)
        await harness.backend.enqueue([new_job("acme", {"a": 1}), new_job("emca", {"a": 1})])
        (view,) = await harness.backend.operator.jobs(JobFilter(org_id="acme"))
        assert (view.org_id, view.status, view.payload) == ("acme", "ready", None)
        assert (await harness.backend.operator.job(view.id)).payload == '{"a":1}'
        with pytest.raises(JobNotFound):
            await harness.backend.operator.job(uuid4())

    async def test_runs_are_purged_but_never_while_a_key_points_at_them(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        await harness.backend.enqueue([new_job("acme"), new_job("emca")])
        for job in (await driver.claim()).jobs:
            await driver.settle(succeed(job, ttl=None if job.org_id == "acme" else 40 * 86_400.0))
        await harness.advance(31 * 86_400)
        await harness.backend.purge()
        statuses = {view.org_id for view in await harness.backend.operator.jobs(JobFilter())}
        assert statuses == {"emca"}

    async def test_a_waiting_executor_is_woken_by_an_enqueue(self, harness: BackendHarness) -> None:
        self.needs(harness, Capability.WAKE_UP)
        woken, _ = await asyncio.gather(
            harness.backend.wait(["default"], 30), harness.backend.enqueue([new_job("acme")])
        )
        assert woken is True

    async def test_without_a_hint_a_wait_ends_at_its_timeout(self, harness: BackendHarness) -> None:
        # A listener that has just connected may hint once of its own accord: what came before it was not heard.
        waits = [await harness.backend.wait(["default"], 0.01) for _ in range(10)]
        assert waits[-1] is False
        assert waits.count(True) <= 1

    def needs(self, harness: BackendHarness, capability: Capability) -> None:
        """Skips, visibly, what the backend does not declare."""
        if capability not in harness.backend.capabilities:
            pytest.skip(f"the {harness.backend.name} backend has no capability {capability}")
