"""Schedules as rows: what the statements are given and what they answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from psycopg.rows import TupleRow

from jobs_exec.contracts import (
    Audience,
    CatchUp,
    Overlap,
    Schedule,
    ScheduleRecord,
    ScheduleRef,
    ScheduleState,
    ScheduleView,
)


def schedule_key(ref: ScheduleRef) -> str:
    """What ``job_schedules.ref`` is: neither an owner nor a name has a slash in it, an org may."""
    tenant = "" if ref.org_id is None else f"/{ref.org_id}"
    return f"{ref.owner}/{ref.name}{tenant}"


def row_of(record: ScheduleRecord) -> dict[str, object]:
    """The parameters of ``schedule_put``, but for ``replace``."""
    made = record.schedule
    return {
        "owner": made.owner,
        "org_id": made.org_id,
        "name": made.name,
        "type": made.type,
        "payload": record.payload,
        "cron": made.cron,
        "every": made.every,
        "zone": made.zone,
        "orgs": None if isinstance(made.orgs, Audience) else list(made.orgs),
        "catch_up": made.catch_up.value,
        "catch_up_limit": made.catch_up_limit,
        "overlap": made.overlap.value,
        "jitter": made.jitter,
        "start": made.start,
        "end": made.end,
        "tick_as": made.tick_as,
        "priority": made.priority,
        "max_attempts": made.max_attempts,
        "enabled": made.enabled,
        "next_tick": record.next_tick,
    }


def view_of(row: TupleRow) -> ScheduleView:
    """A row of ``schedules_list`` or ``schedules_due``."""
    schedule_id, name, owner, org_id, type_name, state, cron, every, zone, orgs, *rest = row
    catch_up, limit, overlap, jitter, start, end, tick_as, priority, max_attempts, enabled, payload, *stand = rest
    next_tick, last_tick, fired, missed = stand
    made = Schedule(
        name=name,
        type=type_name,
        data=json.loads(payload),
        cron=cron,
        every=every,
        zone=zone,
        orgs=Audience.ALL if orgs is None else tuple(orgs),
        catch_up=CatchUp(catch_up),
        catch_up_limit=limit,
        overlap=Overlap(overlap),
        jitter=jitter,
        start=utc(start),
        end=utc(end),
        tick_as=tick_as,
        priority=priority,
        max_attempts=max_attempts,
        enabled=enabled,
        owner=owner,
        org_id=org_id,
    )
    return ScheduleView(
        UUID(str(schedule_id)), made, ScheduleState(state), utc(next_tick), utc(last_tick), fired, missed
    )


def utc(time: datetime | None) -> datetime | None:
    """A time of the session's zone in UTC: in the hour that a zone has twice, Python calls equal times unequal."""
    return None if time is None else time.astimezone(UTC)
