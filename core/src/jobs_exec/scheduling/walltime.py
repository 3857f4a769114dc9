"""The wall-clock times that an expression matches, with no zone in sight: the first from a time on, the last up to one.

cronsim says which days match, and is not asked to walk. Walking is done here because it must be bounded and exact:
cronsim's walk costs 9 ms where nothing matches (``0 0 */31 * MON#5``), and in Australia/Lord_Howe, where daylight
saving shifts half an hour, it leaves out the midnight of a change day (``0 0 0 * * *``) and differs in reverse.
A month is known by its shape (first weekday and length, 28 of them), so a step costs a few microseconds, and one
that looks through all 50 years 0.4 ms.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from cronsim import CronSim

from jobs_exec.scheduling.fields import parse_cron

HORIZON = 50
"""Years after which an expression is taken for one that never matches; 29 February on one weekday takes 40."""

_DAY = timedelta(days=1)


class WallTimes:
    """All matches of one expression. `fixed` ones are meant for a time of the day, not for a rhythm.

    As in Debian's cron these are the five-field expressions whose minute and hour do not begin with a star.
    """

    __slots__ = ("_days", "_hours", "_minutes", "_months", "_seconds", "_sim", "fixed")

    def __init__(self, text: str) -> None:
        sim: CronSim = parse_cron(text)
        self._sim = sim
        self._seconds = tuple(sorted(sim.seconds))
        self._minutes = tuple(sorted(sim.minutes))
        self._hours = tuple(sorted(sim.hours))
        self._months = frozenset(sim.months)
        self._days: dict[tuple[int, int], tuple[int, ...]] = {}
        self.fixed = _is_fixed(text, sim)

    def first(self, wall: datetime) -> datetime | None:
        """The first match at or after `wall` (a whole second)."""
        day, clock = wall.date(), wall.time()
        for _ in range(2):  # the day of `wall` may match and be over
            found = self._day_from(day)
            if found is None:
                return None
            at = _first_time(self._hours, self._minutes, self._seconds, clock if found == day else time.min)
            if at is not None:
                return datetime.combine(found, at)
            day, clock = found + _DAY, time.min
        return None

    def last(self, wall: datetime) -> datetime | None:
        """The last match at or before `wall`."""
        day, clock = wall.date(), wall.time()
        for _ in range(2):
            found = self._day_until(day)
            if found is None:
                return None
            at = _last_time(self._hours, self._minutes, self._seconds, clock if found == day else time(23, 59, 59))
            if at is not None:
                return datetime.combine(found, at)
            day, clock = found - _DAY, time(23, 59, 59)
        return None

    def _day_from(self, day: date) -> date | None:
        year, month, low = day.year, day.month, day.day
        for _ in range(HORIZON * 12):
            days = self._matching(year, month)
            at = bisect_left(days, low)
            if at < len(days):
                return date(year, month, days[at])
            year, month, low = (year + 1, 1, 1) if month == 12 else (year, month + 1, 1)
        return None

    def _day_until(self, day: date) -> date | None:
        year, month, high = day.year, day.month, day.day
        for _ in range(HORIZON * 12):
            days = self._matching(year, month)
            at = bisect_right(days, high)
            if at:
                return date(year, month, days[at - 1])
            year, month, high = (year - 1, 12, 31) if month == 1 else (year, month - 1, 31)
        return None

    def _matching(self, year: int, month: int) -> tuple[int, ...]:
        """The days of a month that match."""
        if month not in self._months:
            return ()
        shape = calendar.monthrange(year, month)
        known = self._days.get(shape)
        if known is None:
            days = range(1, shape[1] + 1)
            known = self._days[shape] = tuple(day for day in days if self._sim.match_day(date(year, month, day)))
        return known


def _is_fixed(text: str, sim: CronSim) -> bool:
    five = text.startswith("@") or len(text.split()) == 5
    return five and not sim.parts[1].startswith("*") and not sim.parts[2].startswith("*")


def _first_time(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int], clock: time) -> time | None:
    for hour in hours[bisect_left(hours, clock.hour) :]:
        low = clock if hour == clock.hour else time.min
        for minute in minutes[bisect_left(minutes, low.minute) :]:
            at = bisect_left(seconds, low.second if minute == low.minute else 0)
            if at < len(seconds):
                return time(hour, minute, seconds[at])
    return None


def _last_time(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int], clock: time) -> time | None:
    for hour in reversed(hours[: bisect_right(hours, clock.hour)]):
        high = clock if hour == clock.hour else time(hour, 59, 59)
        for minute in reversed(minutes[: bisect_right(minutes, high.minute)]):
            at = bisect_right(seconds, high.second if minute == high.minute else 59)
            if at:
                return time(hour, minute, seconds[at - 1])
    return None
