"""What people and tools ask of a backend: reads, cancel and redrive (capabilities ``inspect``, ``dead_letters``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from jobs_exec.identity import Identity
from jobs_exec.job import JobView


@dataclass(frozen=True, slots=True)
class TypeRecord:
    """What the backend knows of a job type, synced by executors, so that enqueuers need not have its plugin."""

    name: str
    queue: str
    identity: Identity
    max_attempts: int | None = None
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class TypeView:
    """One job type with its live jobs; `executors` counts the live executors that carry it."""

    record: TypeRecord
    executors: int
    scheduled: int
    ready: int
    running: int
    held: int


@dataclass(frozen=True, slots=True)
class OrgView:
    """One org with its live jobs; `oldest_wait` is seconds since its oldest ready job was due."""

    org_id: str
    scheduled: int
    ready: int
    running: int
    held: int
    dead: int
    oldest_wait: float | None = None


@dataclass(frozen=True, slots=True)
class ExecutorView:
    """One executor row; `state` is ``live``, ``lapsed`` or ``lost``."""

    id: UUID
    name: str
    state: str
    queues: tuple[str, ...]
    running: int
    started_at: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list: newest first, live rows and runs together, at most `limit`.

    `status` is any `JobState` or `RunStatus`. `before` continues a listing below that job id.
    """

    org_id: str | None = None
    type: str | None = None
    queue: str | None = None
    status: str | None = None
    limit: int = 50
    before: UUID | None = None


class RedriveOutcome(StrEnum):
    """What `redrive` did with one id."""

    REDRIVEN = "redriven"
    ALREADY_LIVE = "already_live"
    """It, or a job of the same identity, is queued or running."""
    ALREADY_SUCCEEDED = "already_succeeded"
    NOT_FOUND = "not_found"


class CancelOutcome(StrEnum):
    """What `cancel` did with one id."""

    CANCELLED = "cancelled"
    RUNNING = "running"
    """It is being run; a queued job can be cancelled, a running one cannot yet."""
    ALREADY_ENDED = "already_ended"
    NOT_FOUND = "not_found"


class Operator(Protocol):
    """Reads and the two verbs; every batch answers in input order."""

    async def jobs(self, where: JobFilter) -> list[JobView]:
        """The jobs that match, newest first, without payload and result; of the errors at least the last one's class."""

    async def job(self, job_id: UUID) -> JobView:
        """One job with everything kept about it. Raises `JobNotFound`."""

    async def orgs(self, limit: int = 100) -> list[OrgView]:
        """Orgs with live jobs or dead runs, longest waiting first."""

    async def types(self) -> list[TypeView]:
        """All known types by name."""

    async def executors(self) -> list[ExecutorView]:
        """All executor rows, live ones first."""

    async def cancel(self, job_ids: Sequence[UUID]) -> list[CancelOutcome]:
        """Ends queued jobs as ``cancelled``."""

    async def redrive(self, job_ids: Sequence[UUID]) -> list[RedriveOutcome]:
        """Moves runs that did not succeed back into the queue: same id, attempts 0, token continued."""
