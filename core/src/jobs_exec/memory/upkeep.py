"""What moves jobs without running them, in memory: promotion, holding, rescue and retention."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

from jobs_exec.contracts.backend import Promoted, PromoteRequest, Rescued, RescueRequest
from jobs_exec.job import AttemptRef, JobState, RunStatus
from jobs_exec.memory.tables import Executor, Row, Tables


def promote(tables: Tables, request: PromoteRequest) -> Promoted:
    """Due jobs become ready, the first due of every org before the second of any; held jobs follow their reason."""
    now = tables.now()
    rows = [row for row in tables.queue.values() if row.queue in request.queues]
    expired = _expire(tables, rows, now)
    released = _release(tables, rows, request, now)
    _reroute(tables)
    held = _hold(tables, rows, request, now)
    due = list(_fair(row for row in rows if _waiting(tables, row) and row.run_at <= now))
    moved = [row for row in due[: request.limit] if not _hold_if_needed(tables, row, request, now)]
    for row in moved:
        row.state = JobState.READY
    return Promoted(
        ready=len(moved),
        expired=expired,
        held=held + len(due[: request.limit]) - len(moved),
        released=released,
        queues=frozenset(row.queue for row in moved),
        held_orgs=frozenset(row.job.org_id for row in rows if row.state is JobState.HELD and row.reason == "org"),
        more=len(due) > request.limit,
        held_types=_missing_types(rows) if request.explain else {},
    )


def _missing_types(rows: list[Row]) -> dict[str, int]:
    held = Counter(row.job.type for row in rows if row.state is JobState.HELD and row.reason == "type")
    return dict(held.most_common())


def _waiting(tables: Tables, row: Row) -> bool:
    return row.state is JobState.SCHEDULED and row.job.id in tables.queue


def _fair(rows: Iterable[Row]) -> list[Row]:
    """By rank inside the org first, so that a million retries of one org do not stand before another's one."""
    orgs: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        orgs[row.job.org_id].append(row)
    for line in orgs.values():
        line.sort(key=lambda row: (row.run_at, row.seq))
    ranked = [(rank, org, row) for org, line in sorted(orgs.items()) for rank, row in enumerate(line)]
    return [row for _, _, row in sorted(ranked, key=lambda item: item[:2])]


def _expire(tables: Tables, rows: list[Row], now: datetime) -> int:
    past = [
        row
        for row in rows
        if row.state in (JobState.SCHEDULED, JobState.HELD) and row.expires_at is not None and row.expires_at <= now
    ]
    for row in past:
        tables.end(row, RunStatus.EXPIRED, reason="expires_at")
        rows.remove(row)
    return len(past)


def _release(tables: Tables, rows: list[Row], request: PromoteRequest, now: datetime) -> int:
    free = [
        row
        for row in rows
        if row.state is JobState.HELD
        and (row.job.org_id in request.active if row.reason == "org" else tables.carried(row.job.type) > 0)
    ]
    for row in free:
        row.release(now)
    return len(free)


def _reroute(tables: Tables) -> None:
    """Ready, scheduled and held jobs follow their type to its queue."""
    for row in tables.queue.values():
        record = tables.types.get(row.job.type)
        if record is not None and row.state is not JobState.RUNNING:
            row.queue = record.queue


def _hold(tables: Tables, rows: list[Row], request: PromoteRequest, now: datetime) -> int:
    ready = [row for row in rows if row.state is JobState.READY]
    return sum(_hold_if_needed(tables, row, request, now) for row in ready)


def _hold_if_needed(tables: Tables, row: Row, request: PromoteRequest, now: datetime) -> bool:
    if row.job.org_id in request.suspended:
        row.hold("org", now)
    elif not tables.carried(row.job.type):
        row.hold("type", now)
    return row.state is JobState.HELD


def rescue(tables: Tables, request: RescueRequest) -> Rescued:
    """Stamps lapsed leases, and takes the jobs of executors back whose stamp is a full lease old."""
    now = time.monotonic()
    lapsed = _stamp(tables, now)
    gone = [each for each in tables.executors.values() if _reapable(each, now)]
    owners = {each.record.id for each in gone}
    lost = [r for r in tables.queue.values() if r.state is JobState.RUNNING and _ownerless(tables, r, owners)]
    lost.sort(key=lambda row: row.job.id)
    dead = sum(_take_back(tables, row, request.max_crashes) for row in lost[: request.limit])
    left = {row.executor for row in lost[request.limit :]}
    for executor in owners - left:
        del tables.executors[executor]
    taken = min(len(lost), request.limit)
    return Rescued(taken - dead, dead, lapsed, len(owners - left), more=len(lost) > request.limit)


def _stamp(tables: Tables, now: float) -> int:
    silent = [e for e in tables.executors.values() if e.lease_until <= now and e.lapsed_at is None]
    for executor in silent:
        executor.lapsed_at = now
    return len(silent)


def _reapable(executor: Executor, now: float) -> bool:
    return executor.lapsed_at is not None and now - executor.lapsed_at >= executor.record.lease


def _ownerless(tables: Tables, row: Row, reaped: set[UUID]) -> bool:
    return row.executor is None or row.executor in reaped or row.executor not in tables.executors


def _take_back(tables: Tables, row: Row, max_crashes: int) -> bool:
    """True when the job is dead: a suspect that was lost again, once too often."""
    row.crashes += 1 if row.suspect else 0
    if row.suspect and (row.crashes >= max_crashes or row.attempts >= row.job.max_attempts):
        tables.end(row, RunStatus.DEAD, reason="crashed")
        return True
    row.leave_attempt(JobState.READY, tables.now(), returned=not row.suspect)
    row.suspect = True
    return False


def give_back_unknown(tables: Tables, executor: UUID, known: Collection[AttemptRef]) -> int:
    """The jobs of an executor that are not among `known` go back to ready, attempt returned, nothing counted."""
    running = [row for row in tables.queue.values() if row.state is JobState.RUNNING and row.executor == executor]
    unknown = [row for row in running if AttemptRef(row.job.id, row.token) not in known]
    for row in unknown:
        row.leave_attempt(JobState.READY, tables.now(), returned=True)
    return len(unknown)


def purge(tables: Tables, retention: float, limit: int) -> int:
    """Deletes keys and runs past their time; a run that an unexpired key points at stays."""
    now = tables.now()
    keys = [work for work, key in tables.keys.items() if key.expires_at <= now][:limit]
    for work in keys:
        del tables.keys[work]
    counted = {key.ref.job_id for key in tables.keys.values()}
    oldest = now - timedelta(seconds=retention)
    old = [i for i, run in tables.runs.items() if run.finished_at < oldest and i not in counted][: limit - len(keys)]
    for job_id in old:
        del tables.runs[job_id]
    return len(keys) + len(old)
