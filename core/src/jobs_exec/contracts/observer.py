"""Observers: quick, synchronous listeners; metrics, tracing and error reporting hang here.

An observer that raises is logged and counted and breaks nothing. Events hold no payloads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from uuid import UUID

from jobs_exec.job import Action, AttemptRef, RunStatus


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A handler is about to be called."""

    ref: AttemptRef
    org_id: str
    type: str
    queue: str
    attempt: int
    waited: float
    """Seconds since the job was first due."""


@dataclass(frozen=True, slots=True)
class JobSettled:
    """The backend has accepted how an attempt ended; `seconds` is the handler's time."""

    ref: AttemptRef
    org_id: str
    type: str
    queue: str
    attempt: int
    action: Action
    reason: str | None
    error: str | None = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class JobLost:
    """An attempt was taken over by somebody else; nothing of it was written."""

    ref: AttemptRef
    org_id: str
    type: str


@dataclass(frozen=True, slots=True)
class JobEndedAtClaim:
    """A job ended without its handler: a duplicate, or expired."""

    job_id: UUID
    org_id: str
    type: str
    status: RunStatus


@dataclass(frozen=True, slots=True)
class ExecutorChanged:
    """An executor ``started``, was ``draining``, ``lost`` its lease, or ``stopped``."""

    executor: UUID
    state: str


Event: TypeAlias = JobStarted | JobSettled | JobLost | JobEndedAtClaim | ExecutorChanged


class Observer(Protocol):
    """Called on the executor's loop, so it must return at once."""

    def __call__(self, event: Event, /) -> None:
        """Takes note of `event`."""
