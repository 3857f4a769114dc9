"""Books of schedules on a real database, and schedules of every minute to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from databases import Database

from jobs_exec.contracts import Firing, Policy, ScheduleFilter, ScheduleRecord, ScheduleView
from jobs_exec.scheduling.defining import schedule
from jobs_exec.scheduling.records import record_of
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings

TICK = datetime(2025, 11, 25, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def record(name: str = "report", *, owner: str = "", **options: Any) -> ScheduleRecord:
    """A schedule of every minute for one org, due at `TICK`, unless `options` say otherwise."""
    made = replace(schedule(name, "work", **{"every": 60, "orgs": "acme", **options}), owner=owner)
    return replace(record_of(made, TICK, 1 << 18), next_tick=TICK)


@dataclass(frozen=True, slots=True)
class Book:
    """One process's book over `database`."""

    database: Database
    backend: TableBackend

    async def add(self, name: str = "report", **options: Any) -> ScheduleView:
        """A schedule of run time."""
        return await self.backend.schedules.add(record(name, **options))

    async def view(self, name: str = "report") -> ScheduleView:
        """The one of that name."""
        (view,) = await self.backend.schedules.list(ScheduleFilter(name=name))
        return view

    def jobs(self) -> list[tuple[object, ...]]:
        """Org and payload of every live job, past the backend."""
        return self.database.execute("select org_id::text, payload::text from jobs.jobs_queue order by org_id, seq")


def firing(view: ScheduleView, orgs: tuple[str, ...] = ("acme",), ticks: int = 1) -> Firing:
    """In turn, the ticks from where `view` stands."""
    assert view.next_tick is not None
    asked = tuple(view.next_tick + number * MINUTE for number in range(ticks))
    return Firing(view.id, asked, orgs, view.next_tick, asked[-1] + MINUTE)


@asynccontextmanager
async def opened_book(database: Database, *, url: str | None = None, size: int = 4) -> AsyncIterator[Book]:
    """A backend of its own, with `size` connections."""
    backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=url or database.url, pool_size=size))
    await backend.open()
    try:
        yield Book(database, backend)
    finally:
        await backend.close()
