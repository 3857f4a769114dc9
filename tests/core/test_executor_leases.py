"""Leases, outages and suspects: what happens to jobs when the executor or the backend is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from executing import PATIENCE, Backend, Probe, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import (
    ClaimKind,
    ClaimRequest,
    ExecutorChanged,
    ExecutorRecord,
    JobLost,
    Policy,
    Settled,
    TypeRecord,
)
from jobs_exec.executor import Mode
from jobs_exec.identity import Identity
from jobs_exec.job import Action, Settlement

BRISK = Policy(poll_interval=0.01, lease=0.3)


class Held:
    """A handler that notes who started it, and waits for `let_go`."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.cancelled = 0
        self.let_go = asyncio.Event()

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.running.append(ctx.org_id)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running.remove(ctx.org_id)


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


async def test_a_long_job_keeps_its_lease_as_long_as_heartbeats_are_answered() -> None:
    held = Held()
    probe = Probe(job_type("work", held), policy=BRISK)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        beats = probe.backend.calls.count("heartbeat")
        await come_true(lambda: probe.backend.calls.count("heartbeat") >= beats + 4)
        held.let_go.set()
        await probe.until(lambda figures: figures.succeeded == 1)
    assert held.cancelled == 0
    assert await probe.status(job_id) == ("succeeded", None)


async def test_handlers_are_cancelled_before_the_lease_can_end_and_their_jobs_given_back() -> None:
    held = Held()
    probe = Probe(job_type("work", held), policy=BRISK)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        (executor,) = probe.harness.tables.executors.values()
        probe.backend.connected = False
        await come_true(lambda: held.cancelled == 1)
        assert executor.live
        held.let_go.set()
        probe.backend.connected = True
        await probe.until(lambda figures: figures.succeeded == 1)
    first = next(each for each in probe.backend.settlements if each.ref.job_id == job_id)
    assert first.action is Action.GIVE_BACK
    assert (await probe.stored(job_id)).attempts == 1


async def test_after_an_outage_jobs_are_given_back_before_the_lease_is_renewed() -> None:
    class Ordered(Backend):
        """Notes what is done about the first identity; the next one may join and renew whenever it likes."""

        async def heartbeat(self, executor: UUID) -> bool:
            if self.connected and executor == self.joined[0]:
                order.append("heartbeat")
            return await super().heartbeat(executor)

        async def settle(self, batch: Sequence[Settlement]) -> Settled:
            order.extend(["settle"] if self.connected else [])
            return await super().settle(batch)

    order: list[str] = []
    held = Held()
    probe = Probe(job_type("work", held), policy=BRISK, backend=Ordered)
    await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        probe.backend.connected = False
        await come_true(lambda: held.cancelled == 1)
        order.clear()
        held.let_go.set()
        probe.backend.connected = True
        await probe.until(lambda figures: figures.returned == 1)
    assert order[0] == "settle"


async def test_a_reaped_executor_drops_its_results_and_joins_again() -> None:
    held = Held()
    probe = Probe(job_type("work", held), policy=BRISK)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        (first,) = probe.backend.joined
        await probe.reaped(first)
        held.let_go.set()
        await probe.until(lambda figures: figures.lost == 1 and figures.succeeded == 1)
    stored = await probe.stored(job_id)
    assert (stored.status, stored.attempts) == ("succeeded", 1)
    assert len(probe.backend.joined) == 2
    assert [event.ref.job_id for event in probe.events if isinstance(event, JobLost)] == [job_id]
    assert "lost" in [event.state for event in probe.events if isinstance(event, ExecutorChanged)]


async def test_handlers_of_a_reaped_executor_are_cancelled() -> None:
    held = Held()
    probe = Probe(job_type("work", held), policy=BRISK)
    await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        await probe.reaped(probe.backend.joined[0])
        await come_true(lambda: held.cancelled == 1)
        held.let_go.set()
        await probe.until(lambda figures: figures.succeeded == 1)


async def test_an_attempt_that_somebody_else_has_by_now_writes_nothing() -> None:
    held = Held()
    probe = Probe(job_type("work", held))
    job_id = await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        row = probe.harness.tables.queue[job_id]
        row.token += 1
        held.let_go.set()
        await probe.until(lambda figures: figures.lost == 1)
        assert (await probe.stored(job_id)).status == "running"


async def test_jobs_of_a_claim_whose_reply_was_lost_are_given_back_and_run() -> None:
    probe = Probe(job_type("work", nothing))
    jobs = await probe.enqueue_each(3)
    probe.backend.lose_next_claim = True
    async with probe.at_work():
        await probe.until(lambda figures: figures.succeeded == 3)
    assert len(probe.backend.joined) == 2
    assert probe.backend.left[0] == probe.backend.joined[0]
    assert [(await probe.stored(job_id)).attempts for job_id in jobs] == [1, 1, 1]


async def test_a_claim_whose_reply_was_lost_with_the_connection_makes_no_suspects() -> None:
    probe = Probe(job_type("work", nothing))
    job_id = await probe.enqueue()
    probe.backend.lose_next_claim = probe.backend.cut_by_loss = True
    async with probe.at_work():
        # Joining, leaving and promoting have all been tried in vain by then.
        await come_true(lambda: probe.backend.refused >= 6)
        probe.backend.connected = True
        await probe.until(lambda figures: figures.succeeded == 1)
    stored = await probe.stored(job_id)
    assert (stored.attempts, stored.suspect) == (1, False)


async def test_an_identity_that_retires_keeps_its_running_jobs() -> None:
    held = Held()
    probe = Probe(job_type("work", held), job_type("quick", nothing), policy=BRISK)
    long = await probe.enqueue("work")
    async with probe.at_work():
        await come_true(lambda: bool(held.running))
        probe.backend.lose_next_claim = True
        await probe.enqueue("quick", "bravo")
        await come_true(lambda: len(probe.backend.joined) == 2)
        assert probe.backend.left == []
        held.let_go.set()
        await probe.until(lambda figures: figures.succeeded == 2)
    assert held.cancelled == 0
    assert (await probe.stored(long)).attempts == 1


async def test_an_outage_is_waited_out() -> None:
    probe = Probe(job_type("work", nothing))
    async with probe.at_work():
        await come_true(lambda: "claim" in probe.backend.calls)
        probe.backend.connected = False
        job_id = await probe.enqueue()
        await asyncio.sleep(0)
        probe.backend.connected = True
        await probe.until(lambda figures: figures.succeeded == 1)
    assert (await probe.stored(job_id)).status == "succeeded"


async def test_nothing_is_started_beside_a_suspect_and_suspects_run_one_at_a_time() -> None:
    beside: list[str] = []
    suspect: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        beside.extend(suspect)
        if data.get("suspect"):
            suspect.append(str(ctx.job_id))
        for _ in range(5):
            await asyncio.sleep(0)
        if data.get("suspect"):
            suspect.clear()

    probe = Probe(
        job_type("work", handler), job_type("report", handler, queue="reports"), queues="default:10,reports:10"
    )
    suspects = [await probe.enqueue(data={"suspect": True, "n": n}) for n in range(3)]
    await probe.lost_with_its_executor(*suspects)
    await probe.enqueue_each(30)
    await probe.enqueue_each(30, type="report")
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 63
    assert beside == []
    assert sum(request.kind is ClaimKind.SUSPECT for request in probe.backend.claims) >= 3
    assert all(request.limit == 1 for request in probe.backend.claims if request.kind is ClaimKind.SUSPECT)


async def test_a_suspect_keeps_every_queue_from_claiming_until_it_is_settled() -> None:
    held = Held()
    probe = Probe(job_type("work", held), job_type("report", nothing, queue="reports"), queues="default:10,reports:10")
    suspect = await probe.enqueue(org="suspect")
    await probe.lost_with_its_executor(suspect)
    async with probe.at_work():
        await come_true(lambda: held.running == ["suspect"])
        claims = len(probe.backend.claims)
        waiting = await probe.enqueue("report")
        promotions = probe.backend.calls.count("promote")
        await come_true(lambda: probe.backend.calls.count("promote") >= promotions + 3)
        assert len(probe.backend.claims) == claims
        assert (await probe.stored(waiting)).status == "ready"
        held.let_go.set()
        await probe.until(lambda figures: figures.succeeded == 2)


async def test_a_suspect_of_a_foreign_type_keeps_no_drain_from_ending() -> None:
    probe = Probe(job_type("work", nothing))
    record = TypeRecord("elsewhere", "default", Identity.PAYLOAD)
    await probe.backend.join(ExecutorRecord(uuid4(), "other", 60.0, ("default",), (record,)))
    foreign, mine = await probe.enqueue("elsewhere"), await probe.enqueue("work")
    await probe.lost_with_its_executor(foreign)
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert await probe.status(mine) == ("succeeded", None)
    assert (await probe.stored(foreign)).status == "ready"


async def test_rescue_brings_back_the_jobs_of_an_executor_that_is_gone() -> None:
    probe = Probe(job_type("work", nothing), policy=BRISK)
    job_id = await probe.enqueue()
    claimed = await _claimed_and_gone(probe)
    async with probe.at_work():
        await asyncio.wait_for(probe.until(lambda figures: figures.succeeded == 1), PATIENCE)
    assert claimed == job_id
    assert (await probe.stored(job_id)).suspect


async def _claimed_and_gone(probe: Probe) -> Any:
    """An executor that claims and is never heard of again."""
    gone = uuid4()
    await probe.backend.join(ExecutorRecord(gone, "gone", BRISK.lease, ("default",), ()))
    claim = await probe.backend.claim(ClaimRequest(gone, "default", frozenset({"work"}), 10))
    return claim.jobs[0].id
