"""What the memory backend remembers, and the few moves that keep it consistent.

A job is a `Row` of the queue or a `Run`, never both and never neither: `Tables.insert` and `Tables.end` are the
only places where one comes or goes. The live digests are unique, as the unique index of a database would have it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from jobs_exec.contracts.backend import ExecutorRecord
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.job import AttemptRef, JobState, NewJob, RunRef, RunStatus


@dataclass(slots=True, eq=False)
class Row:
    """A job in the queue; `job` is what was enqueued, the rest is what became of it."""

    seq: int
    job: NewJob
    queue: str
    state: JobState
    created_at: datetime
    run_at: datetime
    first_due: datetime
    attempts: int = 0
    token: int = 0
    executor: UUID | None = None
    started_at: datetime | None = None
    held_since: datetime | None = None
    held: timedelta = timedelta()
    suspect: bool = False
    crashes: int = 0
    reason: str | None = None
    expires_at: datetime | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def attempted(self) -> bool:
        """True once a claim has taken it, also when that attempt was returned."""
        return self.token > 0

    def age(self, now: datetime) -> float:
        """Seconds since the job was first due, held time excluded."""
        return max(0.0, (now - self.first_due - self.held).total_seconds())

    def hold(self, reason: str, now: datetime) -> None:
        """To held, with the reason that keeps it there."""
        self.state, self.reason, self.held_since = JobState.HELD, reason, now

    def release(self, now: datetime) -> None:
        """From held to ready, or to scheduled when it is not due yet."""
        if self.held_since is not None and self.held_since >= self.first_due:
            self.held += now - self.held_since
        self.state = JobState.READY if self.run_at <= now else JobState.SCHEDULED
        self.reason = self.held_since = None

    def leave_attempt(self, state: JobState, run_at: datetime, *, returned: bool) -> None:
        """Ends the running attempt without ending the job: a new token, so that nobody can write under the old."""
        self.state, self.run_at, self.executor, self.started_at = state, run_at, None, None
        self.token += 1
        self.attempts -= 1 if returned else 0


@dataclass(frozen=True, slots=True)
class Run:
    """How a job ended; `row` is its last state in the queue."""

    row: Row
    status: RunStatus
    finished_at: datetime
    result: str | None = field(default=None, repr=False)
    reason: str | None = None
    of: UUID | None = None

    @property
    def ref(self) -> RunRef:
        """What a duplicate of this run points at."""
        return RunRef(self.row.job.id, self.row.token, self.finished_at, self.result)


@dataclass(slots=True)
class Executor:
    """An executor with its lease; both times are monotonic seconds."""

    record: ExecutorRecord
    started_at: datetime
    lease_until: float
    lapsed_at: float | None = None

    @property
    def live(self) -> bool:
        """True while its lease runs."""
        return time.monotonic() < self.lease_until


@dataclass(frozen=True, slots=True)
class Key:
    """A success that suppresses its repetition until `expires_at`."""

    ref: RunRef
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation of the store; `until` is monotonic seconds."""

    owner: AttemptRef
    until: float


@dataclass(slots=True, eq=False)
class ScheduleRow:
    """A schedule and how far it has fired; `jobs` are the last ones it made, by org."""

    id: UUID
    schedule: Schedule
    payload: str = field(repr=False)
    next_tick: datetime | None
    paused: bool = False
    last_tick: datetime | None = None
    fired: int = 0
    missed: int = 0
    jobs: dict[str, UUID] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Tables:
    """All state of one backend or store. `offset` is how far the business clock was moved by a test."""

    queue: dict[UUID, Row] = field(default_factory=dict)
    live: dict[UUID, UUID] = field(default_factory=dict)
    runs: dict[UUID, Run] = field(default_factory=dict)
    keys: dict[bytes, Key] = field(default_factory=dict)
    reservations: dict[bytes, Reserved] = field(default_factory=dict)
    executors: dict[UUID, Executor] = field(default_factory=dict)
    types: dict[str, TypeRecord] = field(default_factory=dict)
    schedules: dict[UUID, ScheduleRow] = field(default_factory=dict)
    offset: timedelta = timedelta()
    _seq: Iterator[int] = field(default_factory=count, repr=False)

    def now(self) -> datetime:
        """The business clock."""
        return datetime.now(UTC) + self.offset

    def insert(self, job: NewJob, now: datetime) -> Row:
        """A new row, scheduled or ready by its time."""
        run_at = job.run_at or now + timedelta(seconds=job.delay or 0)
        state = JobState.READY if run_at <= now else JobState.SCHEDULED
        due = max(run_at, now)
        row = Row(next(self._seq), job, job.queue, state, now, run_at, due, expires_at=job.expires_at)
        self.queue[job.id] = row
        self.live[job.digest] = job.id
        return row

    def restore(self, row: Row) -> None:
        """Puts a redriven row back at the end of its org's line."""
        row.seq = next(self._seq)
        self.queue[row.job.id] = row
        self.live[row.job.digest] = row.job.id

    def end(
        self,
        row: Row,
        status: RunStatus,
        *,
        result: str | None = None,
        reason: str | None = None,
        of: UUID | None = None,
    ) -> Run:
        """Moves `row` from the queue to the runs."""
        del self.queue[row.job.id]
        del self.live[row.job.digest]
        run = Run(row, status, self.now(), result, reason, of)
        self.runs[row.job.id] = run
        return run

    def success(self, run_hash: bytes) -> RunRef | None:
        """The unexpired success of a piece of work."""
        key = self.keys.get(run_hash)
        return key.ref if key is not None and key.expires_at > self.now() else None

    def carried(self, type_name: str) -> int:
        """How many live executors carry a type."""
        return sum(
            any(record.name == type_name for record in executor.record.types)
            for executor in self.executors.values()
            if executor.live
        )
