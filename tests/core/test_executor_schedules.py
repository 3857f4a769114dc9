"""Executors and their schedules: what they announce, and that one which ends by itself fires first."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from executing import Backend, Probe, come_true

from jobs_exec import JobContext, Schedule, job_type, schedule
from jobs_exec.contracts import Capability, Due, Fired, Firing, Policy, ScheduleFilter, ScheduleState, ScheduleView
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor import Mode
from jobs_exec.memory import Tables
from jobs_exec.memory.schedules import MemoryBook
from jobs_exec.scheduling.records import record_of


async def handler(ctx: JobContext, data: dict[str, Any]) -> str | None:
    return data.get("at")


WORK = job_type("work", handler)


def code(name: str = "report", **options: Any) -> Schedule:
    made = schedule(name, "work", **{"every": 60, "orgs": ["acme", "emca"], "tick_as": "at", **options})
    return replace(made, owner="dist")


class Unplugged(MemoryBook):
    """Cannot be reached for the first `refusals` calls."""

    refusals = 0

    async def due(self, limit: int = 100) -> Due:
        self._reach()
        return await super().due(limit)

    async def fire(self, firing: Firing) -> Fired:
        self._reach()
        return await super().fire(firing)

    def _reach(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BackendUnavailable("memory", "unplugged")


class Interrupted(Backend):
    """A backend whose book can be unplugged."""

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        super().__init__(policy, tables)
        self.schedules = Unplugged(self.tables, policy, self._enqueue, self.wake)


class Without(Backend):
    capabilities = Backend.capabilities - {Capability.SCHEDULES}


async def view(probe: Probe, name: str = "report") -> ScheduleView:
    (found,) = await probe.backend.schedules.list(ScheduleFilter(name=name))
    return found


async def put(probe: Probe, made: Schedule) -> ScheduleView:
    """Into the book as of run time, due a minute from now at the latest."""
    now = await probe.backend.schedules.now()
    return await probe.backend.schedules.add(record_of(replace(made, owner=""), now, 256 * 1024))


@pytest.mark.parametrize("mode", [Mode.DRAIN, Mode.ONCE])
async def test_an_executor_that_ends_by_itself_fires_what_is_due_and_runs_it(mode: Mode) -> None:
    probe = Probe(WORK)
    due = await put(probe, code())
    await probe.harness.advance(60)
    report = await probe.run(mode)
    assert report.counts.succeeded == 2
    after = await view(probe)
    assert (after.last_tick, after.fired) == (due.next_tick, 1)


async def test_one_that_runs_what_is_handed_to_it_carries_schedules_and_fires_none() -> None:
    probe = Probe(WORK, schedules=[code()])
    await put(probe, code())
    await probe.harness.advance(60)
    executor = probe.executor(Mode.HANDED)
    working = asyncio.ensure_future(executor.run())
    await executor.ready.wait()
    assert (await view(probe)).state is ScheduleState.ACTIVE
    executor.drain()
    await working
    assert probe.harness.tables.queue == {}


async def test_schedules_of_code_are_carried_while_their_executor_lives_and_orphaned_after() -> None:
    probe = Probe(WORK, schedules=[code()])
    async with probe.at_work():
        await come_true(lambda: bool(probe.harness.tables.schedules))
        assert (await view(probe)).state is ScheduleState.ACTIVE
        (record,) = [each.record for each in probe.harness.tables.executors.values()]
        assert [str(ref) for ref in record.schedules] == ["report of dist"]
    assert (await view(probe)).state is ScheduleState.ORPHANED


async def test_an_executor_fires_every_tick_as_the_clock_goes_on() -> None:
    probe = Probe(WORK, schedules=[code()])
    async with probe.at_work():
        await come_true(lambda: bool(probe.harness.tables.schedules))
        for minute in (1, 2, 3):
            await probe.harness.advance(60)
            await probe.until(lambda progress, jobs=2 * minute: progress.succeeded == jobs)  # type: ignore[misc]
    assert (await view(probe)).fired == 3


async def test_several_executors_make_no_job_twice() -> None:
    probe = Probe(WORK, schedules=[code(every=1, catch_up="all:100")])
    others = [Probe(WORK, schedules=[code(every=1, catch_up="all:100")]) for _ in range(2)]
    for other in others:
        other.host = replace(other.host, backend=probe.backend, store=probe.backend.ledger)
    async with probe.at_work(), others[0].at_work(), others[1].at_work():
        await come_true(lambda: bool(probe.harness.tables.schedules))
        before = (await view(probe)).next_tick
        await probe.harness.advance(30)
        now = await probe.backend.schedules.now()
        await come_true(lambda: all(row.next_tick > now for row in probe.harness.tables.schedules.values()))  # type: ignore[operator]
    assert before is not None
    runs = [(run.row.job.org_id, run.row.job.payload) for run in probe.harness.tables.runs.values()]
    assert len(runs) == len(set(runs))
    last = (await view(probe)).last_tick
    assert last is not None
    assert len(runs) == 2 * ((last - before) // timedelta(seconds=1) + 1)


async def test_an_outage_of_the_book_is_waited_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe(WORK, backend=Interrupted, schedules=[code()])
    assert isinstance(probe.backend.schedules, Unplugged)
    async with probe.at_work():
        await come_true(lambda: bool(probe.harness.tables.schedules))
        probe.backend.schedules.refusals = 3
        await probe.harness.advance(60)
        await probe.until(lambda progress: progress.succeeded == 2)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in said if text.startswith("firing schedules failed")]) == 1


async def test_a_backend_without_schedules_says_that_those_of_code_do_not_fire(
    caplog: pytest.LogCaptureFixture,
) -> None:
    probe = Probe(WORK, backend=Without, schedules=[code()])
    await probe.run(Mode.DRAIN)
    assert "keeps no schedules" in caplog.text
    assert not probe.harness.tables.schedules


async def test_a_backend_without_schedules_and_code_without_any_say_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await Probe(WORK, backend=Without).run(Mode.DRAIN)
    assert "schedules" not in caplog.text
