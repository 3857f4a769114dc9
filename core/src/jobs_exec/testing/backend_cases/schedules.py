"""The book of schedules: what it keeps, and what is due. `firing` holds the cases of what firing does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from jobs_exec.contracts import (
    Capability,
    Fired,
    FireOutcome,
    Firing,
    Schedule,
    ScheduleBook,
    ScheduleFilter,
    ScheduleRecord,
    ScheduleState,
    ScheduleView,
)
from jobs_exec.errors import ScheduleExists
from jobs_exec.scheduling.defining import schedule
from jobs_exec.scheduling.records import record_of
from jobs_exec.testing.backend_cases.base import BackendCases
from jobs_exec.testing.completeness import missing_of
from jobs_exec.testing.driving import Driver
from jobs_exec.testing.harness import BackendHarness

MINUTE = timedelta(minutes=1)
OWNER = "probe-distribution"


def defined(name: str = "report", *, owner: str = "", **options: Any) -> Schedule:
    """A schedule of every minute for one org, unless `options` say otherwise; `owner` makes it one of code."""
    wanted = {"every": 60, "orgs": options.get("org_id", "acme"), **options}
    return replace(schedule(name, "work", **wanted), owner=owner)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The book under test; `tick` is the last whole second of the clock when the test began."""

    harness: BackendHarness
    book: ScheduleBook
    tick: datetime

    def record(self, made: Schedule, next_tick: datetime | None = None) -> ScheduleRecord:
        """`made` on its way into the book, due now unless `next_tick` says otherwise."""
        return replace(record_of(made, self.tick, 256 * 1024), next_tick=next_tick or self.tick)

    async def add(self, name: str = "report", next_tick: datetime | None = None, **options: Any) -> ScheduleView:
        """A schedule of run time."""
        return await self.book.add(self.record(defined(name, **options), next_tick))

    async def sync(self, made: Schedule, next_tick: datetime | None = None) -> ScheduleView:
        """A schedule of code."""
        await self.book.sync([self.record(made, next_tick)])
        return await self.view(made.name)

    async def view(self, name: str = "report") -> ScheduleView:
        """The one row of that name."""
        (view,) = await self.book.list(ScheduleFilter(name=name))
        return view

    async def due(self) -> list[str]:
        """The names of what is due, in order."""
        return [view.schedule.name for view in (await self.book.due()).schedules]

    async def fire(self, view: ScheduleView, *ticks: datetime, orgs: tuple[str, ...] = ("acme",)) -> Fired:
        """In turn, from where `view` says that it stands."""
        return await self.book.fire(Firing(view.id, ticks, orgs, view.next_tick, (ticks or (self.tick,))[-1] + MINUTE))

    async def fire_out_of_turn(self, view: ScheduleView, tick: datetime) -> Fired:
        """For the one org."""
        return await self.book.fire(Firing(view.id, (tick,), ("acme",), None))


class BookCases(BackendCases):
    """Cases that are given an empty book."""

    @pytest_asyncio.fixture
    async def shelf(self, harness: BackendHarness) -> Shelf:
        """An empty book."""
        self.needs(harness, Capability.SCHEDULES)
        book = harness.backend.schedules
        return Shelf(harness, book, (await book.now()).replace(microsecond=0))


class ScheduleCases(BookCases):
    """See the module."""

    # --- what it keeps -----------------------------------------------------------------------------------

    async def test_the_book_has_every_method_of_its_contract(self, shelf: Shelf) -> None:
        missing = missing_of(ScheduleBook, shelf.book)
        assert not missing, f"{type(shelf.book).__name__} lacks {', '.join(missing)}; see contracts.ScheduleBook"

    async def test_a_schedule_is_kept_as_it_was_defined(self, shelf: Shelf) -> None:
        full = defined(
            cron="*/5 8-17 * * MON-FRI",
            every=None,
            zone="America/New_York",
            orgs=["acme", "emca"],
            data={"n": 1, "deep": {"list": [1.5, None, "ü"]}},
            catch_up="all:7",
            overlap="skip",
            jitter=2.5,
            start=shelf.tick,
            end=shelf.tick + timedelta(days=1),
            tick_as="at",
            priority=2,
            max_attempts=9,
            enabled=False,
        )
        added = await shelf.book.add(shelf.record(full))
        assert (added.schedule, added.next_tick, added.last_tick) == (full, shelf.tick, None)
        assert (added.fired, added.missed) == (0, 0)
        assert await shelf.view() == added

    async def test_an_interval_for_all_orgs_is_kept_as_it_was_defined(self, shelf: Shelf) -> None:
        made = defined(orgs="*", every=3600, catch_up="none")
        assert (await shelf.book.add(shelf.record(made))).schedule == made

    async def test_a_name_is_unique_for_each_tenant(self, shelf: Shelf) -> None:
        tenants: list[dict[str, Any]] = [{}, {"org_id": "acme"}, {"org_id": "emca", "orgs": "emca"}]
        for options in tenants:
            await shelf.add(**options)
            with pytest.raises(ScheduleExists, match="report"):
                await shelf.add(**options)
        assert len(await shelf.book.list(ScheduleFilter(name="report"))) == 3

    async def test_listing_narrows_by_name_owner_and_tenant(self, shelf: Shelf) -> None:
        await shelf.add("theirs", org_id="acme")
        await shelf.add("added")
        await shelf.sync(defined("coded", owner=OWNER))
        names = {
            asked: [view.schedule.name for view in await shelf.book.list(asked)]
            for asked in (
                ScheduleFilter(),
                ScheduleFilter(limit=2),
                ScheduleFilter(name="added"),
                ScheduleFilter(owner=OWNER),
                ScheduleFilter(org_id="acme"),
                ScheduleFilter(org_id="emca"),
            )
        }
        assert list(names.values()) == [
            ["added", "coded", "theirs"],
            ["added", "coded"],
            ["added"],
            ["coded"],
            ["theirs"],
            [],
        ]

    async def test_a_schedule_of_code_is_updated_and_keeps_where_it_stands(self, shelf: Shelf) -> None:
        first = await shelf.sync(defined(owner=OWNER))
        changed = defined(owner=OWNER, data={"n": 2}, priority=1)
        second = await shelf.sync(changed, shelf.tick + 5 * MINUTE)
        assert (second.id, second.next_tick, second.schedule) == (first.id, shelf.tick, changed)

    async def test_a_schedule_of_code_with_another_timing_goes_on_at_its_new_tick(self, shelf: Shelf) -> None:
        first = await shelf.sync(defined(owner=OWNER))
        tokyo: dict[str, Any] = {"every": None, "cron": "* * * * *", "zone": "Asia/Tokyo"}
        timings: list[dict[str, Any]] = [
            {"every": 120},
            {"every": None, "cron": "* * * * *"},
            tokyo,
            {**tokyo, "start": shelf.tick},
            {**tokyo, "end": shelf.tick + 90 * MINUTE},
        ]
        for number, options in enumerate(timings, 1):
            view = await shelf.sync(defined(owner=OWNER, **options), shelf.tick + number * MINUTE)
            assert (view.id, view.next_tick) == (first.id, shelf.tick + number * MINUTE)

    async def test_a_tenants_schedule_is_updated_like_one_of_code_and_anothers_of_its_name_is_not(
        self, shelf: Shelf
    ) -> None:
        theirs = await shelf.add(org_id="emca")
        await shelf.add()
        added = await shelf.add(org_id="acme")
        await shelf.book.pause(added.id, paused=True)
        changed = defined(org_id="acme", priority=1)
        await shelf.book.sync([shelf.record(changed, shelf.tick + MINUTE)])
        (updated,) = await shelf.book.list(ScheduleFilter(org_id="acme"))
        assert (updated.id, updated.schedule, updated.next_tick) == (added.id, changed, shelf.tick)
        assert updated.state is ScheduleState.PAUSED
        assert await shelf.book.list(ScheduleFilter(org_id="emca")) == [theirs]
        assert len(await shelf.book.list(ScheduleFilter(name="report"))) == 3

    async def test_what_an_operator_paused_stays_so_through_a_deployment(self, shelf: Shelf) -> None:
        view = await shelf.sync(defined(owner=OWNER))
        await Driver(shelf.harness, schedules=(view.schedule.ref,)).join()
        await shelf.fire(await shelf.view(), shelf.tick)
        await shelf.book.pause(view.id, paused=True)
        after = await shelf.sync(defined(owner=OWNER, every=30))
        assert (after.state, after.last_tick, after.fired) == (ScheduleState.PAUSED, shelf.tick, 1)

    async def test_owners_and_run_time_do_not_meet_in_one_name(self, shelf: Shelf) -> None:
        await shelf.add()
        await shelf.book.sync([shelf.record(defined(owner=OWNER)), shelf.record(defined(owner="another"))])
        assert len(await shelf.book.list(ScheduleFilter(name="report"))) == 3

    async def test_a_removed_schedule_is_gone_and_its_jobs_stay(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        await shelf.fire(view, shelf.tick)
        assert await shelf.book.remove(view.id) is True
        assert await shelf.book.remove(view.id) is False
        assert await shelf.book.list(ScheduleFilter()) == []
        assert (await shelf.fire(view, shelf.tick)).outcome is FireOutcome.MOVED
        assert len((await driver.claim()).jobs) == 1

    # --- what is due -------------------------------------------------------------------------------------

    async def test_what_is_due_comes_longest_waiting_first_and_says_when_the_next_one_is(self, shelf: Shelf) -> None:
        for name, minutes in (("second", 1), ("first", 2), ("later", -9), ("soon", -5)):
            await shelf.add(name, shelf.tick - minutes * MINUTE)
        due = await shelf.book.due()
        assert [view.schedule.name for view in due.schedules] == ["first", "second"]
        assert due.next_tick == shelf.tick + 5 * MINUTE
        assert due.now >= shelf.tick
        assert [view.schedule.name for view in (await shelf.book.due(limit=1)).schedules] == ["first"]

    async def test_a_tenant_with_many_schedules_does_not_keep_the_others_waiting(self, shelf: Shelf) -> None:
        for number in range(20):
            await shelf.add(f"many-{number}", shelf.tick - 60 * MINUTE, org_id="acme")
        await shelf.add("theirs", shelf.tick, org_id="globex")
        await shelf.add("ours", shelf.tick)
        tenants = [view.schedule.org_id for view in (await shelf.book.due(limit=3)).schedules]
        assert sorted(tenants, key=str) == [None, "acme", "globex"]
        assert len((await shelf.book.due(limit=100)).schedules) == 22

    async def test_a_tick_comes_by_the_business_clock(self, shelf: Shelf) -> None:
        await shelf.add(next_tick=shelf.tick + 60 * MINUTE)
        assert await shelf.due() == []
        await shelf.harness.advance(3600)
        assert await shelf.due() == ["report"]

    async def test_paused_disabled_and_ended_ones_are_not_due(self, shelf: Shelf) -> None:
        paused = await shelf.add("paused")
        await shelf.book.pause(paused.id, paused=True)
        await shelf.add("disabled", enabled=False)
        ended = await shelf.add("ended")
        await shelf.book.fire(Firing(ended.id, (shelf.tick,), ("acme",), ended.next_tick, None))
        assert await shelf.due() == []
        states = {view.schedule.name: view.state for view in await shelf.book.list(ScheduleFilter())}
        assert states == {
            "paused": ScheduleState.PAUSED,
            "disabled": ScheduleState.DISABLED,
            "ended": ScheduleState.ENDED,
        }

    async def test_a_paused_schedule_goes_on_where_it_is_told(self, shelf: Shelf) -> None:
        view = await shelf.add()
        assert await shelf.book.pause(view.id, paused=True) is True
        assert (await shelf.fire(view, shelf.tick)).outcome is FireOutcome.MOVED
        assert await shelf.book.pause(view.id, paused=False, next_tick=shelf.tick - MINUTE) is True
        assert (await shelf.view()).next_tick == shelf.tick - MINUTE
        assert await shelf.due() == ["report"]
        assert await shelf.book.pause(uuid4(), paused=True) is False

    async def test_code_that_nobody_carries_is_orphaned_until_somebody_does(self, shelf: Shelf) -> None:
        view = await shelf.sync(defined(owner=OWNER))
        assert (view.state, await shelf.due()) == (ScheduleState.ORPHANED, [])
        assert (await shelf.fire(view, shelf.tick)).outcome is FireOutcome.MOVED
        carrier = await Driver(shelf.harness, schedules=(view.schedule.ref,)).join()
        assert ((await shelf.view()).state, await shelf.due()) == (ScheduleState.ACTIVE, ["report"])
        await shelf.harness.expire_lease(carrier.id)
        assert (await shelf.view()).state is ScheduleState.ORPHANED
        await shelf.harness.backend.heartbeat(carrier.id)
        assert (await shelf.fire(view, shelf.tick)).outcome is FireOutcome.FIRED
        await shelf.harness.backend.leave(carrier.id)
        assert (await shelf.view()).state is ScheduleState.ORPHANED
