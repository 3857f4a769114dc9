"""Cron expressions, read by cronsim and refused with the position of what is wrong.

Five fields (minute, hour, day of the month, month, day of the week) or six with seconds first, or an alias. cronsim
decides what a field may hold; it names only the field of the first fault, so the character is found here by trying
each field, then each term of the guilty one, in an expression of stars. Length and number of terms are bounded by
`LONGEST`: the costliest expression of that length is read in 0.4 ms and refused in 1 ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from jobs_exec.errors import InvalidSchedule, near_matches

LONGEST = 256
"""Characters of an expression."""

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
"""The five usual ones; ``@midnight`` and ``@annually`` are the second names of two of them."""

_SECOND_NAMES = {"@midnight": "@daily", "@annually": "@yearly"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NAMES = ("second", "minute", "hour", "day of the month", "month", "day of the week")
_TAKES = (
    "0 to 59",
    "0 to 59",
    "0 to 23",
    "1 to 31, L (the last day) or LW (the last weekday)",
    "1 to 12 or JAN to DEC",
    "0 to 7 or SUN to SAT, MON#2 (the second Monday) or 5L (the last Friday)",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an expression; `position` is its first character, from 1."""

    text: str
    position: int


def expanded(text: str) -> str:
    """The fields behind an alias; any other text as it is. Raises `InvalidSchedule`."""
    if not text.strip().startswith("@"):
        return text
    name = text.strip().lower()
    name = _SECOND_NAMES.get(name, name)
    if name not in ALIASES:
        near = near_matches(name, [*ALIASES, *_SECOND_NAMES])
        hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(ALIASES)}; for others pass every="
        raise _refused(f"{text.strip()[:32]!r} is no alias; {hint}", text.index("@") + 1)
    return ALIASES[name]


def parse_cron(text: object) -> CronSim:
    """The expression as cronsim reads it, at an arbitrary time. Raises `InvalidSchedule` with the position."""
    if not isinstance(text, str):
        raise _refused(f"must be text such as '*/15 * * * *', not {type(text).__name__}", None)
    if len(text) > LONGEST:
        raise _refused(f"has {len(text)} characters, at most {LONGEST} are allowed", LONGEST + 1)
    stray = re.search(r"[^\x20-\x7e\t]", text)
    if stray:
        raise _refused("holds a character that no field has", stray.start() + 1)
    fields = expanded(text)
    parts = [Part(match[0], match.start() + 1) for match in re.finditer(r"\S+", fields)]
    if len(parts) not in (5, 6):
        position = parts[6].position if len(parts) > 6 else len(text.rstrip()) + 1
        raise _refused(f"has {len(parts)} field(s); 5 are needed (minute first) or 6 (second first)", position)
    return _read(fields) or _blame(parts)


def _blame(parts: list[Part]) -> CronSim:
    """Raises the error that says which part is wrong."""
    first = 6 - len(parts)
    for number, part in enumerate(parts, first):
        if _alone(part.text, number) is None:
            term = next((each for each in _terms(part) if _alone(each.text, number) is None), part)
            shown = repr(term.text[:32]) if term.text else "an empty term"
            raise _refused(f"{shown} is no {_NAMES[number]}; it takes {_TAKES[number]}", term.position)
    raise _refused("no month has that day; the expression never matches", parts[3 - first].position)


def _terms(part: Part) -> Iterator[Part]:
    position = part.position
    for text in part.text.split(","):
        yield Part(text, position)
        position += len(text) + 1


def _alone(text: str, number: int) -> CronSim | None:
    """A field on its own; an empty one would shift the others."""
    fields = ["*"] * 6
    fields[number] = text or "?"
    if number == 3:
        fields[5] = "0"  # the day of the month need not exist in every month, the day of the week will do
    return _read(" ".join(fields))


def _read(fields: str) -> CronSim | None:
    try:
        return CronSim(fields, _EPOCH)
    except CronSimError:
        return None


def _refused(problem: str, position: int | None) -> InvalidSchedule:
    where = "" if position is None else f"character {position}: "
    return InvalidSchedule("cron", f"{where}{problem}", position)
