"""`Client.schedules`: what an application's settings page does to the schedules of its tenants.

A schedule is meant by its name or id together with the tenant's org, so that no id of another tenant's schedule
reaches it; or by a `ScheduleRef`, which holds the org (None for those of no tenant), as in ``view.schedule.ref``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobs_exec.book import admitting, finding, firing
from jobs_exec.book.finding import Which
from jobs_exec.book.firing import FiredTick
from jobs_exec.contracts.schedule import CatchUp, Schedule, ScheduleBook, ScheduleState, ScheduleView
from jobs_exec.errors import ScheduleNotFound

if TYPE_CHECKING:
    from jobs_exec.host import Host


class Schedules:
    """Schedules at run time, in a client's backend; all of it raises `CapabilityMissing` where that keeps none.

    A schedule is meant by its name or its id with `org_id` beside it, or by a `ScheduleRef` alone. One of another
    tenant is a `ScheduleNotFound`, a name or an id without an org an `InvalidSchedule` of the field ``org_id``.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def add(self, made: Schedule, *, allow_unregistered: bool = False) -> ScheduleView:
        """Adds a schedule made by `jobs_exec.schedule`; executors fire it from its first tick on.

        Raises `InvalidSchedule` (`field`, `problem`, and `position` in a cron expression), `UnknownJobType`, and
        `ScheduleExists` when the tenant has one of that name.
        """
        (record,) = await admitting.admitted(self._host, [made], allow_unregistered=allow_unregistered)
        return await self._book.add(record)

    async def put(self, made: Schedule, *, allow_unregistered: bool = False) -> ScheduleView:
        """Adds a schedule, or changes the tenant's one of that name; raises as `add` does, but for `ScheduleExists`.

        One that is changed keeps its id, its counts and its pause, and with an unchanged timing (cron, every, zone,
        start, end) also its next tick; a changed timing goes on at its first tick from now.
        """
        (record,) = await admitting.admitted(self._host, [made], allow_unregistered=allow_unregistered)
        await self._book.sync([record])
        return await self.get(made.ref)

    async def get(self, which: Which, *, org_id: str | None = None) -> ScheduleView:
        """The schedule that is meant. Raises `ScheduleNotFound`."""
        return await finding.find(self._book, which, org_id)

    async def remove(self, which: Which, *, org_id: str | None = None) -> None:
        """Deletes a schedule; jobs that it has made stay. Raises `ScheduleNotFound`.

        One that is defined in code comes back with the next executor that carries it: pause it, or remove it there.
        """
        view = await self.get(which, org_id=org_id)
        if not await self._book.remove(view.id):
            raise ScheduleNotFound(view.schedule.name)

    async def pause(self, which: Which, *, org_id: str | None = None) -> ScheduleView:
        """Stops a schedule from firing, also out of turn, until it is resumed. Raises `ScheduleNotFound`."""
        view = await self.get(which, org_id=org_id)
        return await self._paused(view, paused=True, next_tick=view.next_tick)

    async def resume(self, which: Which, *, org_id: str | None = None, from_now: bool = False) -> ScheduleView:
        """Lets a paused schedule go on; any other stays as it is. Raises `ScheduleNotFound`.

        The ticks of the pause were missed: its catch-up policy says whether some are fired now, unless `from_now`.
        """
        view = await self.get(which, org_id=org_id)
        if view.state is not ScheduleState.PAUSED:
            return view
        return await self._paused(view, paused=False, next_tick=await self._goes_on(view, from_now))

    async def fire(
        self,
        which: Which,
        tick: datetime | None = None,
        *,
        org_id: str | None = None,
        late: timedelta | None = None,
    ) -> FiredTick:
        """Fires `tick` (a whole second with an offset; None: this second) out of turn; executors run the jobs.

        With `late` the schedule's own last tick in so long a time up to `tick` is fired. One that was fired
        before, or that a later one followed, makes nothing. One that is
        disabled, orphaned or ended is fired all the same: whoever calls this is its clock. Raises `ScheduleNotFound`,
        `InvalidSchedule` when it is paused or `tick` has not come (up to 5 s are waited for), `ConfigurationError`
        when it is for all orgs and no directory can list them, `BackendUnavailable` when somebody else is at it.
        """
        view = await self.get(which, org_id=org_id)
        return await firing.fire(self._host, await firing.planned(self._host, view, tick, late))

    async def list(self, *, org_id: str, name: str | None = None) -> list[ScheduleView]:
        """The schedules that belong to `org_id`, or its one of that name, by name; not those of no tenant."""
        rows = await finding.of_tenant(self._book, org_id)
        return [view for view in rows if name in (None, view.schedule.name)]

    # --- inside ------------------------------------------------------------------------------------------

    @property
    def _book(self) -> ScheduleBook:
        return self._host.backend.schedules

    async def _goes_on(self, view: ScheduleView, from_now: bool) -> datetime | None:
        """Where a paused schedule stands when it goes on: where it was stopped, unless missed ticks are not wanted."""
        from jobs_exec.scheduling.ticks import first_tick

        if from_now or view.schedule.catch_up is CatchUp.NONE:
            return first_tick(view.schedule, await self._book.now())
        return view.next_tick

    async def _paused(self, view: ScheduleView, *, paused: bool, next_tick: datetime | None) -> ScheduleView:
        """Raises `ScheduleNotFound` when it was removed meanwhile."""
        if not await self._book.pause(view.id, paused=paused, next_tick=next_tick):
            raise ScheduleNotFound(view.schedule.name)
        return await self.get(view.schedule.ref)
