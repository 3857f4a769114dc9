"""What a handler knows and may do: `ctx`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from executing import Probe

from jobs_exec import JobContext, Receipt, job_type
from jobs_exec.errors import TransactionMisuse, UnknownJobType
from jobs_exec.executor import Mode

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_context_says_whose_attempt_it_is() -> None:
    seen: dict[str, Any] = {}

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        names = ("org_id", "job_id", "type", "queue", "attempt", "max_attempts", "trace", "deadline", "effect_key")
        seen.update({name: getattr(ctx, name) for name in names})

    probe = Probe(job_type("work", handler, timeout=90.0))
    job_id = await probe.enqueue(org="acme", trace=TRACE)
    before = datetime.now(UTC)
    await probe.run(Mode.DRAIN)
    assert (seen["org_id"], seen["job_id"], seen["type"], seen["queue"]) == ("acme", job_id, "work", "default")
    assert (seen["attempt"], seen["max_attempts"], seen["trace"]) == (1, 5, TRACE)
    assert timedelta(seconds=85) < seen["deadline"] - before < timedelta(seconds=95)


async def test_the_effect_key_is_the_same_in_all_attempts_and_no_other_jobs() -> None:
    keys: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        keys.append(ctx.effect_key)
        raise ValueError("again")

    probe = Probe(job_type("work", handler, max_attempts=3, backoff=lambda attempt: 0.0))
    for n in range(2):
        await probe.enqueue(data={"n": n})
    await probe.run(Mode.DRAIN)
    assert len(keys) == 6
    assert sorted(keys.count(key) for key in set(keys)) == [3, 3]


async def test_the_log_is_bound_to_the_attempt_and_takes_further_fields(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        ctx.log.warning("careful", extra={"step": 2, "org_id": "somebody else"})

    probe = Probe(job_type("work", handler))
    job_id = await probe.enqueue(org="acme")
    await probe.run(Mode.DRAIN)
    (record,) = [record for record in caplog.records if record.name == "jobs_exec.job"]
    assert record.levelno == logging.WARNING
    fields = ("org_id", "job_id", "type", "attempt", "step")
    assert [record.__dict__[name] for name in fields] == ["acme", str(job_id), "work", 1, 2]


@pytest.mark.parametrize("sync", [False, True])
async def test_a_handler_adds_jobs_of_its_own_org_which_go_on_with_its_trace(sync: bool) -> None:
    receipts: list[Receipt] = []
    seen: list[tuple[str, str | None]] = []

    async def parent(ctx: JobContext, data: dict[str, Any]) -> None:
        receipts.append(await ctx.enqueue(type="child", data={"n": 1}))

    def parent_in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        receipts.append(ctx.enqueue_sync(type="child", data={"n": 1}))

    async def child(ctx: JobContext, data: dict[str, Any]) -> None:
        seen.append((ctx.org_id, ctx.trace))

    probe = Probe(job_type("parent", parent_in_thread if sync else parent), job_type("child", child))
    await probe.enqueue("parent", org="acme", trace=TRACE)
    await probe.run(Mode.DRAIN)
    assert seen == [("acme", TRACE)]
    assert await probe.status(receipts[0].id) == ("succeeded", None)


async def test_a_handler_cannot_add_a_job_of_another_org() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        await ctx.enqueue(type="work", org_id="other")  # type: ignore[call-arg]

    probe = Probe(job_type("work", handler, max_attempts=1))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert await probe.status(job_id) == ("dead", "failed")
    assert probe.harness.tables.queue == {}


async def test_an_unknown_type_is_refused_by_name() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with pytest.raises(UnknownJobType, match="'wrok'"):
            await ctx.enqueue(type="wrok")

    probe = Probe(job_type("work", handler, max_attempts=1))
    await probe.enqueue()
    assert (await probe.run(Mode.DRAIN)).counts.succeeded == 1


async def test_the_sync_enqueue_in_an_async_handler_is_refused_instead_of_blocking_the_loop() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with pytest.raises(TransactionMisuse, match=r"await ctx\.enqueue"):
            ctx.enqueue_sync(type="work")

    probe = Probe(job_type("work", handler, max_attempts=1))
    await probe.enqueue()
    assert (await probe.run(Mode.DRAIN)).counts.succeeded == 1
