"""Cron expressions: what is taken, and what is refused at which character."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from jobs_exec.errors import InvalidSchedule
from jobs_exec.scheduling.fields import ALIASES, LONGEST, expanded, parse_cron
from jobs_exec.scheduling.walltime import WallTimes

REFUSED = {
    "60 * * * *": (1, "'60' is no minute"),
    "5,61 * * * *": (3, "'61' is no minute"),
    "* 24 * * *": (3, "'24' is no hour"),
    "*/15 8-30 * * *": (6, "'8-30' is no hour"),
    "0 0 32 * *": (5, "day of the month"),
    "0 0 0 * *": (5, "day of the month"),
    "0 0 1 13 *": (7, "'13' is no month"),
    "0 0 1 FEB,FOO *": (11, "'FOO' is no month"),
    "* * * * 8": (9, "day of the week"),
    "* * * * MON-XX": (9, "'MON-XX' is no day of the week"),
    "* * * * MON#6": (9, "MON#2 (the second Monday)"),
    "*/0 * * * *": (1, "'*/0' is no minute"),
    "1,,2 * * * *": (3, "an empty term"),
    ", * * * *": (1, "an empty term"),
    "30-10 * * * *": (1, "'30-10'"),
    "-5 * * * *": (1, "'-5'"),
    "1.5 * * * *": (1, "'1.5'"),
    "0 0 30 2 *": (5, "never matches"),
    "0 0 31 4,6,9,11 *": (5, "never matches"),
    "61 0 0 * * *": (1, "'61' is no second"),
    "0 61 0 * * *": (3, "'61' is no minute"),
    "": (1, "has 0 field(s)"),
    "* * * *": (8, "has 4 field(s)"),
    "* * * * * * 2026": (13, "has 7 field(s)"),
    "* * * * *\n": (10, "holds a character"),
    "٣ * * * *": (1, "holds a character"),
    "* * * * \0": (9, "holds a character"),
    "  @dayly": (3, "did you mean @daily?"),
    "@every 5m": (1, "pass every="),
    "@reboot": (1, "is no alias"),
    "0 0 * * *; select 1": (19, "has 7 field(s)"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_bad_expression_is_refused_at_the_character(text: str) -> None:
    position, problem = REFUSED[text]
    with pytest.raises(InvalidSchedule) as refused:
        parse_cron(text)
    assert (refused.value.field, refused.value.position) == ("cron", position)
    assert problem in str(refused.value)
    assert f"character {position}: " in str(refused.value)


@pytest.mark.parametrize("value", [None, 5, b"* * * * *", ["*"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidSchedule, match="must be text"):
        parse_cron(value)


def test_an_expression_is_bounded_in_length() -> None:
    longest = "1," * ((LONGEST - 9) // 2) + "1 * * * *"
    assert len(longest) in (LONGEST - 1, LONGEST)
    parse_cron(longest)
    with pytest.raises(InvalidSchedule, match=f"at most {LONGEST}"):
        parse_cron(longest + "  ")


def test_the_five_aliases_and_two_second_names_stand_for_their_fields() -> None:
    assert list(ALIASES) == ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"]
    second = {"@midnight": "@daily", "@annually": "@yearly", " @Daily ": "@daily"}
    assert {name: expanded(name) for name in second} == {name: ALIASES[alias] for name, alias in second.items()}
    for name, fields in ALIASES.items():
        assert parse_cron(name).parts == parse_cron(fields).parts


@given(st.text(alphabet="0123456789*,-/#LW @SUNMOJAFEB\t", max_size=40))
def test_exactly_what_cronsim_takes_is_taken(text: str) -> None:
    try:
        CronSim(text, datetime(1970, 1, 1, tzinfo=UTC))
    except CronSimError:
        taken = False
    else:
        taken = True
    if taken or text.strip().lower() in ALIASES:
        parse_cron(text)
        return
    with pytest.raises(InvalidSchedule) as refused:
        parse_cron(text)
    assert refused.value.position is not None
    assert 1 <= refused.value.position <= len(text) + 1


@given(st.lists(st.text(min_size=1, max_size=30), min_size=5, max_size=6))
def test_whatever_is_handed_in_is_refused_with_the_one_error(fields: list[str]) -> None:
    try:
        parse_cron(" ".join(fields))
    except InvalidSchedule:
        return


def seconds(work: Callable[[], object]) -> float:
    """CPU time, the best of three."""
    taken = []
    for _ in range(3):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return min(taken)


COSTLY = (
    "*/1," * 61 + "* * * * *",
    "1," * 122 + "99 * * * *",
    "* * * * " + "MON#1," * 40 + "MON#9",
    "0 0 */31 * MON#5",
    "0 0 */31 2 MON#5",
    "0 0 29 2 */7",
    "59 59 23 */31 12 SUN#5",
)


@pytest.mark.parametrize("text", COSTLY)
def test_no_expression_costs_more_than_a_few_milliseconds(text: str) -> None:
    """5 ms by a margin of five for a busy machine; the costliest takes 1 ms."""

    def work() -> None:
        try:
            walls = WallTimes(text)
        except InvalidSchedule:
            return
        walls.first(datetime(2001, 3, 1))
        walls.last(datetime(2001, 3, 1))

    assert seconds(work) < 0.025


def test_the_first_and_the_last_match_are_found_on_the_wall() -> None:
    walls = WallTimes("10,40 30 8-10 L * *")
    assert walls.first(datetime(2026, 2, 28, 9, 30, 11)) == datetime(2026, 2, 28, 9, 30, 40)
    assert walls.first(datetime(2026, 2, 28, 10, 30, 41)) == datetime(2026, 3, 31, 8, 30, 10)
    assert walls.last(datetime(2026, 3, 31, 8, 30, 9)) == datetime(2026, 2, 28, 10, 30, 40)
    assert walls.last(datetime(2026, 2, 28, 9, 30, 40)) == datetime(2026, 2, 28, 9, 30, 40)


def test_what_comes_once_in_forty_years_is_found_and_what_never_comes_is_not() -> None:
    leap_sunday = WallTimes("0 0 29 2 */7")
    assert leap_sunday.first(datetime(2088, 3, 1)) == datetime(2128, 2, 29)
    assert leap_sunday.last(datetime(2128, 2, 28)) == datetime(2088, 2, 29)
    never = WallTimes("0 0 */31 2 MON#5")
    assert never.first(datetime(2026, 1, 1)) is None
    assert never.last(datetime(2026, 1, 1)) is None
