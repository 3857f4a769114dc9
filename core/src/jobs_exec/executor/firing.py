"""Firing: schedules that are due make their jobs. Every executor does it; the book lets one of them do it for a tick.

::

    due ──▶ for each, shuffled: orgs ──▶ ticks ──▶ book.fire ──▶ fired
     ▲                           │         │          └─ busy, moved: somebody else did
     │                           │         └─ cannot be computed: skipped, said once
     └── until the next tick ────┴─ the directory cannot say: left for later

Nothing is remembered between two rounds but what was said in the log. One schedule that cannot be fired never keeps the
others from it: as many more are asked for as were left in the last round.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.contracts.schedule import Audience, Due, FireOutcome, Firing, Schedule, ScheduleView
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor.orgs import Orgs
from jobs_exec.executor.outage import Outage, describe
from jobs_exec.scheduling.records import record_of
from jobs_exec.scheduling.ticks import FIRED, Ticks, due_ticks

log = logging.getLogger(__name__)

_BATCH = 100
_MOST = 10_000
_ROUNDS = 10
_SPREAD = 0.1
_JOBS = 20_000
"""Jobs of one firing, as far as it has several ticks: it is one transaction. One tick is always fired whole."""


@dataclass(frozen=True, slots=True)
class FiringRules:
    """`grace` and `pause` (the longest between two looks) in seconds; `types` are those of this process."""

    grace: float
    pause: float
    max_payload_bytes: int
    types: Collection[str]


class Scheduler:
    """One role: `run` until cancelled. `bounded` is one short pass, for executors that end by themselves."""

    def __init__(
        self,
        backend: QueueBackend,
        schedules: Sequence[Schedule],
        orgs: Orgs,
        rules: FiringRules,
        fired: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._book = backend.schedules
        self._schedules = tuple(schedules)
        self._orgs = orgs
        self._rules = rules
        self._fired = fired
        self._synced = not schedules
        self._said: set[tuple[UUID, str]] = set()
        self._left = 0
        self._made = 0

    async def run(self) -> None:
        """Looks for what is due until cancelled."""
        outage = Outage("firing schedules")
        while True:
            try:
                due = await self.round()
            except Exception as error:
                await outage.pause(error)
                continue
            outage.recovered()
            await asyncio.sleep(self._rest(due))

    async def bounded(self) -> None:
        """Fires what is due, in up to ten rounds; raises what the backend raises."""
        for _ in range(_ROUNDS):
            if len((await self.round()).schedules) <= self._left:
                break

    async def round(self) -> Due:
        """Fires what is due now, once each; the answer says what was due, and when the next one is."""
        if not self._synced:
            await self._sync()
        due = await self._book.due(min(_MOST, _BATCH + self._left))
        self._left = self._made = 0
        active = _Active(self._orgs)
        for view in _order(due.schedules):
            if not await self._done(view, due.now, active):
                self._left += 1
        return due

    async def _sync(self) -> None:
        now = await self._book.now()
        await self._book.sync([record_of(made, now, self._rules.max_payload_bytes) for made in self._schedules])
        self._synced = True
        known = {*self._rules.types, *await self._backend.known_types()}
        for made in self._schedules:
            if made.type not in known:
                log.warning(
                    "a schedule names a job type that no executor has announced; its jobs will wait for one",
                    extra={"schedule": str(made.ref), "type": made.type},
                )

    async def _done(self, view: ScheduleView, now: datetime, active: _Active) -> bool:
        """False when the schedule is left as it was."""
        try:
            return await self._fire(view, now, active)
        except BackendUnavailable:
            raise
        except Exception as error:
            # A row that nothing of ours has checked, or that this version cannot read: the others must not wait for it.
            self._say_once(view, "a schedule cannot be fired", describe(error))
            return False

    async def _fire(self, view: ScheduleView, now: datetime, active: _Active) -> bool:
        if view.next_tick is None:
            return False
        orgs = await self._audience(view, active)
        if orgs is None:
            return False
        limit = max(1, min(FIRED, _JOBS // max(1, len(orgs))))
        ticks = due_ticks(view.schedule, view.next_tick, now, self._rules.grace, limit)
        fired = await self._book.fire(
            Firing(view.id, ticks.fire, orgs, view.next_tick, ticks.next_tick, missed=ticks.missed)
        )
        if fired.outcome is FireOutcome.FIRED:
            self._made += 1
            self._tell(view, ticks, now)
            if fired.created:
                self._fired()
        return True

    async def _audience(self, view: ScheduleView, active: _Active) -> tuple[str, ...] | None:
        """The orgs of a schedule now; None when nobody can say."""
        orgs = view.schedule.orgs
        if not isinstance(orgs, Audience):
            return orgs
        if not self._orgs:
            self._say_once(view, "a schedule is for all orgs, but there is no org directory to list them", "")
            return None
        return await active.orgs()

    def _tell(self, view: ScheduleView, ticks: Ticks, now: datetime) -> None:
        fields = {"schedule": str(view.schedule.ref), "ticks": len(ticks.fire)}
        late = [tick for tick in ticks.fire if (now - tick).total_seconds() > self._rules.grace]
        if ticks.missed or late:
            more = {"missed": ticks.missed, "more_missed": ticks.uncounted, "caught_up": len(late)}
            log.warning("ticks of a schedule were missed, nobody fired them in time", extra={**fields, **more})
        else:
            log.debug("a schedule was fired", extra=fields)

    def _say_once(self, view: ScheduleView, text: str, problem: str) -> None:
        if (view.id, text + problem) not in self._said:
            self._said = {*self._said, (view.id, text + problem)} if len(self._said) < _MOST else set()
            log.error("%s%s", text, problem and f": {problem}", extra={"schedule": str(view.schedule.ref)})

    def _rest(self, due: Due) -> float:
        """Seconds until the next look: the next tick, or a while; none after a full batch of which some were ours."""
        if len(due.schedules) - self._left >= _BATCH and self._made:
            return 0.0
        pause = self._rules.pause * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, guards no secret)
        if due.next_tick is None:
            return pause
        # Not all at the tick: whoever comes a little later finds it fired, and need not list the orgs for nothing.
        late = random.uniform(0.0, _SPREAD)  # noqa: S311
        return min(pause, max(0.0, (due.next_tick - due.now).total_seconds()) + late)


class _Active:
    """The active orgs for one round: read when the first schedule asks, and shared by those that fire with it."""

    def __init__(self, orgs: Orgs) -> None:
        self._orgs = orgs
        self._answer: tuple[str, ...] | None = None
        self._asked = False

    async def orgs(self) -> tuple[str, ...] | None:
        if not self._asked:
            self._answer, self._asked = await self._orgs.active(), True
        return self._answer


def _order(due: Sequence[ScheduleView]) -> list[ScheduleView]:
    """Shuffled, so that executors that look at the same moment do not all meet at the same schedule.

    Those that need the org directory come last: however long it takes to answer, the others have fired.
    """
    shuffled = random.sample(due, len(due))
    return sorted(shuffled, key=lambda view: isinstance(view.schedule.orgs, Audience))
