"""Schedules as JSON objects, for commands and files: both spellings of a field, unknown fields refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobs_exec.contracts.schedule import CatchUp, Schedule, tick_text
from jobs_exec.errors import InvalidSchedule, near_matches
from jobs_exec.scheduling.defining import ScheduleOptions, schedule

_SPELLINGS = {
    "catchUp": "catch_up",
    "tickAs": "tick_as",
    "maxAttempts": "max_attempts",
    "orgId": "org_id",
}
FIELDS = ("name", "type", *ScheduleOptions.__annotations__)
"""What a schedule may say in JSON; `every` and `jitter` are seconds, times are ISO 8601 with an offset."""


def schedule_from_json(value: object) -> Schedule:
    """Reads one decoded JSON object; raises `InvalidSchedule` naming the first field that breaks a rule."""
    if not isinstance(value, Mapping):
        raise InvalidSchedule("schedule", f"must be a JSON object, not {_kind(value)}")
    fields: dict[str, Any] = {}
    for name, item in value.items():
        _take(fields, str(name), item)
    for name in ("name", "type"):
        if name not in fields:
            raise InvalidSchedule(name, "is missing; every schedule has one")
    for name in ("start", "end"):
        if fields.get(name) is not None:
            fields[name] = _time(name, fields[name])
    return schedule(**fields)


def schedule_to_json(made: Schedule) -> dict[str, Any]:
    """The object that `schedule_from_json` reads back; without `owner`, which whoever defines it has."""
    catch_up = f"all:{made.catch_up_limit}" if made.catch_up is CatchUp.ALL else made.catch_up.value
    orgs = made.orgs if isinstance(made.orgs, str) else list(made.orgs)
    return {
        "name": made.name,
        "type": made.type,
        **({"cron": made.cron, "zone": made.zone} if made.cron is not None else {"every": made.every}),
        "orgs": str(orgs) if isinstance(orgs, str) else orgs,
        "data": dict(made.data),
        "catchUp": catch_up,
        "overlap": made.overlap.value,
        "jitter": made.jitter,
        "start": None if made.start is None else tick_text(made.start),
        "end": None if made.end is None else tick_text(made.end),
        "tickAs": made.tick_as,
        "priority": made.priority,
        "maxAttempts": made.max_attempts,
        "enabled": made.enabled,
        "orgId": made.org_id,
    }


def _take(fields: dict[str, Any], name: str, item: object) -> None:
    own = _SPELLINGS.get(name, name)
    if own not in FIELDS:
        near = near_matches(own, FIELDS)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FIELDS)}"
        raise InvalidSchedule(name[:64], f"is not a field of a schedule; {hint}")
    if own in fields:
        raise InvalidSchedule(name, f"is given twice (the spellings of {own!r} mean the same field)")
    fields[own] = item


def _time(field: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidSchedule(field, "must be an ISO 8601 time with an offset, such as 2030-01-31T08:00:00Z") from None


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
