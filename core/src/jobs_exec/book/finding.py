"""Which row of the book is meant: by name or id inside one tenant, or by what names it everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from jobs_exec.contracts.schedule import ScheduleBook, ScheduleFilter, ScheduleRef, ScheduleView
from jobs_exec.envelope import check_org
from jobs_exec.errors import InvalidJob, InvalidSchedule, ScheduleNotFound

MOST = 100_000
"""Rows that are looked through."""

Which: TypeAlias = str | UUID | ScheduleRef
"""A schedule by its name or id, with the tenant's org beside it, or by its `ScheduleRef` alone."""


async def find(book: ScheduleBook, which: Which, org_id: str | None) -> ScheduleView:
    """The row that is meant. Raises `ScheduleNotFound`, also for one of another tenant than `org_id`.

    Raises `InvalidSchedule` for a name or an id without an org: both would reach other tenants' schedules.
    """
    if isinstance(which, ScheduleRef):
        if org_id is not None and which.org_id != tenant(org_id):
            raise ScheduleNotFound(which.name)
        return await _by_ref(book, which)
    rows = await of_tenant(book, org_id)
    matches = _matcher(which)
    for view in rows:
        if matches(view):
            return view
    raise ScheduleNotFound(str(which), {view.schedule.name for view in rows})


async def of_tenant(book: ScheduleBook, org_id: str | None) -> list[ScheduleView]:
    """The schedules that belong to `org_id`, by name. Raises `InvalidSchedule` when it is no org."""
    return await book.list(ScheduleFilter(org_id=tenant(org_id), limit=MOST))


def tenant(org_id: object) -> str:
    """`org_id`, checked. None is refused: a filter without an org would match everybody's."""
    if org_id is None:
        raise InvalidSchedule("org_id", "is missing; pass the tenant's, or a ScheduleRef for a schedule of no tenant")
    try:
        return check_org(org_id)
    except InvalidJob as error:
        raise InvalidSchedule("org_id", error.problem) from None


def _matcher(which: str | UUID) -> Callable[[ScheduleView], bool]:
    """Compared here, not in the database: a name from outside may hold what no database takes."""
    if isinstance(which, UUID):
        return lambda view: view.id == which
    return lambda view: view.schedule.name == which


async def _by_ref(book: ScheduleBook, ref: ScheduleRef) -> ScheduleView:
    where = ScheduleFilter(ref.name, ref.owner, ref.org_id, MOST)
    for view in await book.list(where):
        if view.schedule.ref == ref:
            return view
    raise ScheduleNotFound(ref.name)
