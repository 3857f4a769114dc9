"""What people and tools ask of the memory backend: reads, cancel and redrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

from jobs_exec.contracts.operator import CancelOutcome, ExecutorView, JobFilter, OrgView, RedriveOutcome, TypeView
from jobs_exec.errors import JobNotFound
from jobs_exec.identity import Identity
from jobs_exec.job import JobState, JobView, RunStatus
from jobs_exec.memory.tables import Executor, Row, Run, Tables


class MemoryOperator:
    """See `jobs_exec.contracts.Operator`."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def jobs(self, where: JobFilter) -> list[JobView]:
        """The jobs that match, newest first; payloads and results are left out."""
        matching = [view for view in self._views() if _matches(view, where)]
        return sorted(matching, key=lambda view: view.id, reverse=True)[: where.limit]

    async def job(self, job_id: UUID) -> JobView:
        """One job with everything kept about it. Raises `JobNotFound`."""
        if row := self.tables.queue.get(job_id):
            return _live_view(row, row.job.payload)
        if run := self.tables.runs.get(job_id):
            return _run_view(run, _kept_payload(run), run.result)
        raise JobNotFound(job_id)

    async def orgs(self, limit: int = 100) -> list[OrgView]:
        """Orgs with live jobs or dead runs, longest waiting first."""
        dead = Counter(r.row.job.org_id for r in self.tables.runs.values() if r.status is RunStatus.DEAD)
        names = {row.job.org_id for row in self.tables.queue.values()} | set(dead)
        views = [self._org(name, dead[name]) for name in names]
        return sorted(views, key=lambda view: (-(view.oldest_wait or 0), view.org_id))[:limit]

    def _org(self, name: str, dead: int) -> OrgView:
        rows = [row for row in self.tables.queue.values() if row.job.org_id == name]
        waits = [row.age(self.tables.now()) for row in rows if row.state is JobState.READY]
        return OrgView(name, **_counts(rows), dead=dead, oldest_wait=max(waits, default=None))

    async def types(self) -> list[TypeView]:
        """All known types by name."""
        return [
            TypeView(
                record,
                self.tables.carried(name),
                **_counts(row for row in self.tables.queue.values() if row.job.type == name),
            )
            for name, record in sorted(self.tables.types.items())
        ]

    async def executors(self) -> list[ExecutorView]:
        """All executor rows, live ones first."""
        views = [self._executor(executor) for executor in self.tables.executors.values()]
        return sorted(views, key=lambda view: (view.state != "live", view.started_at))

    def _executor(self, executor: Executor) -> ExecutorView:
        record = executor.record
        return ExecutorView(
            id=record.id,
            name=record.name,
            state="live" if executor.live else "lapsed",
            queues=record.queues,
            running=sum(row.executor == record.id for row in self.tables.queue.values()),
            started_at=executor.started_at,
            lease_until=datetime.now(UTC) + timedelta(seconds=executor.lease_until - monotonic()),
        )

    async def cancel(self, job_ids: Sequence[UUID]) -> list[CancelOutcome]:
        """Ends queued jobs as ``cancelled``."""
        return [self._cancel(job_id) for job_id in job_ids]

    def _cancel(self, job_id: UUID) -> CancelOutcome:
        row = self.tables.queue.get(job_id)
        if row is None:
            return CancelOutcome.ALREADY_ENDED if job_id in self.tables.runs else CancelOutcome.NOT_FOUND
        if row.state is JobState.RUNNING:
            return CancelOutcome.RUNNING
        self.tables.end(row, RunStatus.CANCELLED, reason="operator")
        return CancelOutcome.CANCELLED

    async def redrive(self, job_ids: Sequence[UUID]) -> list[RedriveOutcome]:
        """Moves runs that did not succeed back into the queue: same id, attempts 0, token continued."""
        return [self._redrive(job_id) for job_id in job_ids]

    def _redrive(self, job_id: UUID) -> RedriveOutcome:
        run = self.tables.runs.get(job_id)
        if run is None:
            return RedriveOutcome.ALREADY_LIVE if job_id in self.tables.queue else RedriveOutcome.NOT_FOUND
        if run.status in (RunStatus.SUCCEEDED, RunStatus.DUPLICATE) or self._done(run.row):
            return RedriveOutcome.ALREADY_SUCCEEDED
        if run.row.job.digest in self.tables.live:
            return RedriveOutcome.ALREADY_LIVE
        del self.tables.runs[job_id]
        _reset(run.row, self.tables.now())
        self.tables.restore(run.row)
        return RedriveOutcome.REDRIVEN

    def _done(self, row: Row) -> bool:
        return row.job.identity is not Identity.NONE and self.tables.success(row.job.run_hash) is not None

    def _views(self) -> list[JobView]:
        live = [_live_view(row, None) for row in self.tables.queue.values()]
        return live + [_run_view(run, None, None) for run in self.tables.runs.values()]


def _reset(row: Row, now: datetime) -> None:
    row.leave_attempt(JobState.READY, now, returned=False)
    row.attempts = row.crashes = 0
    row.first_due, row.held, row.held_since = now, timedelta(), None
    row.suspect, row.reason, row.expires_at = False, None, None


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    counted = Counter(row.state for row in rows)
    return {state.value: counted[state] for state in JobState}


def _kept_payload(run: Run) -> str | None:
    return None if run.status in (RunStatus.SUCCEEDED, RunStatus.DUPLICATE) else run.row.job.payload


def _matches(view: JobView, where: JobFilter) -> bool:
    wanted = (where.org_id, where.type, where.queue, where.status)
    has = (view.org_id, view.type, view.queue, view.status)
    below = where.before is None or view.id < where.before
    return below and all(want in (None, value) for want, value in zip(wanted, has, strict=True))


def _live_view(row: Row, payload: str | None) -> JobView:
    waiting = row.reason if row.state is JobState.HELD else None
    return _view(row, row.state.value, waiting_for=waiting, executor=row.executor, reason=row.reason, payload=payload)


def _run_view(run: Run, payload: str | None, result: str | None) -> JobView:
    return _view(
        run.row,
        run.status.value,
        finished_at=run.finished_at,
        reason=run.reason,
        of=run.of,
        payload=payload,
        result=result,
    )


def _view(
    row: Row,
    status: str,
    *,
    finished_at: datetime | None = None,
    reason: str | None = None,
    of: UUID | None = None,
    executor: UUID | None = None,
    waiting_for: str | None = None,
    payload: str | None = None,
    result: str | None = None,
) -> JobView:
    job = row.job
    return JobView(
        id=job.id,
        org_id=job.org_id,
        type=job.type,
        queue=row.queue,
        status=status,
        attempts=row.attempts,
        max_attempts=job.max_attempts,
        priority=job.priority,
        token=row.token,
        created_at=row.created_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=finished_at,
        expires_at=row.expires_at,
        reason=reason,
        of=of,
        executor=executor,
        suspect=row.suspect,
        crashes=row.crashes,
        waiting_for=waiting_for,
        errors=tuple(row.errors),
        result=result,
        payload=payload,
    )
