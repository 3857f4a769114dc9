"""The firing role over the memory book, on the business clock: once, by whomever, and nobody stops the others."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from jobs_exec import Schedule, active, schedule
from jobs_exec.contracts import Due, Fired, Firing, OrgDirectory, OrgStatus, ScheduleFilter, ScheduleView
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor.firing import FiringRules, Scheduler
from jobs_exec.executor.orgs import Orgs
from jobs_exec.memory.schedules import MemoryBook
from jobs_exec.scheduling.records import record_of
from jobs_exec.testing.driving import Driver
from jobs_exec.testing.harness import MemoryHarness

GRACE = 60.0


class Directory:
    """Lists `orgs`; raises while `broken`, and never ends while `stuck`."""

    def __init__(self, *orgs: str) -> None:
        self.orgs: list[Any] = list(orgs)
        self.broken: BaseException | None = None
        self.stuck = False
        self.listings = 0
        self.closed = 0

    async def check(self, org_ids: AbstractSet[str]) -> Mapping[str, OrgStatus]:
        return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

    async def active(self) -> AsyncIterator[str]:
        self.listings += 1
        try:
            for org in self.orgs:
                yield org
            if self.broken is not None:
                raise self.broken
            if self.stuck:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


class Crowded(MemoryBook):
    """Lets others in before everything, as a connection does; it fails while it is `cut`."""

    cut = False
    fired = 0

    async def due(self, limit: int = 100) -> Due:
        await asyncio.sleep(0)
        return await super().due(limit)

    async def fire(self, firing: Firing) -> Fired:
        if self.cut:
            raise BackendUnavailable("memory", "unplugged")
        self.fired += 1
        await asyncio.sleep(0)
        return await super().fire(firing)


@dataclass(slots=True)
class Clockwork:
    """A book, and schedulers that are stepped by hand."""

    directory: Directory | None = None
    harness: MemoryHarness = field(default_factory=MemoryHarness)

    def __post_init__(self) -> None:
        backend = self.harness.backend
        backend.schedules = Crowded(backend.tables, backend._policy, backend._enqueue, backend.wake)

    @property
    def book(self) -> Crowded:
        book = self.harness.backend.schedules
        assert isinstance(book, Crowded)
        return book

    def scheduler(self, *schedules: Schedule, types: Sequence[str] = ("work",), grace: float = GRACE) -> Scheduler:
        directory: OrgDirectory | None = self.directory
        rules = FiringRules(grace, 0.01, 256 * 1024, types)
        return Scheduler(self.harness.backend, schedules, Orgs(directory, 1.0), rules, lambda: None)

    async def add(self, name: str = "report", **options: Any) -> ScheduleView:
        """A schedule of run time, due at its next tick from now on."""
        made = schedule(name, "work", **{"every": 60, "orgs": "acme", **options})
        return await self.book.add(record_of(made, await self.book.now(), 256 * 1024))

    async def view(self, name: str = "report") -> ScheduleView:
        (view,) = await self.book.list(ScheduleFilter(name=name))
        return view

    def jobs(self) -> Counter[tuple[str, datetime]]:
        """(org, due) of every job there is."""
        return Counter((row.job.org_id, row.run_at) for row in self.harness.tables.queue.values())

    @property
    def orgs(self) -> set[str]:
        return {org for org, _ in self.jobs()}


def code(name: str, **options: Any) -> Schedule:
    """A schedule as a plugin would define it."""
    return replace(schedule(name, "work", **{"every": 60, "orgs": "acme", **options}), owner="dist")


def of_firing(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_code_defines_is_in_the_book_after_the_first_round() -> None:
    clock = Clockwork()
    one = code("one")
    await clock.scheduler(one, code("two", every=90)).round()
    views = await clock.book.list(ScheduleFilter(owner="dist"))
    assert [view.schedule.name for view in views] == ["one", "two"]
    assert views[0].schedule == one
    assert views[0].next_tick is not None
    assert views[0].next_tick >= await clock.book.now() - timedelta(seconds=1)


async def test_twenty_minutes_with_eight_schedulers_make_every_job_exactly_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clockwork(Directory("acme", "emca", "third"))
    defined = [
        code("all", every=60, orgs="*"),
        code("one", every=None, cron="*/5 * * * *", zone="Asia/Kolkata", orgs="single"),
        code("fast", every=7, orgs=["fast"], catch_up="all:100"),
    ]
    await Driver(clock.harness, schedules=tuple(each.ref for each in defined)).join()
    schedulers = [clock.scheduler(*defined) for _ in range(8)]
    began = await clock.book.now()
    await asyncio.gather(*[each.round() for each in schedulers])
    for _ in range(120):
        await clock.harness.advance(10)
        await asyncio.gather(*[each.round() for each in schedulers])
    ended = await clock.book.now()
    jobs = clock.jobs()
    assert set(jobs.values()) == {1}
    for org, apart in (("acme", 60), ("third", 60), ("single", 300), ("fast", 7)):
        ticks = sorted(tick for owner, tick in jobs if owner == org)
        assert ticks[0] - began <= timedelta(seconds=apart)
        assert ended - ticks[-1] <= timedelta(seconds=apart)
        assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(seconds=apart)}
    assert not of_firing(caplog)


async def test_a_tick_is_asked_for_by_several_and_fired_by_one() -> None:
    clock = Clockwork()
    await clock.add()
    await clock.harness.advance(60)
    schedulers = [clock.scheduler() for _ in range(4)]
    await asyncio.gather(*[each.round() for each in schedulers])
    assert clock.book.fired == 4
    assert sum(clock.jobs().values()) == 1
    assert (await clock.view()).fired == 1


async def test_a_failing_directory_leaves_the_tick_for_later_and_stops_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = Directory("acme", "emca")
    clock = Clockwork(directory)
    await clock.add("all", orgs="*")
    await clock.add("named", orgs="named")
    scheduler = clock.scheduler()
    await clock.harness.advance(60)
    directory.broken = RuntimeError("no directory today")
    for _ in range(3):
        await scheduler.round()
    assert clock.orgs == {"named"}
    assert (await clock.view("all")).last_tick is None
    (said,) = of_firing(caplog)
    assert "listing the active orgs failed" in said.getMessage()
    assert "no directory today" not in said.getMessage()
    directory.broken = None
    await clock.scheduler().round()
    assert clock.orgs == {"named", "acme", "emca"}
    assert directory.listings == 2, "it was asked again before its pause was over"
    assert directory.closed == directory.listings


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_whatever_a_directory_raises_it_ends_no_role(error: BaseException) -> None:
    directory = Directory("acme")
    directory.broken = error
    clock = Clockwork(directory)
    await clock.add("all", orgs="*")
    await clock.add("named", orgs="named")
    await clock.harness.advance(60)
    await clock.scheduler().round()
    assert clock.orgs == {"named"}


async def test_a_directory_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "LISTING", 0.01)
    directory = Directory("acme")
    directory.stuck = True
    clock = Clockwork(directory)
    await clock.add("all", orgs="*")
    await clock.add("named", orgs="named")
    await clock.harness.advance(60)
    await clock.scheduler().round()
    assert clock.orgs == {"named"}
    assert directory.closed == 1


async def test_more_orgs_than_are_listed_make_no_half_of_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "MOST_ACTIVE", 2)
    clock = Clockwork(Directory("a", "b", "c"))
    await clock.add("all", orgs="*")
    await clock.harness.advance(60)
    await clock.scheduler().round()
    assert clock.orgs == set()


async def test_the_directory_is_read_anew_at_every_tick_and_once_for_all_that_fire_together() -> None:
    directory = Directory("acme")
    clock = Clockwork(directory)
    for name in ("one", "two", "three"):
        await clock.add(name, orgs="*")
    scheduler = clock.scheduler()
    await clock.harness.advance(60)
    await scheduler.round()
    assert directory.listings == 1
    directory.orgs = ["emca", "emca"]
    await clock.harness.advance(60)
    await scheduler.round()
    assert Counter(org for org, _ in clock.jobs().elements()) == {"acme": 3, "emca": 3}


async def test_what_is_no_org_id_gets_no_job_and_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    directory = Directory("acme")
    directory.orgs += ["", None, "a\nb", 7, "emca"]
    clock = Clockwork(directory)
    await clock.add("all", orgs="*")
    await clock.harness.advance(60)
    await clock.scheduler().round()
    assert clock.orgs == {"acme", "emca"}
    (said,) = of_firing(caplog)
    assert said.__dict__["refused"] == 4


async def test_no_active_org_moves_the_schedule_on() -> None:
    clock = Clockwork(Directory())
    before = await clock.add("all", orgs="*")
    await clock.harness.advance(60)
    await clock.scheduler().round()
    after = await clock.view("all")
    assert before.next_tick is not None
    assert after.last_tick == before.next_tick
    assert after.next_tick == before.next_tick + timedelta(seconds=60)


async def test_all_orgs_without_a_directory_are_said_once_and_left(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clockwork()
    await clock.add("all", orgs="*")
    await clock.add("named", orgs="named")
    await clock.harness.advance(60)
    scheduler = clock.scheduler()
    for _ in range(3):
        await scheduler.round()
    (said,) = of_firing(caplog)
    assert "no org directory" in said.getMessage()
    assert said.__dict__["schedule"] == "all"
    assert clock.orgs == {"named"}


async def test_a_row_that_cannot_be_computed_is_said_once_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clockwork()
    for name in ("bad", "good"):
        await clock.add(name, orgs=name)
    for row in clock.harness.tables.schedules.values():
        if row.schedule.name == "bad":
            row.schedule = replace(row.schedule, every=None, cron="61 * * * *")
    await clock.harness.advance(60)
    scheduler = clock.scheduler()
    for _ in range(3):
        await scheduler.round()
    assert clock.orgs == {"good"}
    (said,) = of_firing(caplog)
    assert "a schedule cannot be fired: cron: character 1: '61' is no minute" in said.getMessage()
    assert said.__dict__["schedule"] == "bad"


async def test_any_number_of_bad_rows_starves_no_good_one() -> None:
    clock = Clockwork()
    for number in range(250):
        await clock.add(f"bad-{number}", orgs="bad")
    for row in clock.harness.tables.schedules.values():
        row.schedule = replace(row.schedule, zone="Mars/Olympus", every=None, cron="* * * * *")
    await clock.harness.advance(120)
    await clock.add("good", orgs="good")
    await clock.harness.advance(60)
    scheduler = clock.scheduler()
    for _ in range(4):
        await scheduler.round()
    assert clock.orgs == {"good"}


async def test_missed_ticks_are_one_warning_of_each_firing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clockwork()
    await clock.add("last")
    await clock.add("three", catch_up="all:3", orgs="three")
    await clock.add("none", catch_up="none", every=86_400, orgs="none")
    await clock.harness.advance(86_400 * 2)
    await clock.harness.advance(-((await clock.book.now()).timestamp() % 86_400) + 43_200)
    await clock.scheduler().round()
    said = {record.__dict__["schedule"]: record for record in of_firing(caplog)}
    assert set(said) == {"last", "three", "none"}
    figures = {name: (record.__dict__["ticks"], record.__dict__["caught_up"]) for name, record in said.items()}
    fresh = figures["last"][0]
    assert fresh in (1, 2)
    assert figures == {"last": (fresh, 0), "three": (fresh + 3, 3), "none": (0, 0)}
    assert (await clock.view("last")).missed == said["last"].__dict__["missed"] > 1000


async def test_more_ticks_than_one_firing_takes_are_fired_by_the_next_rounds() -> None:
    clock = Clockwork()
    await clock.add(every=1, catch_up="all:1000")
    await clock.harness.advance(300)
    scheduler = clock.scheduler()
    await scheduler.round()
    assert sum(clock.jobs().values()) == 100
    await scheduler.bounded()
    assert sum(clock.jobs().values()) in (300, 301, 302)
    assert set(clock.jobs().values()) == {1}


async def test_an_unreachable_backend_ends_the_round_and_nothing_is_lost() -> None:
    clock = Clockwork()
    await clock.add()
    await clock.harness.advance(60)
    clock.book.cut = True
    scheduler = clock.scheduler()
    with pytest.raises(BackendUnavailable):
        await scheduler.round()
    clock.book.cut = False
    await scheduler.round()
    assert sum(clock.jobs().values()) == 1


async def test_a_type_that_nobody_announced_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clockwork()
    await Driver(clock.harness).join()
    await clock.scheduler(replace(code("s"), type="each"), replace(code("t"), type="nobodys")).round()
    (said,) = of_firing(caplog)
    assert (said.__dict__["schedule"], said.__dict__["type"]) == ("t of dist", "nobodys")
