"""The schedules of code, together: no two of one name, and nothing that could never run; and the data of any schedule.

No expression is read here and no clock asked, so that a host is made without cronsim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs_exec.contracts.handler import JobTable
from jobs_exec.contracts.schedule import Audience, Schedule, tick_payload, tick_text
from jobs_exec.envelope import encode_payload
from jobs_exec.errors import InvalidJob, InvalidSchedule, PayloadTooLarge
from jobs_exec.registry import APPLICATION

SOME_TICK = datetime(2026, 1, 1, tzinfo=UTC)
"""Stands for any tick where a payload is checked: all are written alike."""


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule and where it came from: the entry point that answered, or ``register_schedule``."""

    schedule: Schedule
    source: str

    @property
    def place(self) -> str:
        """For people: who defined it, and what it runs."""
        return f"{self.schedule.owner} ({self.source}, job type {self.schedule.type})"


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence about a schedule; `of_plugin` is False for one that the application defined."""

    text: str
    of_plugin: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What schedules are held to: the job types of this process, whether orgs can be listed, the longest payload."""

    job_types: JobTable
    has_directory: bool
    max_payload_bytes: int


def compile_schedules(found: Iterable[Found], rules: Rules) -> tuple[tuple[Schedule, ...], list[Problem]]:
    """Those that can be used, by owner and name, and one problem for each of the others."""
    kept: dict[tuple[str, str], Found] = {}
    problems: list[Problem] = []
    for each in found:
        first = kept.setdefault((each.schedule.owner, each.schedule.name), each)
        text = _duplicate(first, each) if first is not each else _misfit(each.schedule, rules)
        if text is None:
            continue
        problems.append(Problem(text, each.schedule.owner != APPLICATION))
        if first is each:
            del kept[each.schedule.owner, each.schedule.name]
    return tuple(kept[key].schedule for key in sorted(kept)), problems


def _duplicate(first: Found, second: Found) -> str | None:
    if first.schedule == second.schedule:
        return None
    return f"schedule {first.schedule.name!r} is defined by {first.place} and by {second.place}; rename one of them"


def _misfit(made: Schedule, rules: Rules) -> str | None:
    if made.org_id is not None:
        return f"schedule {made.ref} names a tenant; those of code belong to none, pass orgs= instead of org_id="
    if made.orgs is Audience.ALL and made.enabled and not rules.has_directory:
        return (
            f"schedule {made.ref} is for all orgs, but there is no org directory to list them; set JOB_ORG_TABLE, "
            "install a plugin with the hook org_directory, or name the orgs"
        )
    job_type = rules.job_types.get(made.type)
    try:
        payload_text(made, rules.max_payload_bytes)
        if job_type is not None:
            job_type.payload.encode(sample_data(made), rules.max_payload_bytes)
    except (InvalidJob, InvalidSchedule) as error:
        return f"schedule {made.ref} does not fit its job type {made.type}: {error}"
    return None


def sample_data(made: Schedule) -> Mapping[str, Any]:
    """The data of a job of `made`, at some tick: what a payload model is held to before there is a job."""
    return made.data if made.tick_as is None else {**made.data, made.tick_as: tick_text(SOME_TICK)}


def payload_text(made: Schedule, max_payload_bytes: int) -> str:
    """The data as JSON text; raises `InvalidSchedule` when it is too long, with the tick in it."""
    try:
        text = encode_payload(made.data, max_payload_bytes)
        size = len(tick_payload(text, made.tick_as, SOME_TICK).encode())
        if size > max_payload_bytes:
            raise PayloadTooLarge(size, max_payload_bytes)
    except PayloadTooLarge as error:
        raise InvalidSchedule("data", error.problem) from None
    return text
