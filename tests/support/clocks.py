"""Other clocks by their own rules: how crons of different descent read a line, and Kubernetes a command and a day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from jobs_exec import schedule
from jobs_exec.cli.schedules.calls import Target
from jobs_exec.contracts import Schedule
from jobs_exec.envelope import encode_payload

ID = UUID(int=5)
MINUTE = 29_927_700
TICK = datetime.fromtimestamp(MINUTE * 60, UTC)
"""2026-11-26T03:00:00Z, the minute of that number since 1970."""


def daily(**options: Any) -> Schedule:
    """A schedule of one org at half past two, or what is said instead."""
    return schedule("nightly", "report", **{"cron": "30 2 * * *", "orgs": "acme", **options})


def target(made: Schedule, id: UUID | None = ID) -> Target:
    """The schedule as it stands in a book, or in none."""
    return Target(made, id, encode_payload(made.data, 100_000))


def as_debian_reads(line: str) -> str:
    """What the shell gets of a crontab's command: a backslash is taken from ``\\%`` and from ``\\\\``."""
    return _read(line, "%\\")


def as_cronie_reads(line: str) -> str:
    """The same by cronie, which leaves two backslashes as they are."""
    return _read(line, "%")


def _read(line: str, escaped: str) -> str:
    out = ""
    after_backslash = False
    for char in line:
        if after_backslash:
            out = out[:-1] + char if char in escaped else out + char
            after_backslash = False
        elif char == "%":
            raise AssertionError("the command ends at a percent sign")
        else:
            out += char
            after_backslash = char == "\\"
    return out


def as_a_container_gets(word: str, environment: dict[str, str]) -> str:
    """A word of a container's command: ``$(NAME)`` is replaced where there is such a variable, ``$$`` is one ``$``."""
    out, at = "", 0
    while at < len(word):
        if word[at] != "$" or at + 1 == len(word):
            out, at = out + word[at], at + 1
        elif word[at + 1] == "$":
            out, at = out + "$", at + 2
        elif word[at + 1] == "(" and (end := word.find(")", at)) > 0:
            name = word[at + 2 : end]
            out, at = out + environment.get(name, f"$({name})"), end + 1
        else:
            out, at = out + word[at : at + 2], at + 2
    return out


def kubernetes_matches(expression: str, day: date) -> bool:
    """Whether the library that Kubernetes uses takes a day for one of `expression`'s (five fields of numbers)."""
    _, _, days, months, weekdays = expression.split()
    if day.month not in _numbers(months, 1, 12):
        return False
    by_day = day.day in _numbers(days, 1, 31)
    by_weekday = day.isoweekday() % 7 in _numbers(weekdays, 0, 6)
    # A star with a step is no star to it.
    either = "*" not in (days, weekdays)
    return by_day or by_weekday if either else by_day and by_weekday


def _numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        start, end = (low, high) if span == "*" else (int(first), int(last or first))
        assert low <= start <= end <= high, term
        found.update(range(start, end + 1, int(step or 1)))
    return found


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The pod that a CronJob makes."""
    spec = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec
