"""Instants: when a schedule ticks, as two questions, the first tick after a time and the last one before it.

The rules of daylight saving are cronsim's. A *fixed* expression (``30 2 * * *``) is meant once a day: a time that
comes twice counts the first time, one that is left out counts at the end of the gap. A *rhythm* (``*/15 * * * *``,
all with six fields) ticks whenever the clock on the wall matches: in both of two equal hours, in no hour left out.
Both questions are answered by the same mapping, so they agree whatever the zone does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol

from jobs_exec.contracts.schedule import Schedule
from jobs_exec.scheduling.walltime import HORIZON, WallTimes
from jobs_exec.scheduling.zones import zone_of

_SECOND = timedelta(seconds=1)
_REACH = timedelta(days=366 * HORIZON)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
"""Later ones no database need be able to keep."""


class Timing(Protocol):
    """The ticks of a schedule, whole seconds in UTC; None where there is none for 50 years."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment`."""

    def before(self, moment: datetime) -> datetime | None:
        """The last tick earlier than `moment`."""


@dataclass(frozen=True, slots=True)
class Every:
    """A tick every `seconds`, counted from `origin`."""

    seconds: int
    origin: datetime = _EPOCH

    def after(self, moment: datetime) -> datetime:
        """See `Timing`."""
        return self._at((moment - self.origin) // timedelta(seconds=self.seconds) + 1)

    def before(self, moment: datetime) -> datetime:
        """See `Timing`."""
        return self._at(-((self.origin - moment) // timedelta(seconds=self.seconds)) - 1)

    def count(self, first: datetime, last: datetime) -> int:
        """How many ticks there are from `first` to `last`, both ticks."""
        return (last - first) // timedelta(seconds=self.seconds) + 1

    def _at(self, number: int) -> datetime:
        return self.origin + timedelta(seconds=self.seconds * number)


class Cron:
    """The ticks of an expression in a zone."""

    __slots__ = ("_walls", "_zone")

    def __init__(self, walls: WallTimes, zone: tzinfo) -> None:
        self._walls = walls
        self._zone = zone

    def after(self, moment: datetime) -> datetime | None:
        """See `Timing`."""
        floor = moment.replace(microsecond=0)
        found = self._upward(floor, _wall(floor, self._zone) + _SECOND)
        change = None if self._walls.fixed else self._repeats_after(floor)
        if change is not None and (found is None or found >= change):
            # The hour comes again: its first match may lie before the one just found on the wall.
            return self._upward(change - _SECOND, _wall(change, self._zone))
        return found

    def before(self, moment: datetime) -> datetime | None:
        """See `Timing`."""
        ceiling = moment if moment.microsecond == 0 else moment.replace(microsecond=0) + _SECOND
        found = self._downward(ceiling, _wall(ceiling, self._zone) - _SECOND)
        change = self._repeated_before(ceiling)
        if change is not None and (found is None or found < change):
            # In the second of two equal hours all of the first one is past, also what is later on the wall.
            return self._downward(change, _wall(change - _SECOND, self._zone))
        return found

    def _upward(self, floor: datetime, wall: datetime) -> datetime | None:
        """The first instant after `floor` of the matches from `wall` on."""
        end = wall + _REACH
        found = self._walls.first(wall)
        while found is not None and found < end:
            instants, resume = self._instants(found)
            for instant in instants:
                if instant > floor:
                    return instant
            found = self._walls.first(found + _SECOND if resume is None else resume[1])
        return None

    def _downward(self, ceiling: datetime, wall: datetime) -> datetime | None:
        """The last instant before `ceiling` of the matches up to `wall`."""
        end = wall - _REACH
        found = self._walls.last(wall)
        while found is not None and found > end:
            instants, resume = self._instants(found)
            for instant in reversed(instants):
                if instant < ceiling:
                    return instant
            found = self._walls.last(found - _SECOND if resume is None else resume[0])
        return None

    def _instants(self, wall: datetime) -> tuple[tuple[datetime, ...], tuple[datetime, datetime] | None]:
        """When a match takes place; if the clock never shows it, also the last and the first time around the gap."""
        first = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if _wall(first, self._zone) != wall:
            change = self._change_around(wall)
            around = _wall(change - _SECOND, self._zone), _wall(change, self._zone)
            return ((change,) if self._walls.fixed else ()), around
        if self._walls.fixed:
            return (first,), None
        second = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        return ((first,) if second == first else (first, second)), None

    # --- changes of the zone -----------------------------------------------------------------------------

    def _repeats_after(self, moment: datetime) -> datetime | None:
        """When the time on the wall at `moment` begins to come a second time; None unless it does."""
        local = moment.astimezone(self._zone)
        if local.fold or not _offset(local) > _offset(local.replace(fold=1)):
            return None
        return self._change(moment, local.replace(fold=1).astimezone(UTC))

    def _repeated_before(self, moment: datetime) -> datetime | None:
        """When the time on the wall at `moment` began to come a second time; None unless this is the second."""
        local = moment.astimezone(self._zone)
        if not local.fold:
            return None
        return self._change(local.replace(fold=0).astimezone(UTC), moment)

    def _change_around(self, wall: datetime) -> datetime:
        """The change that leaves `wall` out."""
        instants = [wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return self._change(min(instants), max(instants))

    def _change(self, low: datetime, high: datetime) -> datetime:
        """The first second of a new offset, after `low` and not after `high`, between which there is one change."""
        old = _offset(low.astimezone(self._zone))
        while high - low > _SECOND:
            middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
            if _offset(middle.astimezone(self._zone)) == old:
                low = middle
            else:
                high = middle
        return high


@dataclass(frozen=True, slots=True)
class Within:
    """The ticks of `inner` that do not lie before `start`, nor at or after `end`."""

    inner: Timing
    start: datetime | None
    end: datetime | None

    def after(self, moment: datetime) -> datetime | None:
        """See `Timing`."""
        if self.start is not None and moment < self.start:
            moment = self.start - timedelta(microseconds=1)
        found = _in_calendar(self.inner.after, moment)
        return None if found is None or (self.end is not None and found >= self.end) else found

    def before(self, moment: datetime) -> datetime | None:
        """See `Timing`."""
        found = _in_calendar(self.inner.before, moment if self.end is None else min(moment, self.end))
        return None if found is None or (self.start is not None and found < self.start) else found


def timing_of(schedule: Schedule) -> Within:
    """When `schedule` ticks. Raises `InvalidSchedule` for a row that nothing of ours has checked."""
    if schedule.every is not None:
        inner: Timing = Every(schedule.every, schedule.start or _EPOCH)
    else:
        inner = _cron(schedule.cron or "", schedule.zone)
    return Within(inner, schedule.start, schedule.end)


def ticks_from(timing: Timing, moment: datetime) -> Iterator[datetime]:
    """The ticks at `moment` and later, in order."""
    found = timing.after(moment - timedelta(microseconds=1))
    while found is not None:
        yield found
        found = timing.after(found)


@lru_cache(maxsize=1024)
def _cron(text: str, zone: str) -> Cron:
    """Reading an expression costs some 50 steps of it."""
    return Cron(WallTimes(text), zone_of(zone))


def _in_calendar(step: Callable[[datetime], datetime | None], moment: datetime) -> datetime | None:
    try:
        found = step(moment)
    except OverflowError:  # beyond the year 9999
        return None
    return None if found is None or found > _LAST else found


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None  # noqa: S101  (it has a zone)
    return offset
