"""`Client.schedules` on a real database, from several processes' clients at once, down to the jobs that are run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import Database
from working import Work

from jobs_exec import Client, JobContext, Schedule, ScheduleRef, ScheduleState, job_type, schedule
from jobs_exec.errors import BackendUnavailable, InvalidSchedule, ScheduleExists, ScheduleNotFound

YEAR = timedelta(days=365)


async def report(ctx: JobContext, data: dict[str, Any]) -> str:
    return f"{ctx.org_id} {data['at']}"


def work_on(database: Database) -> Work:
    database.execute("create table orgs (id text primary key, status text)")
    database.execute("insert into orgs values ('acme', 'active'), ('emca', 'active'), ('globex', 'suspended')")
    return Work(database, (job_type("report", report, identity="none"),), org_table="orgs")


def made(org_id: str = "acme", **options: Any) -> Schedule:
    """Not due for a year, so that no executor fires it by itself."""
    late = datetime.now(UTC).replace(microsecond=0) + YEAR
    return schedule("weekly", "report", **{"every": 60, "tick_as": "at", "start": late, "org_id": org_id, **options})


def results(database: Database) -> list[tuple[object, ...]]:
    return database.execute("select org_id::text, status::text, result #>> '{}' from jobs.job_runs order by 1")


async def test_a_schedule_is_added_found_saved_again_paused_and_removed(migrated: Database) -> None:
    async with Client.open(host=work_on(migrated).host()) as client:
        definition = made()
        added = await client.schedules.add(definition)
        assert await client.schedules.list(org_id="acme") == [added]
        paused = await client.schedules.pause("weekly", org_id="acme")
        assert (paused.id, paused.state, paused.next_tick) == (added.id, ScheduleState.PAUSED, added.next_tick)
        changed = made(data={"n": 1}, every=120, start=None)
        saved = await client.schedules.put(changed)
        assert (saved.id, saved.state, saved.schedule) == (added.id, ScheduleState.PAUSED, changed)
        assert (await client.schedules.resume(saved.id, org_id="acme")).state is ScheduleState.ACTIVE
        with pytest.raises(ScheduleExists):
            await client.schedules.add(definition)
        await client.schedules.remove(saved.id, org_id="acme")
        with pytest.raises(ScheduleNotFound):
            await client.schedules.get("weekly", org_id="acme")


async def test_what_is_another_tenants_is_not_found_and_stays_as_it_is(migrated: Database) -> None:
    async with Client.open(host=work_on(migrated).host()) as client:
        theirs = await client.schedules.add(made("emca"))
        await client.schedules.put(made("acme"))
        await client.schedules.remove("weekly", org_id="acme")
        for which in (theirs.id, "weekly", theirs.schedule.ref, "we\0kly", "\ud800"):
            for call in (client.schedules.remove, client.schedules.pause, client.schedules.fire):
                with pytest.raises(ScheduleNotFound):
                    await call(which, org_id="acme")
        assert await client.schedules.list(org_id="emca") == [theirs]


async def test_a_tick_that_many_fire_is_one_job_for_each_active_org_and_is_run(migrated: Database) -> None:
    work = work_on(migrated)
    tick = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    ref = ScheduleRef("weekly")
    async with Client.open(host=work.host()) as client, Client.open(host=work.host()) as another:
        await client.schedules.add(made(org_id=None, orgs="*"))
        answers = await asyncio.gather(*(each.schedules.fire(ref, tick) for each in (client, another) * 4))
        assert sorted(answer.created for answer in answers) == [0] * 7 + [2]
        with pytest.raises(InvalidSchedule, match="has not come"):
            await client.schedules.fire(ref, tick + YEAR)
    assert (await work.drained()).counts.succeeded == 2
    at = tick.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert results(migrated) == [(org, "succeeded", f"{org} {at}") for org in ("acme", "emca")]


async def test_of_many_that_save_one_name_at_once_there_is_one_schedule(migrated: Database) -> None:
    host = work_on(migrated).host()
    async with Client.open(host=host) as client:
        views = await asyncio.gather(*(client.schedules.put(made(every=60 + number)) for number in range(12)))
        (kept,) = await client.schedules.list(org_id="acme")
        assert {view.id for view in views} == {kept.id}


async def test_without_its_directory_nothing_is_fired(migrated: Database) -> None:
    work = work_on(migrated)
    async with Client.open(host=work.host()) as client:
        await client.schedules.add(made(org_id=None, orgs="*"))
        migrated.execute("drop table orgs")
        with pytest.raises(BackendUnavailable, match="cannot list the active orgs"):
            await client.schedules.fire(ScheduleRef("weekly"))
    assert migrated.execute("select count(*) from jobs.jobs_queue") == [(0,)]
