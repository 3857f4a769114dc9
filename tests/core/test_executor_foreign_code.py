"""Code of others that the executor calls beside handlers: what it raises or answers costs its own job at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import pytest
from executing import PATIENCE, Attempt, Probe, Transactional, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import OrgStatus, Policy
from jobs_exec.executor import Mode

BRISK = Policy(poll_interval=0.01, lease=1.0)


async def nothing(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


class Directory:
    """Answers what it is told to, whatever its type."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def check(self, org_ids: AbstractSet[str]) -> Any:
        return dict.fromkeys(org_ids, self.answer)

    async def active(self) -> AsyncIterator[str]:
        for org in ():
            yield org


@pytest.mark.parametrize("answer", ["trial", 1, object(), ["active"]])
async def test_a_directory_that_answers_in_words_of_its_own_has_not_said_anything(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    probe = Probe(job_type("work", nothing), directory=Directory(answer))
    job_id = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.returned == 1)
    stored = await probe.stored(job_id)
    assert (stored.status, stored.attempts) == ("scheduled", 0)
    assert "no OrgStatus" in caplog.text


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_directory_can_neither_end_nor_cancel_the_executor(raised: type[BaseException]) -> None:
    class Leaving(Directory):
        async def check(self, org_ids: AbstractSet[str]) -> Any:
            if self.answer is None:
                self.answer = OrgStatus.ACTIVE
                raise raised
            return await super().check(org_ids)

    probe = Probe(job_type("work", nothing), directory=Leaving(None))
    first = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.returned == 1)
        second = await probe.enqueue(data={"n": 2})
        await probe.until(lambda figures: figures.succeeded == 1)
    assert (await probe.stored(first)).attempts == 0
    assert await probe.status(second) == ("succeeded", None)


async def test_a_directory_may_answer_with_the_plain_words() -> None:
    probe = Probe(job_type("work", nothing), directory=Directory(OrgStatus.ACTIVE.value))
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert await probe.status(job_id) == ("succeeded", None)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_an_observer_can_neither_end_nor_cancel_the_executor(raised: type[BaseException]) -> None:
    def observer(event: object) -> None:
        raise raised

    probe = Probe(job_type("work", nothing))
    probe.host = replace(probe.host, observers=(observer,))
    jobs = await probe.enqueue_each(3)
    report = await probe.run(Mode.DRAIN)
    assert (report.exit_code, report.counts.succeeded) == (0, 3)
    assert [await probe.status(job_id) for job_id in jobs] == [("succeeded", None)] * 3


@pytest.mark.parametrize("asked", [SystemExit(3), KeyboardInterrupt(), 10**400, "soon"])
async def test_a_retry_policy_that_makes_no_sense_costs_its_job_no_retry(asked: object) -> None:
    def policy(attempt: int) -> Any:
        if isinstance(asked, BaseException):
            raise asked
        return asked

    async def fails(ctx: JobContext, data: dict[str, Any]) -> None:
        raise ValueError

    probe = Probe(job_type("work", fails, backoff=policy))
    job_id = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.retried == 1)
    assert (await probe.stored(job_id)).attempts == 1


async def test_a_handler_that_returns_while_its_transaction_is_rolled_back_is_ended_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rolling, returned, go_on, let_go = (asyncio.Event() for _ in range(4))

    async def slow(attempt: Attempt) -> None:
        rolling.set()
        await go_on.wait()
        attempt.drop()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction():
            while not rolling.is_set():
                try:
                    await rolling.wait()
                except asyncio.CancelledError:
                    continue
        returned.set()

    async def long(ctx: JobContext, data: dict[str, Any]) -> None:
        await let_go.wait()

    monkeypatch.setattr(Attempt, "rollback", slow)
    made = (job_type("work", handler, timeout=0.05, max_attempts=1), job_type("long", long))
    probe = Probe(*made, backend=Transactional, policy=BRISK, queues="default:2", org_max_share=1.0)
    # Of the same org, so that its count of slots would survive a second release.
    first, second = await probe.enqueue("long"), await probe.enqueue()
    async with probe.at_work():
        await asyncio.wait_for(returned.wait(), PATIENCE)
        promotions = probe.backend.calls.count("promote")
        await come_true(lambda: probe.backend.calls.count("promote") > promotions)
        go_on.set()
        await probe.until(lambda figures: figures.dead == 1)
        third = await probe.enqueue("long", data={"n": 3})
        let_go.set()
        await probe.until(lambda figures: figures.succeeded + figures.dead == 3)
    ended = [each.ref.job_id for each in probe.backend.settlements]
    assert sorted(ended) == sorted([first, second, third])
    assert probe.progress.lost == 0
