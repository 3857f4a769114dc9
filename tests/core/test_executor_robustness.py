"""What must not break an executor: odd values, late handlers, a busy loop, a cancel from outside."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from executing import PATIENCE, Probe, Transactional, come_true

from jobs_exec import Cancel, JobContext, job_type
from jobs_exec.contracts import ExecutorRecord, Policy, TypeRecord
from jobs_exec.errors import AttemptLost
from jobs_exec.executor import Executor, Mode, Progress, State
from jobs_exec.identity import Identity
from jobs_exec.memory import MemoryStore, Tables

SLOW_POLLS = Policy(poll_interval=3600.0)


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


class Evil(dict[str, Any]):
    """A result that raises when it is looked at."""

    def items(self) -> Any:
        raise SystemExit(3)

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("value", [Evil(a=1), Cancel(Evil()), {"success": False, "error": Evil(a=1)}])  # type: ignore[arg-type]
async def test_a_value_that_raises_when_it_is_looked_at_fails_its_own_job(value: object) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> Any:
        return value if data["n"] == 0 else None

    probe = Probe(job_type("work", handler, max_attempts=1))
    bad, good = await probe.enqueue_each(2)
    report = await probe.run(Mode.DRAIN)
    assert (report.exit_code, report.counts.running) == (0, 0)
    assert (await probe.stored(bad)).status == "dead"
    assert (await probe.stored(good)).status == "succeeded"


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("how", ["group", "gather", "awaited"])
async def test_a_task_that_a_handler_starts_cannot_end_the_executor(raised: type[BaseException], how: str) -> None:
    async def leave() -> None:
        await asyncio.sleep(0)
        raise raised

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        if how == "group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(leave())
        elif how == "gather":
            await asyncio.gather(leave(), asyncio.sleep(0))
        else:
            await asyncio.create_task(leave())

    probe = Probe(job_type("bad", handler, max_attempts=1), job_type("work", nothing))
    bad, good = await probe.enqueue("bad"), await probe.enqueue("work")
    report = await probe.run(Mode.DRAIN)
    assert (report.exit_code, report.counts.succeeded) == (0, 1)
    assert await probe.status(bad) == ("dead", "failed")
    assert await probe.status(good) == ("succeeded", None)


async def test_tasks_of_handlers_work_as_ever_and_the_loop_is_left_as_it_was() -> None:
    async def twice(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def handler(ctx: JobContext, data: dict[str, Any]) -> list[int]:
        never = asyncio.create_task(twice(0), name="never")
        never.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never
        assert never.get_name() == "never"
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*[twice(n) for n in range(3)])

    before = asyncio.get_running_loop().get_task_factory()
    probe = Probe(job_type("work", handler, max_attempts=1))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (await probe.stored(job_id)).result == "[0,2,4]"
    assert asyncio.get_running_loop().get_task_factory() is before


async def test_progress_that_cannot_be_shown_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(progress: Progress) -> None:
        raise OSError("terminal gone")

    probe = Probe(job_type("work", nothing))
    await probe.enqueue()
    report = await asyncio.wait_for(Executor(probe.host, mode=Mode.DRAIN, on_progress=broken).run(), PATIENCE)
    assert report.counts.succeeded == 1
    assert "showing the progress failed" in caplog.text


async def test_a_handler_that_was_given_up_can_add_no_jobs_and_open_no_transaction() -> None:
    let_go, done = asyncio.Event(), asyncio.Event()
    refused: list[str] = []

    async def late(ctx: JobContext, data: dict[str, Any]) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        with pytest.raises(AttemptLost):
            await ctx.enqueue(type="work")
        refused.append("enqueue")
        with pytest.raises(AttemptLost):
            ctx.transaction()
        refused.append("transaction")
        done.set()

    policy = Policy(poll_interval=0.01, lease=0.5)
    probe = Probe(job_type("work", late, timeout=0.01, max_attempts=1), backend=Transactional, policy=policy)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.dead == 1)
        let_go.set()
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert refused == ["enqueue", "transaction"]
    assert await probe.status(job_id) == ("dead", "timeout")
    assert probe.harness.tables.queue == {}


async def test_an_executor_runs_once() -> None:
    probe = Probe(job_type("work", nothing))
    executor = probe.executor(Mode.DRAIN)
    await executor.run()
    with pytest.raises(RuntimeError, match="runs once"):
        await executor.run()


async def test_an_executor_that_is_cancelled_from_outside_gives_its_jobs_back() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    probe = Probe(job_type("work", handler))
    job_id = await probe.enqueue()
    running = asyncio.ensure_future(probe.executor().run())
    await asyncio.wait_for(started.wait(), PATIENCE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    stored = await probe.stored(job_id)
    assert (stored.status, stored.attempts, stored.suspect) == ("ready", 0, False)


async def test_a_hint_is_worth_a_claim_at_once() -> None:
    probe = Probe(job_type("work", nothing), policy=SLOW_POLLS)
    async with probe.at_work():
        # Idle: the next poll of its own would be an hour away.
        await come_true(lambda: len(probe.backend.claims) >= 1)
        await asyncio.sleep(0)
        await probe.enqueue()
        await probe.until(lambda figures: figures.succeeded == 1)


async def test_what_a_handler_adds_is_claimed_at_once() -> None:
    class Deaf(Transactional):
        async def wake(self, queues: Any) -> None:
            """Hints are lost."""

    async def parent(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction():
            await ctx.enqueue(type="child")

    made = (job_type("parent", parent), job_type("child", nothing))
    probe = Probe(*made, backend=Deaf, policy=SLOW_POLLS)
    await probe.enqueue("parent")
    async with probe.at_work():
        await probe.until(lambda figures: figures.succeeded == 2)


async def test_a_walk_that_finds_nothing_does_not_spin() -> None:
    probe = Probe(job_type("work", nothing))
    record = TypeRecord("elsewhere", "default", Identity.PAYLOAD)
    await probe.backend.join(ExecutorRecord(uuid4(), "other", 60.0, ("default",), (record,)))
    await probe.enqueue("elsewhere")
    async with probe.at_work():
        await come_true(lambda: probe.backend.calls.count("promote") >= 10)
        claims, promotions = len(probe.backend.claims), probe.backend.calls.count("promote")
    assert claims < 4 * promotions


async def test_an_idle_executor_asks_ever_less_often() -> None:
    probe = Probe(job_type("work", nothing), policy=Policy(poll_interval=0.2, lease=0.3))
    async with probe.at_work():
        await come_true(lambda: probe.backend.calls.count("heartbeat") >= 6)
        claims = len(probe.backend.claims)
    # Half a second: 10, 20, 40, 80, 160, 200 ms and the jitter, where 10 ms polls would make 50.
    assert claims <= 12


async def test_a_claim_waits_for_a_useful_part_of_a_batch() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        for _ in range(data["n"] % 3):
            await asyncio.sleep(0)

    probe = Probe(job_type("work", handler), queues="default:20", claim_size=20, org_max_share=1)
    await probe.enqueue_each(200)
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 200
    fruitful = [request.limit for request in probe.backend.claims[:20]]
    assert min(fruitful) >= 10


async def test_an_attempt_that_commits_its_own_transaction_is_recorded_in_a_foreign_store_afterwards() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")

    store = MemoryStore(Tables())
    probe = Probe(job_type("work", handler), backend=Transactional, store=store)
    await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert (len(store.tables.keys), store.tables.reservations) == (1, {})


async def test_an_org_at_its_share_goes_on_as_soon_as_one_of_its_jobs_ends() -> None:
    let_go, started = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        started.set()
        await let_go.wait()

    probe = Probe(job_type("work", handler), policy=SLOW_POLLS, queues="default:4", org_max_share=0.25)
    await probe.enqueue_each(3)
    async with probe.at_work():
        await asyncio.wait_for(started.wait(), PATIENCE)
        # Until the claimer rests: its own next poll would be an hour away.
        await come_true(lambda: len(probe.backend.claims) >= 8)
        let_go.set()
        await probe.until(lambda figures: figures.succeeded == 3)


async def test_the_first_reason_to_stop_an_attempt_stands() -> None:
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()

    probe = Probe(job_type("work", handler, timeout=0.01, max_attempts=1), shutdown_grace=0)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(cleaning.wait(), PATIENCE)
    executor.drain()
    await come_true(lambda: executor.state is State.DRAINING)
    for _ in range(10):
        await asyncio.sleep(0)
    cleaned.set()
    await asyncio.wait_for(running, PATIENCE)
    assert await probe.status(job_id) == ("dead", "timeout")


async def test_a_transaction_that_commits_during_the_shutdown_is_not_cut_off() -> None:
    committing, commit = asyncio.Event(), asyncio.Event()

    class SlowCommit(Transactional):
        def begin_attempt(self, job: Any) -> Any:
            attempt = super().begin_attempt(job)
            end = attempt.commit

            async def slow(settlement: Any) -> bool:
                committing.set()
                await commit.wait()
                return await end(settlement)

            attempt.commit = slow  # type: ignore[method-assign]
            return attempt

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")

    probe = Probe(job_type("work", handler), backend=SlowCommit, shutdown_grace=0)
    job_id = await probe.enqueue()
    executor = probe.executor()
    running = asyncio.ensure_future(executor.run())
    await asyncio.wait_for(committing.wait(), PATIENCE)
    executor.drain()
    await come_true(lambda: executor.state is State.DRAINING)
    commit.set()
    report = await asyncio.wait_for(running, PATIENCE)
    assert (report.counts.succeeded, report.counts.returned) == (1, 0)
    assert await probe.status(job_id) == ("succeeded", None)
