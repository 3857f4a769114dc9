"""Starting one job at once: it is enqueued like any other, and the row that counts is started when it may be."""

from __future__ import annotations

from collections.abc import Callable

from jobs_exec.contracts.backend import Start, StartOutcome, StartRequest
from jobs_exec.job import JobState, NewJob, Receipt, RunRef, RunStatus
from jobs_exec.memory.claiming import begin
from jobs_exec.memory.tables import Row, Run, Tables


def start(tables: Tables, request: StartRequest, enqueue: Callable[[NewJob], Receipt]) -> Start:
    """See `QueueBackend.start`."""
    executor = tables.executors.get(request.executor)
    if executor is None or not executor.live:
        return Start(StartOutcome.NO_LEASE, None)
    _drop_expired(tables, request.job)
    past = None if request.job.digest in tables.live else _ended(tables, request.job)
    if past is not None:
        return _about(StartOutcome(past.status.value), past.row, reason=past.reason)
    receipt = enqueue(request.job)
    done = tables.success(request.job.run_hash) if receipt.of_state == "succeeded" else None
    if done is not None:
        return _succeeded(tables, done, conflict=receipt.conflict)
    return _begun(tables, request, tables.queue[receipt.id], conflict=receipt.conflict)


def past(tables: Tables, job: NewJob) -> Start | None:
    """See `QueueBackend.past`."""
    if job.digest in tables.live:
        return None
    done = tables.success(job.run_hash)
    if done is not None:
        return _succeeded(tables, done, conflict=False)
    ended = _ended(tables, job)
    return None if ended is None else _about(StartOutcome(ended.status.value), ended.row, reason=ended.reason)


def _begun(tables: Tables, request: StartRequest, row: Row, *, conflict: bool) -> Start:
    now = tables.now()
    if row.expires_at is not None and row.expires_at <= now:
        tables.end(row, RunStatus.EXPIRED, reason="expires_at")
        return _about(StartOutcome.EXPIRED, row, reason="expires_at")
    outcome = _standing(tables, row)
    if outcome is not StartOutcome.STARTED:
        wait = max(0.0, (row.run_at - now).total_seconds())
        reason = row.reason if outcome is StartOutcome.HELD else _last_reason(row)
        return _about(outcome, row, wait=wait, conflict=conflict, reason=reason)
    if row.state is JobState.HELD:
        row.release(now)
    job = begin(row, request.executor, now)
    return Start(outcome, job.id, job, attempts=job.attempt, max_attempts=job.max_attempts, conflict=conflict)


def _standing(tables: Tables, row: Row) -> StartOutcome:
    if row.state is JobState.RUNNING:
        return StartOutcome.RUNNING
    if row.state is JobState.HELD and row.reason != "type":
        return StartOutcome.HELD
    due = row.state is JobState.READY or row.run_at <= tables.now()
    return StartOutcome.STARTED if due else StartOutcome.WAITING


def _drop_expired(tables: Tables, job: NewJob) -> None:
    """A live job past its time ends, so that the one that is brought now is a new one."""
    live = tables.queue.get(tables.live.get(job.digest, job.id))
    if live is None or live.state is JobState.RUNNING or live.expires_at is None:
        return
    if live.expires_at <= tables.now():
        tables.end(live, RunStatus.EXPIRED, reason="expires_at")


def _ended(tables: Tables, job: NewJob) -> Run | None:
    """The last run of this identity, when it is dead or was cancelled and no success counts."""
    if tables.success(job.run_hash) is not None:
        return None
    past = [run for run in tables.runs.values() if run.row.job.run_hash == job.run_hash]
    last = max(past, key=lambda run: run.finished_at, default=None)
    return last if last is not None and last.status in (RunStatus.DEAD, RunStatus.CANCELLED) else None


def _succeeded(tables: Tables, done: RunRef, *, conflict: bool) -> Start:
    run = tables.runs.get(done.job_id)
    attempts, most = (run.row.attempts, run.row.job.max_attempts) if run is not None else (0, 0)
    return Start(StartOutcome.SUCCEEDED, done.job_id, None, done, 0.0, attempts, most, conflict=conflict)


def _about(
    outcome: StartOutcome, row: Row, *, wait: float = 0.0, conflict: bool = False, reason: str | None = None
) -> Start:
    most = row.job.max_attempts
    return Start(outcome, row.job.id, None, None, wait, row.attempts, most, conflict=conflict, reason=reason)


def _last_reason(row: Row) -> str | None:
    return row.errors[-1].get("reason") if row.errors else None
