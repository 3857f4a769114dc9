"""The cases for books of schedules, proven against books that are wrong on purpose: each must be found out."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobs_exec.contracts import (
    Due,
    Fired,
    FireOutcome,
    Firing,
    Overlap,
    ScheduleFilter,
    ScheduleRecord,
    ScheduleRef,
    ScheduleView,
)
from jobs_exec.errors import ScheduleExists
from jobs_exec.identity import Identity, digest, run_hash
from jobs_exec.job import NewJob
from jobs_exec.memory.schedules import MemoryBook
from jobs_exec.memory.tables import ScheduleRow
from jobs_exec.testing.backend_cases.firing import FiringCases
from jobs_exec.testing.backend_cases.schedules import ScheduleCases, Shelf
from jobs_exec.testing.driving import Driver
from jobs_exec.testing.harness import MemoryHarness


class FiresForAnyoneWhoAsks(MemoryBook):
    def _may_fire(self, row: ScheduleRow, firing: Firing, ticks: Sequence[datetime]) -> bool:
        return True


class ChecksAndThenWrites(MemoryBook):
    """Others come in between."""

    async def fire(self, firing: Firing) -> Fired:
        row = self._tables.schedules.get(firing.schedule)
        if row is None or not super()._may_fire(row, firing, firing.ticks):
            return Fired(FireOutcome.MOVED)
        await asyncio.sleep(0)
        return await super().fire(firing)

    def _may_fire(self, row: ScheduleRow, firing: Firing, ticks: Sequence[datetime]) -> bool:
        return True


class StaysWhereItStood(MemoryBook):
    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, next_tick=firing.expected))


class MovesOutOfTurn(MemoryBook):
    async def fire(self, firing: Firing) -> Fired:
        row = self._tables.schedules.get(firing.schedule)
        fired = await super().fire(firing)
        if row is not None and fired.outcome is FireOutcome.FIRED:
            row.next_tick = firing.next_tick
        return fired


class ForgetsItsLastTick(MemoryBook):
    async def fire(self, firing: Firing) -> Fired:
        if (row := self._tables.schedules.get(firing.schedule)) is not None:
            row.last_tick = None
        return await super().fire(firing)


class FiresWhatIsPaused(MemoryBook):
    def _may_fire(self, row: ScheduleRow, firing: Firing, ticks: Sequence[datetime]) -> bool:
        if firing.expected is not None:
            return row.next_tick == firing.expected
        return bool(ticks)


class FiresHalf(MemoryBook):
    """What a book does that is not one transaction."""

    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, orgs=firing.orgs[: max(1, len(firing.orgs) // 2)]))


class CountsNothing(MemoryBook):
    async def fire(self, firing: Firing) -> Fired:
        return await super().fire(replace(firing, missed=0))


class PilesUp(MemoryBook):
    def _insert_jobs(self, row: ScheduleRow, ticks: Sequence[datetime], orgs: Sequence[str]) -> tuple[int, int]:
        kept, row.schedule = row.schedule, replace(row.schedule, overlap=Overlap.ALLOW)
        try:
            return super()._insert_jobs(row, ticks, orgs)
        finally:
            row.schedule = kept


class SkipsForEverybody(MemoryBook):
    """One org's late job keeps all others from theirs."""

    def _insert_jobs(self, row: ScheduleRow, ticks: Sequence[datetime], orgs: Sequence[str]) -> tuple[int, int]:
        live = any(job in self._tables.queue for job in row.jobs.values())
        if row.schedule.overlap is Overlap.SKIP and live:
            return 0, 0
        return super()._insert_jobs(row, ticks, orgs)


class Changed(MemoryBook):
    """Makes other jobs than it should."""

    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        raise NotImplementedError

    def _job(self, row: ScheduleRow, tick: datetime, org: str) -> NewJob:
        return self.change(row, tick, super()._job(row, tick, org))


class LeavesTheOrgOutOfTheIdentity(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        full = run_hash("", job.type, Identity.KEY, f"schedule:{row.id}@{tick}".encode())
        return replace(job, run_hash=full, digest=digest(full))


class LeavesTheTickOutOfTheIdentity(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        full = run_hash(job.org_id, job.type, Identity.KEY, f"schedule:{row.id}".encode())
        return replace(job, run_hash=full, digest=digest(full))


class WritesThePayloadAnew(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        return replace(job, payload=json.dumps(json.loads(job.payload)))


class IsLateForEverybodyAlike(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        return replace(job, run_at=tick + timedelta(seconds=row.schedule.jitter / 2))


class IsLateByAnotherTimeAtEveryTick(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        return replace(job, run_at=tick + timedelta(seconds=(tick.timestamp() * 7) % (row.schedule.jitter or 1)))


class ForgetsThePriority(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        return replace(job, priority=5)


class ForgetsTheAttempts(Changed):
    def change(self, row: ScheduleRow, tick: datetime, job: NewJob) -> NewJob:
        return replace(job, max_attempts=5)


class HandsOutWhatIsNotActive(MemoryBook):
    async def due(self, limit: int = 100) -> Due:
        due = await super().due(limit)
        views = await self.list(ScheduleFilter())
        return replace(due, schedules=tuple(v for v in views if v.next_tick is not None and v.next_tick <= due.now))


class ServesTheYoungestFirst(MemoryBook):
    async def due(self, limit: int = 100) -> Due:
        due = await super().due(1000)
        return replace(due, schedules=due.schedules[::-1][:limit])


class HandsOutWithoutALimit(MemoryBook):
    async def due(self, limit: int = 100) -> Due:
        return await super().due(1000)


class KnowsNoNextTick(MemoryBook):
    async def due(self, limit: int = 100) -> Due:
        return replace(await super().due(limit), next_tick=None)


class BelievesEverybodyAlive(MemoryBook):
    def _carried(self, ref: ScheduleRef) -> bool:
        return True


class StartsAnewAtEveryDeployment(MemoryBook):
    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        await super().sync(records)
        for record in records:
            row = self._named(record.schedule.ref)
            assert row is not None
            row.next_tick = record.next_tick


class KeepsAnOldTiming(MemoryBook):
    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        before = {row.id: row.next_tick for row in self._tables.schedules.values()}
        await super().sync(records)
        for row in self._tables.schedules.values():
            row.next_tick = before.get(row.id, row.next_tick)


class ResumesAtEveryDeployment(MemoryBook):
    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        await super().sync(records)
        for row in self._tables.schedules.values():
            row.paused = False


class TakesJobsWithIt(MemoryBook):
    async def remove(self, schedule: UUID) -> bool:
        row = self._tables.schedules.get(schedule)
        for job in row.jobs.values() if row is not None else ():
            self._tables.queue.pop(job, None)
        return await super().remove(schedule)


class LetsTenantsTakeEachOthersNames(MemoryBook):
    async def add(self, record: ScheduleRecord) -> ScheduleView:
        if await self.list(ScheduleFilter(name=record.schedule.name)):
            raise ScheduleExists(record.schedule.name)
        return await super().add(record)


class TakesAnyNameTwice(MemoryBook):
    async def add(self, record: ScheduleRecord) -> ScheduleView:
        return self._view(self._insert(record))


class ShowsTenantsEachOthersSchedules(MemoryBook):
    async def list(self, where: ScheduleFilter) -> list[ScheduleView]:
        return await super().list(replace(where, org_id=None))


FAULTY = [
    each
    for each in globals().values()
    if inspect.isclass(each) and issubclass(each, MemoryBook) and each not in (MemoryBook, Changed)
]


class Suite(ScheduleCases, FiringCases):
    """The cases, run by hand."""


Suite.__test__ = False  # type: ignore[attr-defined]


async def run(name: str, book: type[MemoryBook]) -> None:
    """One case against a book of that class."""
    harness = MemoryHarness()
    backend = harness.backend
    backend.schedules = book(backend.tables, backend._policy, backend._enqueue, backend.wake)
    tick = (await backend.schedules.now()).replace(microsecond=0)
    given: dict[str, Any] = {"shelf": Shelf(harness, backend.schedules, tick)}
    case = getattr(Suite(), name)
    if "driver" in inspect.signature(case).parameters:
        given["driver"] = await Driver(harness).join()
    await case(**given)


def found_out(book: type[MemoryBook]) -> list[str]:
    """The cases that fail for it."""
    failed = []
    for name in dir(Suite):
        if name.startswith("test_") and "shelf" in inspect.signature(getattr(Suite, name)).parameters:
            try:
                asyncio.run(run(name, book))
            except (AssertionError, ScheduleExists, ValueError, KeyError, pytest.fail.Exception):
                failed.append(name)
    return failed


def test_a_right_book_passes_by_hand_as_well() -> None:
    assert found_out(MemoryBook) == []


@pytest.mark.parametrize("book", FAULTY, ids=lambda book: book.__name__)
def test_a_faulty_book_is_found_out(book: type[MemoryBook]) -> None:
    assert found_out(book)
