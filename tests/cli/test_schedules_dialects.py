"""Expressions for other clocks: they tick as the schedule does, by the rules of that clock, or are refused."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from clocks import TICK, daily, kubernetes_matches
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from jobs_exec.cli.schedules.dialects import CRONTAB, KUBERNETES, Dialect, expression_for
from jobs_exec.contracts import Schedule
from jobs_exec.errors import InvalidSchedule

NO_STEPS = "does not combine a step of days with a day of the week; name the days themselves"


def written(made: Schedule, dialect: Dialect) -> tuple[str | None, str]:
    """The expression, or why there is none."""
    try:
        return expression_for(made, dialect), ""
    except InvalidSchedule as error:
        return None, str(error)


def terms(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.tuples(spans | number.map(str) | st.just("*"), st.integers(1, 9)).map(
        lambda pair: f"{pair[0]}/{pair[1]}"
    )
    return st.lists(st.just("*") | number.map(str) | spans | steps, min_size=1, max_size=3).map(",".join)


expressions = st.tuples(terms(0, 59), terms(0, 23), terms(1, 28), terms(1, 12), terms(0, 7)).map(" ".join)


@given(expressions)
def test_a_crontab_s_expression_ticks_as_the_schedule_does(expression: str) -> None:
    text, problem = written(daily(cron=expression), CRONTAB)
    if text is None:
        assert problem == f"cron: crontab {NO_STEPS}"
        return
    ours, theirs = CronSim(expression, TICK), CronSim(text, TICK)
    assert [next(ours) for _ in range(20)] == [next(theirs) for _ in range(20)]


@given(expressions)
def test_an_expression_for_kubernetes_matches_the_same_days_by_its_own_rules(expression: str) -> None:
    text, problem = written(daily(cron=expression), KUBERNETES)
    if text is None:
        assert problem == f"cron: Kubernetes {NO_STEPS}"
        return
    sim = CronSim(expression, TICK)
    days = [date(2027, 1, 1) + timedelta(number) for number in range(365)]
    ours = [day for day in days if day.month in sim.months and sim.match_day(day)]
    assert [day for day in days if kubernetes_matches(text, day)] == ours


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@daily", "0 0 * * *"),
        ("*/15 8-18 * JAN-MAR MON-FRI", "*/15 8-18 * 1-3 1-5"),
        ("0 0 1-31 * 1", "0 0 * * *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("5/20 0 1,15 * 5", "5,25,45 0 1,15 * 5"),
    ],
)
def test_names_steps_and_sundays_are_written_as_every_clock_reads_them(expression: str, expected: str) -> None:
    assert expression_for(daily(cron=expression), KUBERNETES) == expected


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        ({"cron": "30 0 2 * * *"}, "crontab has no seconds"),
        ({"cron": None, "every": 60}, "crontab has no intervals"),
        ({"cron": "0 0 L * *"}, "crontab has no last day"),
        ({"cron": "0 0 * * MON#2"}, "crontab has no last day, last weekday or nth day"),
    ],
)
def test_what_a_clock_cannot_say_is_refused_by_name(timing: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSchedule, match=said):
        expression_for(daily(**timing), CRONTAB)


def test_kubernetes_would_join_a_step_of_days_with_a_weekday_by_or() -> None:
    made = daily(cron="0 0 */2 * MON")
    assert expression_for(made, CRONTAB) == "0 0 */2 * 1"
    with pytest.raises(InvalidSchedule, match="Kubernetes does not combine"):
        expression_for(made, KUBERNETES)
