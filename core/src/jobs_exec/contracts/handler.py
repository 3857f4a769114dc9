"""What a job handler is: its type, its context and the outcomes it may return.

A handler is ``async def handler(ctx, data)`` or ``def handler(ctx, data)`` (run in a thread). What it
returns says how the attempt ended:

- None or a JSON value: success, the value is the stored result;
- `Success`, `Retry`, `Snooze` or `Cancel`: exactly that;
- a dict with ``"success": False``: a failure, ``error`` or ``message`` in it is the text;
- an exception: a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from jobs_exec.identity import Identity
from jobs_exec.job import Receipt
from jobs_exec.payload import Payload
from jobs_exec.retry import Backoff, RetryPolicy

JSON: TypeAlias = Any
"""None, bool, int, float, str, or lists and str-keyed dicts of these."""


@dataclass(frozen=True, slots=True)
class Success:
    """The job is done; `result` is JSON of at most ``JOB_MAX_RESULT_BYTES``, stored with the run."""

    result: JSON = None


@dataclass(frozen=True, slots=True)
class Retry:
    """This attempt failed; try again after `delay` seconds, or after the type's backoff when None."""

    delay: float | None = None
    reason: str = "retry requested by the handler"


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not now: come back after `delay` seconds (1 to 3600); spends no attempt."""

    delay: float

    def __post_init__(self) -> None:
        if not 1 <= self.delay <= 3600:
            raise ValueError("Snooze.delay must be 1 to 3600 seconds; snooze again to wait longer")


@dataclass(frozen=True, slots=True)
class Cancel:
    """The job is pointless; end it without another attempt."""

    reason: str


Outcome: TypeAlias = Success | Retry | Snooze | Cancel


class AttemptScope(AbstractAsyncContextManager[Any], AbstractContextManager[Any], Protocol):
    """What ``ctx.transaction()`` returns: ``async with`` in async handlers, ``with`` in sync ones."""


class JobContext(Protocol):
    """What a handler knows and may do about its attempt."""

    @property
    def org_id(self) -> str:
        """The tenant this job belongs to."""

    @property
    def job_id(self) -> UUID:
        """The job's public id, the same in all attempts and redrives."""

    @property
    def type(self) -> str:
        """The job type's name."""

    @property
    def queue(self) -> str:
        """The queue it was claimed from."""

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""

    @property
    def max_attempts(self) -> int:
        """After this many failed attempts the job is dead."""

    @property
    def deadline(self) -> datetime:
        """When this attempt times out (UTC)."""

    @property
    def effect_key(self) -> str:
        """The same in all attempts and redrives of the job: hand it to other systems as idempotency key."""

    @property
    def trace(self) -> str | None:
        """The W3C traceparent the job was enqueued with."""

    @property
    def log(self) -> logging.LoggerAdapter[Any]:
        """A logger bound to org, job, type and attempt."""

    def transaction(self) -> AttemptScope:
        """The attempt's one transaction on the queue's database.

        Effects written through it commit together with the job's success, or not at all. Raises
        `TransactionMisuse` on a second call and `CapabilityMissing` where the backend has none.
        """

    async def enqueue(
        self,
        *,
        type: str,
        data: Any = None,
        key: str | None = None,
        priority: int = 5,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        max_attempts: int | None = None,
        expires_at: datetime | None = None,
        allow_unregistered: bool = False,
    ) -> Receipt:
        """Adds a job of the same org, inside the attempt's transaction when there is one."""

    def enqueue_sync(
        self,
        *,
        type: str,
        data: Any = None,
        key: str | None = None,
        priority: int = 5,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        max_attempts: int | None = None,
        expires_at: datetime | None = None,
        allow_unregistered: bool = False,
    ) -> Receipt:
        """`enqueue` for sync handlers."""


Handler: TypeAlias = Callable[..., Awaitable[JSON | Outcome]] | Callable[..., JSON | Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """One registered job type; made by `jobs_exec.job_type`, never changed afterwards.

    `timeout` and `idempotency_ttl` are seconds; None means the setting's value. `owner` names the
    distribution (or ``application``) that registered it.
    """

    name: str
    handler: Handler = field(repr=False)
    payload: Payload
    is_async: bool
    takes_payload: bool = True
    queue: str = "default"
    identity: Identity = Identity.PAYLOAD
    idempotency_ttl: float | None = None
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: RetryPolicy = field(default_factory=Backoff)
    owner: str = "application"


CallNext: TypeAlias = Callable[[JobContext], Awaitable[JSON | Outcome]]
Middleware: TypeAlias = Callable[[JobContext, CallNext], Awaitable[JSON | Outcome]]
"""An async wrapper around every attempt: ``async def middleware(ctx, call_next): return await call_next(ctx)``.

Folded once per job type at start, in the order of the plugins' entry-point names (the first is outermost).
"""

JobTypes: TypeAlias = Sequence[JobType]
JobTable: TypeAlias = Mapping[str, JobType]
