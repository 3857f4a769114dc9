"""The shell commands by which a clock outside drives a schedule: one for all its orgs, or one for each.

Each keeps (schedule, org, tick) one piece of work with what executors and `jobs.fire` do about the same tick: `run` asks
the book, and a triggered job has the very key that the book gives it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from jobs_exec.contracts.schedule import Audience, Overlap, tick_key, tick_payload, tick_text
from jobs_exec.errors import InvalidSchedule

if TYPE_CHECKING:
    from jobs_exec.contracts.schedule import Schedule

MOST_CALLS = 100
"""Orgs that are called one by one; for more of them there is the book."""

LATE = "5m"
"""How late a clock may start a command: it then still fires the tick that it was started for."""


_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)
"""Stands for the tick where a text is cut at it."""


class Via(StrEnum):
    """What a clock calls."""

    RUN = "run"
    """``schedules run``, then ``run --drain``: fires by the book, whoever else does."""
    TRIGGER = "trigger"
    """``trigger``: runs each org's job in that process."""
    HTTP = "http"
    """``trigger --url``: sends a signed call for each org's job."""


@dataclass(frozen=True, slots=True)
class Target:
    """A schedule to export: `id` is that of its row, None when it stands in no book; `payload` is its data as JSON text."""

    schedule: Schedule
    id: UUID | None
    payload: str


@dataclass(frozen=True, slots=True)
class Calling:
    """How commands are called: `command` is what stands for ``jobs-exec``; a `budget` of None leaves draining out.

    `directory` is where a crontab calls them; cron itself stays at home.
    """

    via: Via
    command: str
    budget: str | None
    directory: str | None = None


def calls(target: Target, calling: Calling) -> list[str]:
    """Commands that expect the tick in ``$t``. Raises `InvalidSchedule` naming what cannot be said this way."""
    if calling.via is Via.RUN:
        return [_run(target, calling)]
    return [_trigger(target, calling, org) for org in _orgs(target.schedule, calling.via)]


def _run(target: Target, calling: Calling) -> str:
    """`--late` holds the clock to the schedule: one that reads another zone is refused, one that is slow is not."""
    if target.id is None:
        raise InvalidSchedule("schedule", "is in no book yet; start an executor that carries it, or pass --via trigger")
    ref = target.schedule.ref
    words = [ref.name, f"--owner={ref.owner}", f"--tenant={ref.org_id or ''}"]
    fire = f'{calling.command} schedules run {shlex.join(words)} --tick "$t" --late {LATE}'
    return fire if calling.budget is None else f"{fire} && {calling.command} run --drain --budget {calling.budget}"


def _orgs(made: Schedule, via: Via) -> tuple[str, ...]:
    if isinstance(made.orgs, Audience):
        raise InvalidSchedule("orgs", f"are all of the org directory, which --via {via} cannot list; use --via run")
    if len(made.orgs) > MOST_CALLS:
        raise InvalidSchedule("orgs", f"are {len(made.orgs)}, --via {via} calls at most {MOST_CALLS}; use --via run")
    if made.start is not None or made.end is not None:
        raise InvalidSchedule("start", f"and end are kept by the book, --via {via} knows neither; use --via run")
    if made.overlap is Overlap.SKIP:
        raise InvalidSchedule("overlap", f"skip is kept by the book, --via {via} cannot; use --via run")
    return made.orgs


def _trigger(target: Target, calling: Calling, org: str) -> str:
    made = target.schedule
    words = [made.type, f"--org={org}"]
    options = [shlex.join(words), _identity(target), f"--data={_data(target)}"]
    if made.max_attempts is not None:
        options.append(f"--max-attempts={made.max_attempts}")
    if calling.via is Via.HTTP:
        options.append('--url="$JOB_TRIGGER_URL"')
    return f"{calling.command} trigger {' '.join(options)}"


def _identity(target: Target) -> str:
    """The key of the book's own job for that org and tick; outside of a book the name and the tick are as good."""
    if target.id is None:
        return f'{shlex.quote(f"--key=schedule:{target.schedule.ref}")} --tick="$t"'
    return f'--key="{_before_tick(tick_key(target.id, _SAMPLE))}$t"'


def _data(target: Target) -> str:
    """The payload as a word of the shell, with the tick where the schedule wants it."""
    made = target.schedule
    text = tick_payload(target.payload, made.tick_as, _SAMPLE)
    if made.tick_as is None:
        return shlex.quote(text)
    return f'{shlex.quote(_before_tick(text))}"$t"\'"}}\''


def _before_tick(text: str) -> str:
    """What stands before the tick, which both end with."""
    return text.rpartition(tick_text(_SAMPLE))[0]
