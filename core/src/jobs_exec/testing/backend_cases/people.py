"""What people ask for: cancel, redrive, listings, retention, and waking up."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from jobs_exec.contracts import CancelOutcome, Capability, JobFilter, RedriveOutcome
from jobs_exec.errors import JobNotFound
from jobs_exec.job import Action, Settlement
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.driving import Driver, new_job, succeed
from jobs_exec.testing.harness import BackendHarness


class OperatorCases(BackendCases):
    """See the module."""

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
