"""`Client.schedules`: a settings page's way to the schedules of one tenant, and to no others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from jobs_exec import (
    Client,
    JobContext,
    Schedule,
    ScheduleRef,
    ScheduleState,
    ScheduleView,
    job_type,
    next_ticks,
    schedule,
)
from jobs_exec.book import firing
from jobs_exec.contracts import Capability, Fired, FireOutcome, Firing, OrgStatus, Policy, QueueBackend, ScheduleFilter
from jobs_exec.errors import (
    BackendUnavailable,
    CapabilityMissing,
    ConfigurationError,
    InvalidSchedule,
    ScheduleExists,
    ScheduleNotFound,
    UnknownJobType,
)
from jobs_exec.host import Host
from jobs_exec.memory import MemoryBackend
from jobs_exec.scheduling.records import record_of
from jobs_exec.settings import CoreSettings

HOUR = timedelta(hours=1)


class Report(BaseModel):
    kind: str
    pages: int = 1


async def report(ctx: JobContext, data: Report) -> None: ...


class Orgs:
    """A directory of three orgs, or one that cannot say."""

    broken = False

    async def check(self, org_ids: Any) -> Mapping[str, OrgStatus]:
        return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

    async def active(self) -> AsyncIterator[str]:
        for org in ("acme", "emca", "globex"):
            if self.broken:
                raise ConnectionError("password of the directory")
            yield org


class Shop:
    """An application on the memory backend, its clock in the hands of the test."""

    def __init__(self, directory: Orgs | None = None) -> None:
        self.backend = MemoryBackend(Policy())
        self.host = Host(
            settings=CoreSettings(),
            policy=Policy(),
            backend=self.backend,
            store=self.backend.ledger,
            job_types={"report": job_type("report", report, identity="none")},
            directory=directory,
        )

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client.open(host=self.host) as client:
            yield client

    def ahead(self, span: timedelta) -> None:
        self.backend.tables.offset += span

    def hour(self, number: int = 0) -> datetime:
        """A full hour by the backend's clock, the last one or `number` later."""
        return self.backend.tables.now().replace(minute=0, second=0, microsecond=0) + number * HOUR

    def orgs(self) -> list[str]:
        """Those that have a job."""
        return sorted(row.job.org_id for row in self.backend.tables.queue.values())


def made(name: str = "weekly", **options: Any) -> Schedule:
    whom = {} if "orgs" in options else {"org_id": "acme"}
    return schedule(name, "report", **{"every": 3600, "data": {"kind": "week"}, **whom, **options})


# --- adding ----------------------------------------------------------------------------------------------


async def test_a_tenants_schedule_is_added_and_due_at_its_first_tick() -> None:
    shop = Shop()
    async with shop.client() as client:
        added = await client.schedules.add(made())
        assert (added.state, added.next_tick, added.schedule) == (ScheduleState.ACTIVE, shop.hour(1), made())
        shop.ahead(HOUR)
        assert (await shop.backend.schedules.due()).schedules == (await client.schedules.get("weekly", org_id="acme"),)


async def test_a_name_is_taken_once_for_each_tenant() -> None:
    async with Shop().client() as client:
        await client.schedules.add(made())
        await client.schedules.add(made(org_id="emca"))
        with pytest.raises(ScheduleExists, match="weekly of org acme"):
            await client.schedules.add(made())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"data": {}}, "data.kind"),
        ({"data": {"kind": "week", "pages": "many"}}, "data.pages"),
        ({"data": {"kind": "x" * 300_000}}, "data"),
    ],
)
async def test_data_that_no_handler_would_take_is_refused_at_its_field(options: Any, field: str) -> None:
    async with Shop().client() as client:
        for save in (client.schedules.add, client.schedules.put):
            with pytest.raises(InvalidSchedule) as refused:
                await save(made(**options))
            assert refused.value.field == field
            assert str(refused.value) == f"{field}: {refused.value.problem}"
        assert await client.schedules.list(org_id="acme") == []


async def test_the_tick_fills_a_field_that_the_payload_model_wants() -> None:
    async with Shop().client() as client:
        await client.schedules.add(made(data={}, tick_as="kind"))


async def test_a_type_that_nobody_has_registered_is_refused_unless_allowed() -> None:
    unknown = schedule("weekly", "reprot", every=3600, org_id="acme")
    async with Shop().client() as client:
        for save in (client.schedules.add, client.schedules.put):
            with pytest.raises(UnknownJobType) as refused:
                await save(unknown)
            assert (refused.value.field, refused.value.near) == ("type", ("report",))
        assert (await client.schedules.add(unknown, allow_unregistered=True)).schedule == unknown


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron": "0 8 * * MOO", "every": None}, "cron"),
        ({"zone": "Europe/Berlni", "cron": "@daily", "every": None}, "zone"),
        ({"orgs": ("emca",)}, "orgs"),
        ({"priority": 12}, "priority"),
        ({"catch_up_limit": 0, "catch_up": "all"}, "catch_up"),
        ({"owner": "application"}, "owner"),
    ],
)
async def test_a_definition_that_was_changed_field_by_field_is_checked_again(change: Any, field: str) -> None:
    async with Shop().client() as client:
        for save in (client.schedules.add, client.schedules.put):
            with pytest.raises(InvalidSchedule) as refused:
                await save(replace(made(), **change))
            assert refused.value.field == field


async def test_what_was_read_back_can_be_saved_as_it_is() -> None:
    full = made(
        every=None,
        cron="0 8 * * MON-FRI",
        zone="America/New_York",
        catch_up="all:3",
        overlap="skip",
        jitter=60,
        start=datetime(2027, 1, 1, tzinfo=UTC),
        tick_as="at",
        priority=0,
    )
    async with Shop().client() as client:
        added = await client.schedules.add(full)
        assert added.schedule == full
        assert await client.schedules.put(added.schedule) == added


async def test_one_for_all_orgs_is_warned_of_where_nobody_can_list_them(caplog: pytest.LogCaptureFixture) -> None:
    everybody = made(orgs="*")
    for directory, warned in ((Orgs(), False), (None, True)):
        with caplog.at_level(logging.WARNING):
            async with Shop(directory).client() as client:
                await client.schedules.add(everybody)
        assert ("JOB_ORG_TABLE" in caplog.text) is warned


# --- changing --------------------------------------------------------------------------------------------


async def test_saving_again_keeps_id_pause_and_counts_and_goes_on_at_a_changed_timing() -> None:
    shop = Shop()
    async with shop.client() as client:
        first = await client.schedules.put(made())
        await client.schedules.fire("weekly", org_id="acme")
        await client.schedules.pause("weekly", org_id="acme")
        changed = await client.schedules.put(made(every=7200, start=shop.hour(), data={"kind": "day"}))
        assert (changed.id, changed.state, changed.fired) == (first.id, ScheduleState.PAUSED, 1)
        assert (changed.next_tick, changed.schedule.data) == (shop.hour(2), {"kind": "day"})
        assert await client.schedules.list(org_id="acme") == [changed]


async def test_saving_leaves_the_schedule_of_that_name_of_another_tenant_alone() -> None:
    async with Shop().client() as client:
        theirs = await client.schedules.add(made(org_id="emca"))
        await client.schedules.put(made(every=60))
        assert await client.schedules.get(theirs.id, org_id="emca") == theirs


async def test_a_paused_schedule_goes_on_where_it_was_stopped_or_from_now() -> None:
    shop = Shop()
    async with shop.client() as client:
        added = await client.schedules.add(made())
        assert (await client.schedules.pause(added.id, org_id="acme")).state is ScheduleState.PAUSED
        shop.ahead(3 * HOUR)
        resumed = await client.schedules.resume(added.id, org_id="acme")
        assert (resumed.state, resumed.next_tick) == (ScheduleState.ACTIVE, added.next_tick)
        await client.schedules.pause("weekly", org_id="acme")
        assert (await client.schedules.resume("weekly", org_id="acme", from_now=True)).next_tick == shop.hour(1)
        assert (await client.schedules.resume("weekly", org_id="acme")).next_tick == shop.hour(1)


async def test_a_removed_schedule_is_not_found_again() -> None:
    async with Shop().client() as client:
        await client.schedules.add(made())
        await client.schedules.remove("weekly", org_id="acme")
        with pytest.raises(ScheduleNotFound):
            await client.schedules.remove("weekly", org_id="acme")


async def test_one_that_is_removed_by_somebody_else_meanwhile_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    book, listed = shop.backend.schedules, shop.backend.schedules.list

    async def listed_and_removed(where: ScheduleFilter) -> list[ScheduleView]:
        views = await listed(where)
        for view in views:
            await book.remove(view.id)
        return views

    async with shop.client() as client:
        monkeypatch.setattr(book, "list", listed_and_removed)
        changes: tuple[Callable[..., Awaitable[object]], ...] = (client.schedules.remove, client.schedules.pause)
        for change in changes:
            await client.schedules.add(made())
            with pytest.raises(ScheduleNotFound, match="weekly"):
                await change("weekly", org_id="acme")


# --- tenants ---------------------------------------------------------------------------------------------


async def test_no_way_leads_to_another_tenants_schedule() -> None:
    shop = Shop()
    async with shop.client() as client:
        theirs = await client.schedules.add(made("payroll", org_id="emca"))
        await client.schedules.add(made("monthly"))
        calls = client.schedules
        for which in (theirs.id, "payroll", theirs.schedule.ref):
            for call in (calls.get, calls.remove, calls.pause, calls.resume, calls.fire):
                with pytest.raises(ScheduleNotFound) as refused:
                    await call(which, org_id="acme")
                assert "payroll" not in refused.value.near
        assert await calls.list(org_id="acme", name="payroll") == []
        assert await calls.get("payroll", org_id="emca") == theirs
        assert shop.orgs() == []


async def test_schedules_of_no_tenant_are_out_of_a_tenants_reach_even_when_they_are_for_it() -> None:
    async with Shop().client() as client:
        shared = await client.schedules.add(made(orgs=["acme"]))
        assert await client.schedules.list(org_id="acme") == []
        for which in (shared.id, "weekly", shared.schedule.ref):
            with pytest.raises(ScheduleNotFound):
                await client.schedules.remove(which, org_id="acme")
        await client.schedules.remove(ScheduleRef("weekly"))


@pytest.mark.parametrize("org_id", [None, "", " acme", "ac\nme"])
async def test_a_missing_org_is_refused_and_never_means_any(org_id: Any) -> None:
    async with Shop().client() as client:
        added = await client.schedules.add(made())
        for which in (added.id, "weekly"):
            with pytest.raises(InvalidSchedule) as refused:
                await client.schedules.pause(which, org_id=org_id)
            assert refused.value.field == "org_id"
        with pytest.raises(InvalidSchedule, match=r"^org_id: "):
            await client.schedules.list(org_id=org_id)
        assert await client.schedules.get(added.id, org_id="acme") == added


async def test_a_ref_names_one_of_several_of_a_name() -> None:
    shop = Shop()
    async with shop.client() as client:
        coded = replace(made(orgs=["acme"]), owner="application")
        await shop.backend.schedules.sync([record_of(coded, shop.hour(), 1 << 18)])
        for each in (made(), made(org_id="emca"), made(orgs=["acme"])):
            await client.schedules.add(each)
        for ref in (coded.ref, made().ref, made(org_id="emca").ref, ScheduleRef("weekly")):
            assert (await client.schedules.get(ref)).schedule.ref == ref
        assert (await client.schedules.get(made().ref, org_id="acme")).schedule.ref == made().ref


async def test_a_name_that_is_mistyped_is_answered_with_near_ones_of_the_tenant() -> None:
    async with Shop().client() as client:
        await client.schedules.add(made())
        with pytest.raises(ScheduleNotFound) as refused:
            await client.schedules.get("weakly", org_id="acme")
        assert refused.value.near == ("weekly",)
        for odd in ("\0", "\ud800", "x" * 5000, str(uuid4())):
            with pytest.raises(ScheduleNotFound):
                await client.schedules.get(odd, org_id="acme")


# --- firing ----------------------------------------------------------------------------------------------


async def test_a_tick_is_fired_out_of_turn_once() -> None:
    shop = Shop()
    async with shop.client() as client:
        await client.schedules.add(made())
        first = await client.schedules.fire("weekly", shop.hour(), org_id="acme")
        assert (first.fired, first.created, first.orgs, first.tick) == (True, 1, 1, shop.hour())
        again = await client.schedules.fire("weekly", shop.hour(), org_id="acme")
        assert (again.fired, again.created) == (False, 0)
        assert shop.orgs() == ["acme"]


async def test_a_late_call_fires_the_schedules_own_tick_or_nothing() -> None:
    shop = Shop()
    async with shop.client() as client:
        await client.schedules.add(made())
        late = shop.hour() - HOUR + timedelta(minutes=3)
        with pytest.raises(InvalidSchedule, match=r"^tick: .* is no tick of weekly of org acme"):
            await client.schedules.fire("weekly", late, org_id="acme", late=timedelta(minutes=1))
        fired = await client.schedules.fire("weekly", late, org_id="acme", late=timedelta(minutes=5))
        assert fired.tick == shop.hour(-1)


async def test_a_tick_that_is_none_or_has_not_come_is_refused() -> None:
    shop = Shop()
    async with shop.client() as client:
        await client.schedules.add(made())
        for tick in (shop.hour(2), shop.hour().replace(tzinfo=None), shop.hour() + timedelta(microseconds=1)):
            with pytest.raises(InvalidSchedule) as refused:
                await client.schedules.fire("weekly", tick, org_id="acme")
            assert refused.value.field == "tick"
        assert shop.orgs() == []


async def test_a_paused_schedule_is_not_fired() -> None:
    shop = Shop()
    async with shop.client() as client:
        await client.schedules.add(made())
        await client.schedules.pause("weekly", org_id="acme")
        with pytest.raises(InvalidSchedule, match="is paused"):
            await client.schedules.fire("weekly", org_id="acme")
        assert shop.orgs() == []


async def test_all_orgs_are_those_of_the_directory_and_nothing_is_fired_without_its_answer() -> None:
    directory = Orgs()
    shop = Shop(directory)
    async with shop.client() as client:
        everybody = (await client.schedules.add(made(orgs="*"))).schedule.ref
        directory.broken = True
        with pytest.raises(BackendUnavailable, match=r"cannot list the active orgs \(ConnectionError\)") as refused:
            await client.schedules.fire(everybody)
        assert "password" not in str(refused.value)
        directory.broken = False
        assert (await client.schedules.fire(everybody)).orgs == 3
        assert shop.orgs() == ["acme", "emca", "globex"]


async def test_without_a_directory_one_for_all_orgs_names_the_setting() -> None:
    async with Shop().client() as client:
        everybody = (await client.schedules.add(made(orgs="*"))).schedule.ref
        with pytest.raises(ConfigurationError, match="JOB_ORG_TABLE"):
            await client.schedules.fire(everybody)


async def test_a_schedule_that_somebody_else_is_firing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    monkeypatch.setattr(firing, "PAUSE", 0.0)
    book, fire = shop.backend.schedules, shop.backend.schedules.fire
    answers = [Fired(FireOutcome.BUSY)] * 2

    async def busy_twice(asked: Firing) -> Fired:
        return answers.pop() if answers else await fire(asked)

    monkeypatch.setattr(book, "fire", busy_twice)
    async with shop.client() as client:
        await client.schedules.add(made())
        assert (await client.schedules.fire("weekly", org_id="acme")).created == 1
        answers += [Fired(FireOutcome.BUSY)] * 1000
        shop.ahead(HOUR)
        with pytest.raises(BackendUnavailable, match="somebody else is firing it"):
            await client.schedules.fire("weekly", org_id="acme")
    assert answers


async def test_many_that_fire_one_tick_at_once_make_one_job() -> None:
    shop = Shop()
    async with shop.client() as client:
        await client.schedules.add(made())
        calls = (client.schedules.fire("weekly", shop.hour(), org_id="acme") for _ in range(20))
        assert sum(answer.fired for answer in await asyncio.gather(*calls)) == 1


# --- previews, backends ----------------------------------------------------------------------------------


def test_the_next_ticks_are_previewed_without_a_client_as_the_wall_clock_has_them() -> None:
    weekdays = made(every=None, cron="0 8 * * MON-FRI", zone="Europe/Berlin")
    friday_before_the_change = datetime(2026, 3, 27, 12, tzinfo=UTC)
    ticks = next_ticks(weekdays, friday_before_the_change, 2)
    assert [str(tick) for tick in ticks] == ["2026-03-30 06:00:00+00:00", "2026-03-31 06:00:00+00:00"]
    assert {tick.astimezone(ZoneInfo("Europe/Berlin")).hour for tick in ticks} == {8}
    assert next_ticks(made(end=datetime(2026, 1, 1, tzinfo=UTC)), friday_before_the_change, 2) == ()


def test_a_preview_after_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match=r"^after: "):
        next_ticks(made(), datetime(2026, 3, 27), 1)


def test_a_wrong_expression_says_field_and_position() -> None:
    with pytest.raises(InvalidSchedule) as refused:
        made(every=None, cron="0 8 * * MOO")
    assert (refused.value.field, refused.value.position) == ("cron", 9)
    assert refused.value.problem.startswith("character 9: ")


async def test_a_backend_without_schedules_is_named() -> None:
    class Bookless(MemoryBackend):
        @property
        def schedules(self) -> Any:
            raise CapabilityMissing(self.name, Capability.SCHEDULES)

        @schedules.setter
        def schedules(self, _book: Any) -> None: ...

    backend: QueueBackend = Bookless(Policy())
    shop = Shop()
    async with Client.open(host=replace(shop.host, backend=backend)) as client:
        for call in (client.schedules.add(made()), client.schedules.list(org_id="acme")):
            with pytest.raises(CapabilityMissing, match=r"memory.*schedules"):
                await call
