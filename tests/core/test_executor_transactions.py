"""The attempt's transaction: effects and acknowledgement together, or neither."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from executing import PATIENCE, Probe, Transactional

from jobs_exec import JobContext, Retry, job_type
from jobs_exec.contracts import CallNext, JobSettled
from jobs_exec.errors import BackendUnavailable, CapabilityMissing, TransactionMisuse
from jobs_exec.executor import Mode


def probe_of(handler: Any, **options: Any) -> Probe:
    return Probe(job_type("work", handler, max_attempts=1), backend=Transactional, **options)


def effects(probe: Probe) -> list[str]:
    assert isinstance(probe.backend, Transactional)
    return probe.backend.effects


def rolled_back(probe: Probe) -> int:
    assert isinstance(probe.backend, Transactional)
    return probe.backend.rolled_back


async def test_a_success_is_settled_in_its_own_transaction() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> str:
        async with ctx.transaction() as connection:
            connection.append("written")
        assert effects(probe) == [], "leaving the block keeps the transaction open"
        return "done"

    probe = probe_of(handler)
    job_id = await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    stored = await probe.stored(job_id)
    assert effects(probe) == ["written"]
    assert (stored.status, stored.result, report.counts.succeeded) == ("succeeded", '"done"', 1)
    assert probe.backend.settlements == []
    assert [event.action.value for event in probe.events if isinstance(event, JobSettled)] == ["succeeded"]


async def test_a_sync_handler_has_the_same_with_a_sync_connection() -> None:
    def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction() as connection:
            connection.append("written")

    probe = probe_of(handler)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert effects(probe) == ["written"]
    assert await probe.status(job_id) == ("succeeded", None)


@pytest.mark.parametrize("outcome", [Retry(1.0), {"success": False}, object()])
async def test_any_other_outcome_rolls_back_and_is_settled_apart(outcome: object) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> Any:
        async with ctx.transaction() as connection:
            connection.append("written")
        return outcome

    probe = probe_of(handler)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert (await probe.stored(job_id)).status == "dead"


@pytest.mark.parametrize("sync", [False, True])
async def test_an_exception_rolls_back_and_fails_the_attempt(sync: bool) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")
            raise ValueError("boom")

    def in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction() as connection:
            connection.append("written")
            raise ValueError("boom")

    probe = probe_of(in_thread if sync else handler)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert await probe.status(job_id) == ("dead", "failed")


async def test_a_middleware_that_fails_after_the_handler_rolls_back_its_effects() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")

    async def refuse(ctx: JobContext, call_next: CallNext) -> Any:
        await call_next(ctx)
        raise PermissionError("no")

    probe = probe_of(handler, middleware=[refuse])
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert await probe.status(job_id) == ("dead", "failed")


async def test_an_attempt_that_was_lost_writes_none_of_its_effects() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")
        probe.harness.tables.queue[ctx.job_id].token += 1

    probe = probe_of(handler)
    await probe.enqueue()
    report = await probe.run(Mode.ONCE)
    assert (effects(probe), report.counts.lost, report.counts.succeeded) == ([], 1, 0)


async def test_a_timeout_rolls_back() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")
            await asyncio.Event().wait()

    probe = Probe(job_type("work", handler, timeout=0.01, max_attempts=1), backend=Transactional)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert await probe.status(job_id) == ("dead", "timeout")


async def test_a_commit_that_the_data_does_not_allow_fails_the_attempt() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")

    probe = probe_of(handler)
    assert isinstance(probe.backend, Transactional)
    probe.backend.commit_error = ValueError("deferred constraint")
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert await probe.status(job_id) == ("dead", "failed")


async def test_a_commit_nobody_can_vouch_for_is_left_to_the_token() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            connection.append("written")

    probe = probe_of(handler)
    assert isinstance(probe.backend, Transactional)
    probe.backend.commit_error = BackendUnavailable("memory", "gone during commit")
    job_id = await probe.enqueue()
    report = await probe.run(Mode.ONCE)
    stored = await probe.stored(job_id)
    assert report.counts.returned == 1
    assert (stored.status, stored.attempts) == ("ready", 0)


@pytest.mark.parametrize("again", ["call", "enter"])
async def test_a_second_entry_is_refused(again: str) -> None:
    refused: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        scope = ctx.transaction()
        async with scope:
            pass
        try:
            async with ctx.transaction() if again == "call" else scope:
                pass
        except TransactionMisuse as error:
            refused.append(str(error))

    probe = probe_of(handler)
    await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert len(refused) == 1


async def test_the_sync_form_in_an_async_handler_is_refused_with_the_form_to_use() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction():
            pass

    probe = probe_of(handler)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert "async with ctx.transaction()" in str((await probe.stored(job_id)).errors)


async def test_a_handler_that_goes_on_after_its_block_failed_ends_without_a_transaction() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> str:
        try:
            async with ctx.transaction() as connection:
                connection.append("written")
                raise ValueError("no")
        except ValueError:
            return "without"

    probe = probe_of(handler)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert (effects(probe), rolled_back(probe)) == ([], 1)
    assert (await probe.stored(job_id)).result == '"without"'


async def test_a_backend_without_attempt_transactions_says_so() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with pytest.raises(CapabilityMissing, match="attempt_transaction"):
            ctx.transaction()

    probe = Probe(job_type("work", handler))
    await probe.enqueue()
    assert (await probe.run(Mode.DRAIN)).counts.succeeded == 1


@pytest.mark.parametrize("sync", [False, True])
async def test_jobs_are_added_inside_the_transaction_when_it_is_open(sync: bool) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction():
            await ctx.enqueue(type="child", data={"n": 1})

    def in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction():
            ctx.enqueue_sync(type="child", data={"n": 1})

    async def child(ctx: JobContext, data: dict[str, Any]) -> None: ...

    made = job_type("work", in_thread if sync else handler, max_attempts=1)
    probe = Probe(made, job_type("child", child), backend=Transactional)
    await probe.enqueue()
    report = await asyncio.wait_for(probe.run(Mode.DRAIN), PATIENCE)
    assert (effects(probe), report.counts.succeeded) == (["enqueued"], 2)
