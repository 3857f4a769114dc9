"""Firing a schedule out of turn, for a person or for a clock outside.

::

    planned: tick ──▶ not ahead of the book's clock ──▶ orgs      fire: book.fire, again while somebody else fires it

The book is asked as executors ask it, so that (schedule, org, tick) is one piece of work for all of them. What was
fired before is not fired again, and is no error.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobs_exec.active import active_orgs
from jobs_exec.book.finding import find
from jobs_exec.contracts.schedule import (
    Audience,
    Fired,
    FireOutcome,
    Firing,
    ScheduleBook,
    ScheduleRef,
    ScheduleState,
    ScheduleView,
    tick_text,
)
from jobs_exec.errors import BackendUnavailable, ConfigurationError, InvalidSchedule

if TYPE_CHECKING:
    from jobs_exec.host import Host

TRIES = 50
PAUSE = 0.1
"""Seconds between two tries while somebody else fires the schedule: a fan-out to 10,000 orgs takes about a second."""

FAST = 5.0
"""Seconds by which a clock may be ahead of the book's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be fired: `tick` of a schedule for `orgs`."""

    view: ScheduleView
    tick: datetime
    orgs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FiredTick:
    """The answer to `Schedules.fire`: of the jobs for `orgs` orgs `created` were made.

    `fired` is False when the tick, or a later one, was fired before. `skipped` jobs were not made because of overlap,
    `duplicates` existed.
    """

    schedule: ScheduleRef
    tick: datetime
    fired: bool
    orgs: int
    created: int = 0
    skipped: int = 0
    duplicates: int = 0


async def planned(host: Host, view: ScheduleView, tick: datetime | None, late: timedelta | None) -> Plan:
    """What to fire for `tick` (None: this second), once it has come; nothing is written.

    With `late` it is the schedule's own last tick in so long a time up to `tick`. Raises `InvalidSchedule` when there
    is none, and for a tick that has not come.
    """
    book = host.backend.schedules
    moment = (await book.now()).replace(microsecond=0) if tick is None else _whole(tick)
    chosen = moment if late is None else _own(view, moment, late)
    await _wait_until(book, chosen)
    return Plan(view, chosen, await _orgs(host, view))


async def fire(host: Host, plan: Plan) -> FiredTick:
    """Makes the jobs. Raises why the tick cannot be fired, unless it was fired before."""
    book, view = host.backend.schedules, plan.view
    fired = await _fired(book, Firing(view.id, (plan.tick,), plan.orgs, expected=None))
    done = fired.outcome is FireOutcome.FIRED
    if not done:
        await _refuse_unless_fired(host, plan, fired.outcome)
    counts = (fired.created, fired.skipped, fired.duplicates)
    return FiredTick(view.schedule.ref, plan.tick, done, len(plan.orgs), *counts)


def _whole(tick: datetime) -> datetime:
    if tick.tzinfo is None or tick.microsecond:
        raise InvalidSchedule("tick", "must be a whole second with an offset, such as 2030-01-31T08:00:00Z")
    return tick


def _own(view: ScheduleView, moment: datetime, late: timedelta) -> datetime:
    """The last tick of the schedule up to `moment`."""
    from jobs_exec.scheduling.timing import timing_of

    found = timing_of(view.schedule).before(moment + timedelta(seconds=1))
    if found is None or found < moment - late:
        span = f"{late.total_seconds():g} s"
        problem = f"{tick_text(moment)} is no tick of {view.schedule.ref}, nor is any time in the {span} before"
        raise InvalidSchedule("tick", f"{problem}; see `jobs-exec schedules next`")
    return found


async def _wait_until(book: ScheduleBook, tick: datetime) -> None:
    """Lets a clock be a little fast. A tick far ahead is refused: all before it would never fire."""
    ahead = (tick - await book.now()).total_seconds()
    if ahead > FAST:
        raise InvalidSchedule("tick", f"{tick_text(tick)} has not come; the ticks before it would never fire")
    while ahead > 0:
        await asyncio.sleep(ahead)
        ahead = (tick - await book.now()).total_seconds()


async def _orgs(host: Host, view: ScheduleView) -> tuple[str, ...]:
    if not isinstance(view.schedule.orgs, Audience):
        return view.schedule.orgs
    if host.directory is None:
        raise ConfigurationError(
            "JOB_ORG_TABLE", f"is not set, and {view.schedule.ref} is for all orgs: an org directory has to list them"
        )
    try:
        return await active_orgs(host.directory)
    except Exception as error:
        # Its text may quote a row or a password: it is for the traceback alone.
        problem = f"the org directory cannot list the active orgs ({type(error).__name__}); nothing was fired"
        raise BackendUnavailable(host.backend.name, problem) from error


async def _fired(book: ScheduleBook, firing: Firing) -> Fired:
    fired = await book.fire(firing)
    for _ in range(TRIES):
        if fired.outcome is not FireOutcome.BUSY:
            break
        await asyncio.sleep(PAUSE)
        fired = await book.fire(firing)
    return fired


async def _refuse_unless_fired(host: Host, plan: Plan, outcome: FireOutcome) -> None:
    """Returns when the tick was fired before; raises why it was not, otherwise."""
    ref = plan.view.schedule.ref
    now = await find(host.backend.schedules, ref, None)
    if now.last_tick is not None and plan.tick <= now.last_tick:
        return
    if now.state is ScheduleState.PAUSED:
        raise InvalidSchedule("schedule", f"{ref} is paused; `jobs-exec schedules resume {ref.name}` lets it go on")
    why = "somebody else is firing it" if outcome is FireOutcome.BUSY else "it was changed at this moment"
    raise BackendUnavailable(host.backend.name, f"{ref} cannot be fired now, {why}; nothing was fired, try again")
