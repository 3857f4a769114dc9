"""The values that travel: a job on its way in, a job that was claimed, and how an attempt ended.

All are frozen and slotted. Times are timezone-aware `datetime`s of the backend's business clock,
durations are seconds. Payloads travel as JSON text and are decoded one by one, so that one that cannot
be decoded harms nobody else; no value shows a payload in its ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from jobs_exec.identity import Identity


class JobState(StrEnum):
    """Where a job in the queue stands."""

    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    HELD = "held"


class RunStatus(StrEnum):
    """How a job ended; every job that left the queue has exactly one run."""

    SUCCEEDED = "succeeded"
    DUPLICATE = "duplicate"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class ReceiptOutcome(StrEnum):
    """What `enqueue` did."""

    CREATED = "created"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Handed:
    """What a caller said where a job holds what became of it: for backends that send jobs on, to be prepared again there.

    `data` is JSON text as it was handed in, before a model filled it; `max_attempts` is the envelope's own.
    """

    data: str = field(repr=False)
    key: str | None = None
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A validated job ready to be inserted.

    `payload` is JSON text as it will be stored. `run_hash` has 32 bytes. `max_attempts` is final: envelope,
    else type, else ``JOB_MAX_ATTEMPTS``. Either `run_at` or `delay` (seconds from the backend's now) may be set.
    `handed` is None for jobs that no caller brought (those of schedules).
    """

    id: UUID
    org_id: str
    type: str
    queue: str
    payload: str = field(repr=False)
    identity: Identity
    run_hash: bytes
    digest: UUID
    payload_digest: UUID
    max_attempts: int
    priority: int = 5
    run_at: datetime | None = None
    delay: float | None = None
    expires_at: datetime | None = None
    trace: str | None = None
    handed: Handed | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one enqueued job.

    `id` is the job that counts: the new one, or on ``duplicate`` the live job or succeeded run it repeats
    (then also in `of`, with its state in `of_state`: a `JobState` or ``succeeded``). `advanced`: the live
    job was scheduled and an earlier ``run_at`` moved it forward. `conflict`: the same key came with another payload.
    """

    id: UUID
    outcome: ReceiptOutcome
    of: UUID | None = None
    of_state: str | None = None
    advanced: bool = False
    conflict: bool = False

    @property
    def duplicate(self) -> bool:
        """True when no new job was made."""
        return self.outcome is ReceiptOutcome.DUPLICATE


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """One attempt, as handed to the executor.

    `attempt` counts from 1 and includes this one. `age` is how long ago the job was first due, held time
    excluded. `crashes` counts the attempts that took their process down. `token` fences every write.
    """

    id: UUID
    org_id: str
    type: str
    queue: str
    payload: str = field(repr=False)
    attempt: int
    max_attempts: int
    token: int
    priority: int
    created_at: datetime
    age: float
    identity: Identity
    run_hash: bytes
    expires_at: datetime | None = None
    trace: str | None = None
    suspect: bool = False
    crashes: int = 0

    @property
    def ref(self) -> AttemptRef:
        """What every write about this attempt names."""
        return AttemptRef(self.id, self.token)


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """(job id, token): names one attempt and no other."""

    job_id: UUID
    token: int


class Action(StrEnum):
    """What a settlement does to the job. The first six end it with a run of that status."""

    SUCCEED = "succeeded"
    DUPLICATE = "duplicate"
    DEAD = "dead"
    CANCEL = "cancelled"
    EXPIRE = "expired"
    REJECT = "rejected"
    RETRY = "retry"
    """Back to scheduled after `delay`, attempt spent."""
    SNOOZE = "snooze"
    """Back to scheduled after `delay`, attempt returned."""
    GIVE_BACK = "give_back"
    """Back to ready, or scheduled when `delay` > 0; attempt returned, nothing counted."""
    HOLD = "hold"
    """To held (its org is suspended), attempt returned."""

    @property
    def terminal(self) -> bool:
        """True when the job leaves the queue and a run is recorded."""
        return self in _TERMINAL


_TERMINAL = frozenset({Action.SUCCEED, Action.DUPLICATE, Action.DEAD, Action.CANCEL, Action.EXPIRE, Action.REJECT})


@dataclass(frozen=True, slots=True)
class Settlement:
    """One write that ends an attempt; refused unless (job id, token) still names it.

    `result` is JSON text of at most ``JOB_MAX_RESULT_BYTES``; `error` text of at most 8 KiB; both are already
    clean (no NUL, no lone surrogates). `reason` is a short word (``failed``, ``timeout``, ``payload``,
    ``max_age``, ...). `key_ttl` (seconds) is how long a success suppresses its repetition, None writes no key.
    `of` points at the run that counts, for a duplicate.
    """

    ref: AttemptRef
    action: Action
    result: str | None = field(default=None, repr=False)
    error: str | None = field(default=None, repr=False)
    reason: str | None = None
    delay: float = 0.0
    key_ttl: float | None = None
    of: UUID | None = None


@dataclass(frozen=True, slots=True)
class RunRef:
    """The run under which a piece of work counts as done; `result` is its stored JSON text, if any."""

    job_id: UUID
    token: int
    finished_at: datetime
    result: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class JobView:
    """One job for people and tools: a live row of the queue, or the run it ended as.

    `status` is a `JobState` or a `RunStatus`. `waiting_for` names the gate a live job waits at. `payload` is
    kept for live jobs and for runs that did not succeed. `errors` is oldest first:
    ``{"attempt": 1, "at": ISO time, "reason": word, "error": text}``.
    """

    id: UUID
    org_id: str
    type: str
    queue: str
    status: str
    attempts: int
    max_attempts: int
    priority: int
    token: int
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str | None = None
    of: UUID | None = None
    executor: UUID | None = None
    suspect: bool = False
    crashes: int = 0
    waiting_for: str | None = None
    errors: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    result: str | None = field(default=None, repr=False)
    payload: str | None = field(default=None, repr=False)
