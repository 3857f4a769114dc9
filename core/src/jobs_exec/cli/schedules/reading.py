"""Files of schedules: one JSON object, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs_exec.errors import InvalidSchedule

if TYPE_CHECKING:
    from jobs_exec.contracts.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule of a file, or what is wrong with it; `line` is where it begins."""

    line: int
    schedule: Schedule | None = None
    error: InvalidSchedule | None = None


def entries(raw: bytes) -> Iterator[Entry]:
    """Reads a whole file; an entry that cannot be read does not keep the others from it."""
    from jobs_exec.scheduling import reading

    for line, text in _objects(raw):
        try:
            yield Entry(line, schedule=reading.schedule_from_json(_decoded(text)))
        except InvalidSchedule as error:
            yield Entry(line, error=error)


def _objects(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The file as one object when it is one, which may be laid out over many lines; else its lines."""
    lines = [(number, line) for number, line in enumerate(raw.splitlines(), start=1) if line.strip()]
    if len(lines) > 1 and _is_object(raw):
        yield lines[0][0], raw
    else:
        yield from lines


def _is_object(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidSchedule("schedule", "is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InvalidSchedule("schedule", f"is not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError):
        raise InvalidSchedule("schedule", "is not JSON that can be read") from None
