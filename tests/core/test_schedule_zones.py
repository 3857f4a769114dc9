"""Time zones and daylight saving: a daily job runs once on both change days, a rhythm goes on through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from jobs_exec import schedule
from jobs_exec.errors import InvalidSchedule
from jobs_exec.scheduling.timing import Timing, timing_of
from jobs_exec.scheduling.zones import zone_of

MINUTE = timedelta(minutes=1)
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),  # at midnight
    "Africa/Casablanca": (date(2026, 2, 15), date(2026, 3, 22)),  # a month apart, backwards first
    "Asia/Beirut": (date(2026, 3, 29), date(2026, 10, 25)),  # midnight of the next day is left out
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),  # half an hour
    "Antarctica/Troll": (date(2026, 3, 29), date(2026, 10, 25)),  # two hours
    "Pacific/Apia": (date(2011, 12, 30),),  # the day that was left out
    "Asia/Kolkata": (date(2026, 3, 29),),
    "UTC": (date(2026, 3, 29),),
}
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
WHOLE_HOURS = [zone for zone in CHANGES if zone not in ("Australia/Lord_Howe", "Pacific/Apia")]
FIXED = ("30 1 * * *", "30 2 * * *", "0 0 * * *", "15,45 0-3 * * *", "0-59 2 * * *", "5 3 * * SUN")
RHYTHMS = (
    "0 * * * *",
    "*/15 * * * *",
    "*/45 1-4 * * *",
    "0 0 2 * * *",
    "0 30 1 * * *",
    "0 0 0 * * *",
    "0 */20 1-3 * * *",
)


def timing(cron: str, zone: str) -> Timing:
    return timing_of(schedule("s", "t", cron=cron, zone=zone, orgs="a"))


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def forward(ticking: Timing, start: datetime, end: datetime) -> list[datetime]:
    return list(_walk(ticking.after(start - timedelta(seconds=1)), ticking.after, lambda tick: tick < end))


def backward(ticking: Timing, start: datetime, end: datetime) -> list[datetime]:
    return list(_walk(ticking.before(end), ticking.before, lambda tick: tick >= start))[::-1]


def _walk(
    tick: datetime | None, step: Callable[[datetime], datetime | None], inside: Callable[[datetime], bool]
) -> Iterator[datetime]:
    while tick is not None and inside(tick):
        yield tick
        tick = step(tick)


def window(day: date) -> tuple[datetime, datetime]:
    return midnight(day) - timedelta(days=2), midnight(day) + timedelta(days=2)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe"])
@pytest.mark.parametrize("cron", ["30 0 * * *", "30 1 * * *", "45 1 * * *", "30 2 * * *", "@daily"])
def test_a_daily_job_runs_once_on_both_change_days(zone: str, cron: str) -> None:
    for day in CHANGES[zone]:
        ticks = forward(timing(cron, zone), *window(day))
        runs = Counter(tick.astimezone(ZoneInfo(zone)).date() for tick in ticks)
        assert [runs[day + timedelta(days=shift)] for shift in (-1, 0, 1)] == [1, 1, 1]


def test_in_every_zone_there_is_a_daily_job_runs_once_on_every_day_of_a_year() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    wanted = {date(2026, 1, 2) + timedelta(days=number): 1 for number in range(363)}
    days = [start + timedelta(days=number) for number in range(365)]
    alike = {tuple(day.astimezone(zone_of(zone)).utcoffset() for day in days): zone for zone in ZONES}
    for zone in alike.values():  # one of those whose clocks show the same all year
        there = zone_of(zone)
        for cron in ("30 0 * * *", "30 2 * * *"):
            ticks = forward(timing(cron, zone), start - timedelta(days=1), end + timedelta(days=1))
            runs = Counter(tick.astimezone(there).date() for tick in ticks)
            assert {day: runs[day] for day in wanted} == wanted, (zone, cron)


def test_a_time_that_is_left_out_comes_at_the_end_of_the_gap() -> None:
    (tick,) = forward(
        timing("30 2 * * *", "Europe/Berlin"), datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC)
    )
    assert tick == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_a_time_that_comes_twice_counts_the_first_time() -> None:
    (tick,) = forward(
        timing("30 2 * * *", "Europe/Berlin"),
        datetime(2026, 10, 25, tzinfo=UTC),
        datetime(2026, 10, 25, 12, tzinfo=UTC),
    )
    assert tick == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize(("cron", "apart"), [("0 * * * *", 60), ("*/15 * * * *", 15), ("*/30 * * * *", 30)])
def test_a_rhythm_keeps_going_through_a_change(zone: str, cron: str, apart: int) -> None:
    for day in CHANGES[zone]:
        ticks = forward(timing(cron, zone), *window(day))
        gaps = {later - earlier for earlier, later in pairwise(ticks)}
        allowed = {apart * MINUTE} if zone != "Australia/Lord_Howe" else {apart * MINUTE, 30 * MINUTE, 90 * MINUTE}
        assert gaps <= allowed


def on_the_wall(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Every minute whose time on the wall matches: the definition of a rhythm, tried out."""
    fields, there = CronSim(cron, start), ZoneInfo(zone)
    found, tick = [], start
    while tick < end:
        wall = tick.astimezone(there)
        times = wall.minute in fields.minutes and wall.hour in fields.hours and wall.month in fields.months
        if times and fields.match_day(wall.date()):
            found.append(tick)
        tick += MINUTE
    return found


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("cron", RHYTHMS)
def test_a_rhythm_ticks_whenever_the_clock_on_the_wall_matches(zone: str, cron: str) -> None:
    for day in CHANGES[zone]:
        assert forward(timing(cron, zone), *window(day)) == on_the_wall(cron, zone, *window(day))


@pytest.mark.parametrize("zone", WHOLE_HOURS)
@pytest.mark.parametrize("cron", [*FIXED, *RHYTHMS])
def test_where_the_shift_is_whole_hours_cronsim_says_the_same(zone: str, cron: str) -> None:
    for day in CHANGES[zone]:
        start, end = window(day)
        theirs = (
            tick.astimezone(UTC) for tick in CronSim(cron, (start - timedelta(seconds=1)).astimezone(ZoneInfo(zone)))
        )
        expected = []
        for tick in theirs:
            if tick >= end:
                break
            expected.append(tick)
        assert forward(timing(cron, zone), start, end) == expected


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("cron", [*FIXED, *RHYTHMS])
def test_from_any_moment_both_directions_find_their_neighbours(zone: str, cron: str) -> None:
    for day in CHANGES[zone]:
        start, end = window(day)
        ticking = timing(cron, zone)
        ticks = forward(ticking, start - timedelta(days=8), end + timedelta(days=8))
        assert ticks == backward(ticking, start - timedelta(days=8), end + timedelta(days=8))
        for number in range(0, 4 * 24 * 60, 7):
            moment = start + timedelta(minutes=number, seconds=number % 60)
            assert ticking.after(moment) == min(tick for tick in ticks if tick > moment)
            assert ticking.before(moment) == max(tick for tick in ticks if tick < moment)


def _field(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    step = st.integers(1, high).map(lambda by: f"*/{by}")
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: "{}-{}".format(*sorted(ends)))
    term = st.one_of(number, step, span, *map(st.just, ("*", *more)))
    return st.lists(term, min_size=1, max_size=2).map(",".join)


EXPRESSIONS = st.builds(
    "{}{} {} {} {} {}".format,
    st.sampled_from(["", "", "0 ", "*/20 ", "7 "]),
    _field(0, 59),
    _field(0, 23),
    _field(1, 31, "L", "LW"),
    _field(1, 12, "MAR", "OCT"),
    _field(0, 7, "SUN", "MON#1", "5L"),
)


@given(EXPRESSIONS, st.sampled_from(list(CHANGES)), st.integers(0, 2 * 366 * 86_400))
def test_ticks_grow_none_comes_twice_and_the_way_back_is_the_same(cron: str, zone: str, shift: int) -> None:
    moment = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=shift)
    try:
        ticking = timing(cron, zone)
    except InvalidSchedule:
        return
    ticks: list[datetime] = []
    for _ in range(20):
        tick = ticking.after(ticks[-1] if ticks else moment)
        if tick is None:
            break
        ticks.append(tick)
    assert all(earlier < later for earlier, later in pairwise([moment, *ticks]))
    assert [ticking.before(later) for later in ticks[1:]] == ticks[:-1]
    assert all(tick.microsecond == 0 and tick.tzinfo is UTC for tick in ticks)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "Europe",
        "posix/Europe/Berlin",
        "right/UTC",
        "localtime",
        "posixrules",
        "zone.tab",
        "Europe/Berlin\0",
        "Europe/Berlin ",
        "a" * 300,
        None,
        5,
    ],
)
def test_what_is_no_zone_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidSchedule, match=r"zone: .*IANA zone"):
        zone_of(name)


def test_a_misspelt_zone_is_answered_with_what_it_looks_like() -> None:
    with pytest.raises(InvalidSchedule, match="did you mean Europe/Berlin"):
        zone_of("Europe/Berlim")


def test_a_tick_beyond_the_calendar_is_none() -> None:
    ticking = timing_of(schedule("s", "t", every=86_400 * 365 * 99, orgs="a"))
    assert ticking.after(datetime(9990, 1, 1, tzinfo=UTC)) is None
    assert timing("0 0 29 2 */7", "UTC").after(datetime(9990, 1, 1, tzinfo=UTC)) is None
