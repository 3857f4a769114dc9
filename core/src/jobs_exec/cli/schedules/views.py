"""Schedules and their ticks as rows and objects to print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobs_exec.cli.output import distance
from jobs_exec.contracts.schedule import Audience, tick_text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from jobs_exec.contracts.schedule import Schedule, ScheduleView

SCHEDULE_COLUMNS = ("name", "owner", "tenant", "type", "when", "orgs", "state", "next_tick", "last_tick", "missed")
TICK_COLUMNS = ("name", "tick", "local", "note")


def schedule_object(view: ScheduleView) -> dict[str, Any]:
    """Where it stands, and its definition as `schedules add --from` reads it."""
    from jobs_exec.scheduling.reading import schedule_to_json

    return {
        "id": view.id,
        "owner": view.schedule.owner,
        "state": view.state.value,
        "next_tick": _text(view.next_tick),
        "last_tick": _text(view.last_tick),
        "fired": view.fired,
        "missed": view.missed,
        "schedule": schedule_to_json(view.schedule),
    }


def schedule_row(view: ScheduleView) -> dict[str, Any]:
    """One line of a listing."""
    made = view.schedule
    return {
        "name": made.name,
        "owner": made.owner,
        "tenant": made.org_id,
        "type": made.type,
        "when": when(made),
        "orgs": orgs(made),
        "state": view.state.value,
        "next_tick": distance(view.next_tick),
        "last_tick": distance(view.last_tick),
        "missed": view.missed or None,
    }


def when(made: Schedule) -> str:
    """The expression with its zone, or the interval."""
    if made.cron is None:
        return f"every {made.every} s"
    return made.cron if made.zone == "UTC" else f"{made.cron} {made.zone}"


def orgs(made: Schedule) -> str:
    """``all``, the org, or how many."""
    if isinstance(made.orgs, Audience):
        return "all"
    return made.orgs[0] if len(made.orgs) == 1 else f"{len(made.orgs)} orgs"


@dataclass(frozen=True, slots=True)
class TickLine:
    """A tick in UTC and on the wall of a zone; `note` says that the clocks were changed since the one before."""

    tick: str
    local: str
    zone: str
    note: str | None


def tick_lines(ticks: Iterable[datetime], zone: ZoneInfo, before: datetime) -> Iterator[TickLine]:
    """The ticks as they are shown; changes of the clocks are looked for since `before`."""
    offset = before.astimezone(zone).utcoffset()
    for tick in ticks:
        local = tick.astimezone(zone)
        changed = local.utcoffset() != offset
        offset = local.utcoffset()
        yield TickLine(tick_text(tick), local.isoformat(), zone.key, _note(local, changed=changed))


def _note(local: datetime, *, changed: bool) -> str | None:
    again = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    notes = [f"the clocks were changed, now {local:%Z}"] if changed else []
    if again:
        notes.append("this hour comes twice, " + ("the second time" if local.fold else "the first time"))
    return "; ".join(notes) or None


def _text(tick: datetime | None) -> str | None:
    return None if tick is None else tick_text(tick.astimezone(UTC))
