"""Claims that go wrong, come late or find no lease, and suspects whose turn must come."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from executing import PATIENCE, Backend, Probe, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import Claim, ClaimKind, ClaimRequest, ExecutorRecord, Policy
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor import Mode
from jobs_exec.memory import MemoryBackend
from jobs_exec.testing.driving import new_job

BRISK = Policy(poll_interval=0.01, lease=0.3)


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


class Long:
    """A handler that waits for `let_go`."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.let_go = asyncio.Event()

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.started.append(ctx.attempt)
        await self.let_go.wait()


class Endless(Backend):
    """Every ordinary claim fills every free slot, as under a backlog of millions."""

    async def claim(self, request: ClaimRequest) -> Claim:
        if request.kind is ClaimKind.ORDINARY:
            await self.enqueue([self.another() for _ in range(request.limit)])
        return await super().claim(request)

    another: Any


@pytest.mark.parametrize("slots", [1, 4])
async def test_a_suspect_has_its_turn_under_a_backlog_that_fills_every_slot(slots: int) -> None:
    order: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        order.append(ctx.org_id)
        await asyncio.sleep(0)

    probe = Probe(job_type("work", handler), backend=Endless, queues=f"default:{slots}", org_max_share=1.0)
    count = iter(range(1_000_000))
    probe.backend.another = lambda: new_job("busy", {"n": next(count)})  # type: ignore[attr-defined]
    suspects = [await probe.enqueue(org="suspect", data={"n": n}) for n in range(3)]
    await probe.lost_with_its_executor(*suspects)
    async with probe.at_work():
        await come_true(lambda: order.count("suspect") == 3)
        await come_true(lambda: order[-1] == "busy")
    # In turns: between two suspects the others are served.
    first, second, third = [n for n, org in enumerate(order) if org == "suspect"]
    assert second - first > 1
    assert third - second > 1


async def test_once_waits_for_a_slot_for_the_suspect() -> None:
    probe = Probe(job_type("work", nothing), queues="default:2", org_max_share=1.0)
    suspect = await probe.enqueue(org="suspect")
    await probe.lost_with_its_executor(suspect)
    await probe.enqueue_each(5)
    report = await probe.run(Mode.ONCE)
    assert report.counts.succeeded == 3
    assert await probe.status(suspect) == ("succeeded", None)


async def test_jobs_of_a_lost_claim_run_while_a_long_handler_keeps_the_identity() -> None:
    long = Long()
    probe = Probe(job_type("long", long), job_type("quick", nothing), policy=BRISK)
    kept = await probe.enqueue("long")
    async with probe.at_work():
        await come_true(lambda: bool(long.started))
        probe.backend.lose_next_claim = True
        quick = await probe.enqueue("quick")
        await probe.until(lambda figures: figures.succeeded == 1)
        assert probe.backend.left == []
        long.let_go.set()
        await probe.until(lambda figures: figures.succeeded == 2)
        await come_true(lambda: probe.backend.left == probe.backend.joined[:1])
    assert [(await probe.stored(each)).attempts for each in (kept, quick)] == [1, 1]


async def test_a_claim_that_the_server_carries_out_after_its_connection_broke_is_repaired_too() -> None:
    class Late(Backend):
        fail = False
        late: ClaimRequest | None = None

        async def claim(self, request: ClaimRequest) -> Claim:
            if self.fail:
                self.fail, self.late = False, request
                raise BackendUnavailable("memory", "the connection broke")
            return await super().claim(request)

    long = Long()
    probe = Probe(job_type("long", long), job_type("quick", nothing), backend=Late, policy=BRISK)
    backend = probe.backend
    assert isinstance(backend, Late)
    await probe.enqueue("long")
    async with probe.at_work():
        await come_true(lambda: bool(long.started))
        backend.fail = True
        await come_true(lambda: len(backend.joined) == 2 and "give_back_unknown" in backend.calls)
        await probe.enqueue("quick")
        # In one step with the enqueue: nobody else can have the job.
        assert backend.late is not None
        late = await MemoryBackend.claim(backend, backend.late)
        assert len(late.jobs) == 1
        await probe.until(lambda figures: figures.succeeded == 1)
        assert not long.let_go.is_set()
        long.let_go.set()
    assert probe.progress.lost == 0


async def test_a_failed_claim_takes_nothing_from_a_claim_of_another_queue_that_is_under_way() -> None:
    replying, reply = asyncio.Event(), asyncio.Event()

    class Slow(Backend):
        """The reply about the second queue is on its way while the claim of the first fails."""

        async def claim(self, request: ClaimRequest) -> Claim:
            if request.queue == "first" and replying.is_set() and not reply.is_set() and len(self.joined) == 1:
                raise BackendUnavailable("memory", "statement timeout")
            claim = await super().claim(request)
            if claim.jobs and not replying.is_set():
                replying.set()
                await asyncio.wait_for(reply.wait(), PATIENCE)
            return claim

    attempts: list[UUID] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        attempts.append(ctx.job_id)

    made = (job_type("work", handler, queue="second"), job_type("other", nothing, queue="first"))
    probe = Probe(*made, backend=Slow, policy=BRISK, queues="first:5,second:5")
    job_id = await probe.enqueue()
    async with probe.at_work():
        await asyncio.wait_for(replying.wait(), PATIENCE)
        await come_true(lambda: len(probe.backend.joined) == 2)
        promotions = probe.backend.calls.count("promote")
        await come_true(lambda: probe.backend.calls.count("promote") >= promotions + 2)
        reply.set()
        await probe.until(lambda figures: figures.succeeded == 1)
        await come_true(lambda: probe.backend.left == probe.backend.joined[:1])
    assert attempts == [job_id]
    assert probe.progress.lost == 0


async def test_a_drain_does_not_take_a_lapsed_lease_for_an_empty_queue() -> None:
    class Lapsing(Backend):
        refusals = 0

        async def claim(self, request: ClaimRequest) -> Claim:
            claim = await super().claim(request)
            self.refusals += claim.position == "no_lease"
            return claim

    long = Long()
    probe = Probe(job_type("work", long), backend=Lapsing, queues="default:2", org_max_share=1.0)
    backend = probe.backend
    assert isinstance(backend, Lapsing)
    jobs = await probe.enqueue_each(5)
    running = asyncio.ensure_future(probe.executor(Mode.DRAIN).run())
    await come_true(lambda: len(long.started) == 2)
    (executor,) = probe.backend.joined
    await probe.harness.expire_lease(executor)
    long.let_go.set()
    await come_true(lambda: backend.refusals >= 3)
    assert not running.done()
    assert await probe.backend.heartbeat(executor)
    report = await asyncio.wait_for(running, PATIENCE)
    assert (report.exit_code, report.counts.succeeded) == (0, len(jobs))


async def test_an_identity_leaves_when_the_next_has_joined_so_that_no_job_is_held_for_its_type() -> None:
    class Stubborn(Backend):
        """Joins are refused for a while, everything else works."""

        refusals = 3

        async def join(self, executor: ExecutorRecord) -> None:
            if self.joined and self.refusals:
                self.refusals -= 1
                raise BackendUnavailable("memory", "no more connections")
            await super().join(executor)

        async def leave(self, executor: UUID) -> None:
            present.append(len(self.tables.executors))
            await super().leave(executor)

    present: list[int] = []
    probe = Probe(job_type("work", nothing), backend=Stubborn, policy=BRISK)
    job_id = await probe.enqueue()
    probe.backend.lose_next_claim = True
    async with probe.at_work():
        await probe.until(lambda figures: figures.succeeded == 1)
        await come_true(lambda: probe.backend.left == probe.backend.joined[:1])
    assert present == [2, 1]
    assert (await probe.stored(job_id)).attempts == 1
