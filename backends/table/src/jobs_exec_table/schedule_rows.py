"""Schedules as rows: what the statements are given and what they answer."""

from __future__ import annotations

from jobs_exec.contracts import ScheduleRef


def schedule_key(ref: ScheduleRef) -> str:
    """What ``job_schedules.ref`` is: neither an owner nor a name has a slash in it, an org may."""
    tenant = "" if ref.org_id is None else f"/{ref.org_id}"
    return f"{ref.owner}/{ref.name}{tenant}"
