"""Which ticks to fire: pure functions of a schedule, where it stands, and the time.

::

    next_tick ───┬──────────────┬───────────── now ──▶
                 │    missed    │   on time    │
                 └ by catch-up  └ now - grace  └ all are fired

What is enumerated is bounded, whatever the schedule and however long nobody fired: `FIRED` ticks at once, and cron
ticks are counted up to `COUNTED` (4 ms), those kept by ``all`` up to its limit (8 ms for 1000); intervals are counted
by arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from jobs_exec.contracts.schedule import CatchUp, Schedule
from jobs_exec.errors import InvalidSchedule
from jobs_exec.scheduling.timing import Every, Within, ticks_from, timing_of

FIRED = 100
"""Most ticks of one firing; the next ones are due at once."""

COUNTED = 500
"""Missed ticks of a cron expression that are counted; beyond, `Ticks.uncounted` says that there were more."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """What to do about a schedule that is due: `fire` these, oldest first, drop `missed`, go on at `next_tick`.

    `uncounted` is set when more than `missed` were dropped. `next_tick` may have come as well; None is the end.
    """

    fire: tuple[datetime, ...]
    missed: int
    next_tick: datetime | None
    uncounted: bool = False


def first_tick(schedule: Schedule, now: datetime) -> datetime | None:
    """The first tick at `now` or later; None when there is none."""
    return next(ticks_from(timing_of(schedule), now), None)


def next_ticks(schedule: Schedule, after: datetime, count: int) -> tuple[datetime, ...]:
    """Up to `count` ticks later than `after`, in UTC; pure, so a preview needs neither a database nor a client.

    Raises `InvalidSchedule` when `after` has no offset.
    """
    if after.tzinfo is None:
        raise InvalidSchedule("after", "must be a time with an offset, such as datetime.now(UTC)")
    return tuple(islice(ticks_from(timing_of(schedule), after + timedelta(microseconds=1)), count))


def due_ticks(schedule: Schedule, next_tick: datetime, now: datetime, grace: float, limit: int = FIRED) -> Ticks:
    """What is to be done at `now` about a schedule that stands at `next_tick`.

    Ticks older than `grace` seconds are missed and subject to `Schedule.catch_up`. At most `limit` ticks are fired.
    Raises `InvalidSchedule` for a definition that cannot be computed.
    """
    timing = timing_of(schedule)
    on_time = max(next_tick, now - timedelta(seconds=grace))
    fresh = list(islice(takewhile(lambda tick: tick <= now, ticks_from(timing, on_time)), limit))
    kept = _kept(schedule, timing, next_tick, on_time, any_fresh=bool(fresh))
    missed, uncounted = _count(timing, next_tick, kept[0] if kept else on_time)
    fire = tuple([*kept, *fresh][:limit])
    return Ticks(fire, missed, timing.after(fire[-1] if fire else now), uncounted)


def _kept(
    schedule: Schedule, timing: Within, next_tick: datetime, on_time: datetime, *, any_fresh: bool
) -> list[datetime]:
    """The missed ticks that are fired all the same."""
    match schedule.catch_up:
        case CatchUp.NONE:
            return []
        case CatchUp.LAST:
            wanted = 0 if any_fresh else 1
        case CatchUp.ALL:
            wanted = schedule.catch_up_limit
    newest_first = takewhile(lambda tick: tick >= next_tick, _ticks_before(timing, on_time))
    return list(islice(newest_first, wanted))[::-1]


def _ticks_before(timing: Within, moment: datetime) -> Iterator[datetime]:
    found = timing.before(moment)
    while found is not None:
        yield found
        found = timing.before(found)


def _count(timing: Within, first: datetime, end: datetime) -> tuple[int, bool]:
    """How many ticks there are from `first` to before `end`, and whether there are more."""
    if isinstance(timing.inner, Every):
        oldest, newest = next(ticks_from(timing, first), None), timing.before(end)
        if oldest is None or newest is None or newest < oldest:
            return 0, False
        return timing.inner.count(oldest, newest), False
    counted = sum(1 for _ in islice(takewhile(lambda tick: tick < end, ticks_from(timing, first)), COUNTED + 1))
    return min(counted, COUNTED), counted > COUNTED
