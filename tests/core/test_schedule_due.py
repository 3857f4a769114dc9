"""Which ticks are fired, dropped and counted, by policy; and that none of it grows with the time nobody fired."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_exec import Schedule, schedule
from jobs_exec.scheduling.ticks import COUNTED, FIRED, Ticks, due_ticks, first_tick, next_ticks

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRACE = 60.0


def made(**options: Any) -> Schedule:
    timing = {} if "cron" in options else {"every": 60}
    return schedule("report", "work", **{**timing, "orgs": "acme", **options})


def due(wanted: Schedule, late: timedelta, limit: int = FIRED) -> Ticks:
    """What is to be done at noon and 10 seconds, `late` after the tick the schedule stands at."""
    return due_ticks(wanted, NOON - late, NOON + timedelta(seconds=10), GRACE, limit)


@pytest.mark.parametrize("policy", ["none", "last", "all"])
def test_a_tick_that_has_just_come_is_fired_under_every_policy(policy: str) -> None:
    assert due(made(catch_up=policy), timedelta()) == Ticks((NOON,), 0, NOON + MINUTE)


@pytest.mark.parametrize("policy", ["none", "last", "all"])
def test_every_tick_within_the_grace_is_fired(policy: str) -> None:
    ticks = due(made(every=20, catch_up=policy), timedelta(seconds=40))
    assert ticks.fire == (NOON - timedelta(seconds=40), NOON - timedelta(seconds=20), NOON)
    assert (ticks.missed, ticks.next_tick) == (0, NOON + timedelta(seconds=20))


def test_what_was_missed_is_dropped_beside_a_tick_on_time() -> None:
    for policy in ("none", "last"):
        assert due(made(catch_up=policy), 10 * MINUTE) == Ticks((NOON,), 10, NOON + MINUTE)


def test_what_was_missed_is_dropped_even_if_nothing_is_on_time() -> None:
    assert due(made(every=3600, catch_up="none"), timedelta(0)).missed == 0
    late = due_ticks(made(every=3600, catch_up="none"), NOON, NOON + 5 * MINUTE, GRACE)
    assert late == Ticks((), 1, NOON + 60 * MINUTE)


def test_the_last_of_what_was_missed_is_fired_if_nothing_is_on_time() -> None:
    late = due_ticks(made(every=3600), NOON - 180 * MINUTE, NOON + 5 * MINUTE, GRACE)
    assert late == Ticks((NOON,), 3, NOON + 60 * MINUTE)


def test_all_that_was_missed_is_fired_up_to_the_limit_oldest_first() -> None:
    few = due(made(catch_up="all"), 10 * MINUTE)
    assert few.fire == tuple(NOON - minutes * MINUTE for minutes in range(10, -1, -1))
    assert few.missed == 0
    many = due(made(catch_up="all:3"), 10 * MINUTE)
    assert many.fire == tuple(NOON - minutes * MINUTE for minutes in (3, 2, 1, 0))
    assert (many.missed, many.next_tick) == (7, NOON + MINUTE)


def test_more_ticks_than_one_firing_takes_go_on_where_it_ends() -> None:
    wanted = made(catch_up="all:1000")
    first = due(wanted, 10 * MINUTE, limit=4)
    assert first.fire == tuple(NOON - minutes * MINUTE for minutes in (10, 9, 8, 7))
    assert (first.missed, first.next_tick) == (0, NOON - 6 * MINUTE)
    second = due(wanted, 6 * MINUTE, limit=4)
    assert (second.fire[0], second.missed) == (NOON - 6 * MINUTE, 0)


def test_a_schedule_ends_with_its_last_tick() -> None:
    wanted = made(end=NOON + MINUTE)
    assert due(wanted, timedelta()) == Ticks((NOON,), 0, None)
    assert first_tick(wanted, NOON + MINUTE) is None


def test_a_schedule_that_ended_while_nobody_fired_still_catches_up() -> None:
    over = made(every=3600, end=NOON - 30 * MINUTE)
    assert due(over, 180 * MINUTE) == Ticks((NOON - 60 * MINUTE,), 2, None)
    assert due(made(every=3600, end=NOON - 30 * MINUTE, catch_up="none"), 180 * MINUTE) == Ticks((), 3, None)


def test_the_first_tick_is_the_start_itself_or_what_follows_it() -> None:
    assert first_tick(made(start=NOON + timedelta(seconds=7)), NOON) == NOON + timedelta(seconds=7)
    assert first_tick(made(cron="0 13 * * *", start=NOON), NOON - 600 * MINUTE) == NOON + 60 * MINUTE
    assert first_tick(made(), NOON) == NOON
    assert first_tick(made(), NOON + timedelta(microseconds=1)) == NOON + MINUTE
    assert first_tick(made(cron="0 12 * * *"), NOON) == NOON


def test_intervals_are_counted_from_the_start_and_else_from_1970() -> None:
    assert next_ticks(made(every=7 * 86_400), NOON, 2) == (
        datetime(2026, 11, 26, tzinfo=UTC),
        datetime(2026, 12, 3, tzinfo=UTC),
    )
    start = NOON - timedelta(seconds=30)
    assert next_ticks(made(start=start), NOON, 2) == (start + MINUTE, start + 2 * MINUTE)
    assert next_ticks(made(end=NOON + 2 * MINUTE), NOON, 5) == (NOON + MINUTE,)


def test_a_row_that_stands_between_two_ticks_goes_on_at_the_next() -> None:
    assert due_ticks(made(), NOON - timedelta(seconds=13), NOON, GRACE) == Ticks((NOON,), 0, NOON + MINUTE)
    assert due_ticks(made(every=3600), NOON + MINUTE, NOON + 2 * MINUTE, GRACE) == Ticks((), 0, NOON + 60 * MINUTE)


YEAR = timedelta(days=365)


@pytest.mark.parametrize("policy", ["none", "last", "all:1000"])
@pytest.mark.parametrize(
    "timing", [{"every": 1}, {"cron": "* * * * * *"}, {"cron": "* * * * *", "zone": "America/New_York"}]
)
def test_a_year_without_anybody_firing_costs_a_few_milliseconds(timing: dict[str, Any], policy: str) -> None:
    """11 ms at most, by a margin for a busy machine; walking the year would take minutes."""
    wanted = made(catch_up=policy, **timing)
    before = time.process_time()
    ticks = due(wanted, YEAR)
    assert time.process_time() - before < 0.1
    assert len(ticks.fire) <= FIRED
    if "every" in timing and policy != "all:1000":
        assert (ticks.missed, ticks.uncounted) == (365 * 86_400 - 50, False)
    if "cron" in timing:
        assert (ticks.missed, ticks.uncounted) == (COUNTED, True)


@given(
    st.integers(1, 7200),
    st.integers(0, 8_000),
    st.integers(0, 7200),
    st.sampled_from(["none", "last", "all:1", "all:5"]),
    st.integers(1, 20),
)
def test_firing_in_any_number_of_rounds_loses_no_tick_and_repeats_none(
    every: int, behind: int, waits: int, policy: str, limit: int
) -> None:
    """Whatever is fired, dropped and left over is the whole, each tick once and in order."""
    wanted, now = made(every=every, catch_up=policy), NOON + timedelta(seconds=waits)
    stands = first_tick(wanted, NOON - timedelta(seconds=behind))
    assert stands is not None
    fired: list[datetime] = []
    missed, start = 0, stands
    while stands <= now:
        ticks = due_ticks(wanted, stands, now, GRACE, limit)
        assert ticks.next_tick is not None
        assert len(ticks.fire) <= limit
        assert ticks.next_tick > stands
        fired += ticks.fire
        missed += ticks.missed
        stands = ticks.next_tick
    step = timedelta(seconds=every)
    come = [start + step * number for number in range((now - start) // step + 1)]
    assert fired == sorted(set(fired))
    assert set(fired) <= set(come)
    assert len(fired) + missed == len(come)
    on_time = {tick for tick in come if tick >= now - timedelta(seconds=GRACE)}
    assert on_time <= set(fired)
