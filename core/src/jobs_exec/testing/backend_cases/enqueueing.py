"""What enqueueing answers: receipts, identity, transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs_exec.contracts import Capability, PromoteRequest
from jobs_exec.job import Action, NewJob, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness


class EnqueueCases(BackendCases):
    """See the module."""

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

    async def test_a_repeat_without_a_time_means_now(self, harness: BackendHarness, driver: Driver) -> None:
        self.needs(harness, Capability.DELAY)
        (first,) = await harness.backend.enqueue([new_job("acme", delay=3600.0)])
        (again,) = await harness.backend.enqueue([new_job("acme")])
        assert (again.id, again.advanced) == (first.id, True)
        await harness.backend.promote(PromoteRequest(("default",)))
        assert (await driver.claim_one()).id == first.id

    async def test_a_retry_keeps_its_backoff_whoever_enqueues_again(
        self, harness: BackendHarness, driver: Driver
    ) -> None:
        self.needs(harness, Capability.DELAY)
        await harness.backend.enqueue([new_job("acme")])
        job = await driver.claim_one()
        await driver.settle(Settlement(job.ref, Action.RETRY, reason="failed", delay=3600))
        (again,) = await harness.backend.enqueue([new_job("acme")])
        assert (again.id, again.of_state, again.advanced) == (job.id, "scheduled", False)

    async def test_what_is_enqueued_in_a_transaction_shares_its_fate(self, harness: BackendHarness) -> None:
        self.needs(harness, Capability.TRANSACTIONAL_ENQUEUE)
        kept, dropped = new_job("acme", {"a": 1}), new_job("acme", {"a": 2})
        async with harness.backend.transaction() as connection:
            await harness.backend.enqueue([kept], connection)
            assert await harness.peek(kept.id) is None
        with pytest.raises(ZeroDivisionError):
            await self._enqueue_and_fail(harness, dropped)
        assert (await self.stored(harness, kept.id)).status == "ready"
        assert await harness.peek(dropped.id) is None

    async def _enqueue_and_fail(self, harness: BackendHarness, job: NewJob) -> None:
        async with harness.backend.transaction() as connection:
            await harness.backend.enqueue([job], connection)
            raise ZeroDivisionError
