"""Cron expressions in the words of another clock: what it would read otherwise, or not at all, is refused.

Fields are written as numbers, which every clock reads alike; ``*`` and ``*/n`` stay as they are, because a day field
that begins with a star changes how the two day fields are joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs_exec.errors import InvalidSchedule

if TYPE_CHECKING:
    from cronsim import CronSim

    from jobs_exec.contracts.schedule import Schedule

_FULL = (range(60), range(24), range(1, 32), range(1, 13), range(7))
"""What the five fields may hold: minute, hour, day of the month, month, day of the week."""

_STEP = re.compile(r"\*/\d+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A clock: `name` for people; `step_is_star` when it joins the day fields by "and" for ``*/2`` as it does for ``*``.

    Vixie's cron and its heirs (also pg_cron) do so, as the expressions of schedules do; the library that Kubernetes
    uses joins them by "or".
    """

    name: str
    step_is_star: bool


CRONTAB = Dialect("crontab", step_is_star=True)
PG_CRON = Dialect("pg_cron", step_is_star=True)
KUBERNETES = Dialect("Kubernetes", step_is_star=False)


def expression_for(made: Schedule, dialect: Dialect) -> str:
    """The five fields that tick as `made` does. Raises `InvalidSchedule` when `dialect` has no such expression."""
    from jobs_exec.scheduling.fields import expanded, parse_cron

    if made.cron is None:
        raise _refused(dialect, "has no intervals; define the schedule with a cron expression")
    if len(expanded(made.cron).split()) != 5:
        raise _refused(dialect, "has no seconds; define the schedule with five fields")
    sim = parse_cron(expanded(made.cron))
    minute, hour, month = (_field(sim, number) for number in (0, 1, 3))
    day, weekday = _days(sim, dialect)
    return " ".join((minute, hour, day, month, weekday))


def _days(sim: CronSim, dialect: Dialect) -> tuple[str, str]:
    """The two day fields, which are joined by "or" when both are restricted and neither begins with a star."""
    days, weekdays = _numbers(sim, 2, dialect), _numbers(sim, 4, dialect)
    whole = [set(numbers) == set(full) for numbers, full in ((days, _FULL[2]), (weekdays, _FULL[4]))]
    if any(whole) and not sim.day_and:
        return "*", "*"
    if not any(whole) and sim.day_and:
        parts = (sim.parts[3], sim.parts[5])
        if not dialect.step_is_star or any(part.startswith("*") and not _STEP.fullmatch(part) for part in parts):
            raise _refused(dialect, "does not combine a step of days with a day of the week; name the days themselves")
        return _field(sim, 2), _field(sim, 4)
    return ("*" if whole[0] else _list(days)), ("*" if whole[1] else _list(weekdays))


def _field(sim: CronSim, number: int) -> str:
    part = sim.parts[number + 1]
    if part == "*" or _STEP.fullmatch(part):
        return part
    return _list(_numbers(sim, number, None))


def _numbers(sim: CronSim, number: int, dialect: Dialect | None) -> list[int]:
    """What a field holds, Sunday as 0. Raises `InvalidSchedule` for days that only their month tells."""
    found = (sim.minutes, sim.hours, sim.days, sim.months, sim.weekdays)[number]
    numbers = [each for each in found if isinstance(each, int) and each >= 0]
    if len(numbers) < len(found) and dialect is not None:
        raise _refused(dialect, "has no last day, last weekday or nth day of the week")
    return sorted({each % 7 for each in numbers} if number == 4 else numbers)


def _list(numbers: Iterable[int]) -> str:
    """``1-5,7``: runs of three and more as ranges."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and each == runs[-1][-1] + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def _refused(dialect: Dialect, problem: str) -> InvalidSchedule:
    return InvalidSchedule("cron", f"{dialect.name} {problem}")
