"""What a handler is given: `contracts.JobContext` over one attempt. Whatever costs something is made when asked for."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

from jobs_exec.client import Client, EnqueueOptions, SyncClient
from jobs_exec.contracts.backend import Capability, QueueBackend
from jobs_exec.errors import AttemptLost, CapabilityMissing, TransactionMisuse
from jobs_exec.executor.attempt import Attempt
from jobs_exec.executor.threads import Threads
from jobs_exec.executor.transaction import Transaction
from jobs_exec.job import Receipt

_LOGGER = logging.getLogger("jobs_exec.job")


@dataclass(frozen=True, slots=True)
class Services:
    """What contexts share; `enqueued` is told when a handler has added jobs."""

    backend: QueueBackend
    client: Client
    sync_client: SyncClient
    closers: Threads
    loop: asyncio.AbstractEventLoop
    enqueued: Callable[[], None]


class JobLog(logging.LoggerAdapter[logging.Logger]):
    """Adds the attempt's fields to each record, beside the caller's own ``extra``."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The attempt's fields win: a handler cannot log under another org."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class Context:
    """See `jobs_exec.contracts.JobContext`."""

    __slots__ = ("_attempt", "_services", "job_id", "org_id")

    def __init__(self, attempt: Attempt, services: Services) -> None:
        self._attempt = attempt
        self._services = services
        self.job_id: UUID = attempt.job.id
        self.org_id: str = attempt.job.org_id

    def __repr__(self) -> str:
        return f"<JobContext {self.type} {self.job_id} of {self.org_id!r}, attempt {self.attempt}>"

    @property
    def type(self) -> str:
        """The job type's name."""
        return self._attempt.job.type

    @property
    def queue(self) -> str:
        """The queue it was claimed from."""
        return self._attempt.job.queue

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.job.attempt

    @property
    def max_attempts(self) -> int:
        """After this many failed attempts the job is dead."""
        return self._attempt.job.max_attempts

    @property
    def deadline(self) -> datetime:
        """When this attempt times out (UTC)."""
        left = self._attempt.started + self._attempt.route.terms.timeout - time.monotonic()
        return datetime.now(UTC) + timedelta(seconds=left)

    @property
    def effect_key(self) -> str:
        """The job's id: the same in all attempts and redrives, and no other job's."""
        return str(self.job_id)

    @property
    def trace(self) -> str | None:
        """The W3C traceparent the job was enqueued with."""
        return self._attempt.job.trace

    @property
    def log(self) -> JobLog:
        """A logger bound to org, job, type and attempt."""
        return JobLog(_LOGGER, self._attempt.fields())

    def transaction(self) -> Transaction:
        """See `JobContext.transaction`."""
        self._check_alive()
        backend = self._services.backend
        if Capability.ATTEMPT_TRANSACTION not in backend.capabilities:
            raise CapabilityMissing(backend.name, Capability.ATTEMPT_TRANSACTION, "use the table backend")
        if self._attempt.scope is not None:
            raise TransactionMisuse("ctx.transaction() was called before; an attempt has one transaction")
        self._attempt.scope = Transaction(backend, self._attempt.job, self._services.closers)
        return self._attempt.scope

    async def enqueue(
        self, *, type: str, allow_unregistered: bool = False, **options: Unpack[EnqueueOptions]
    ) -> Receipt:
        """Adds a job of the same org, inside the attempt's transaction when it is open."""
        self._check_alive()
        options.setdefault("trace", self.trace)
        receipt = await self._services.client.enqueue(
            org_id=self.org_id,
            type=type,
            allow_unregistered=allow_unregistered,
            connection=self._joined(),
            **options,
        )
        self._services.enqueued()
        return receipt

    def enqueue_sync(
        self, *, type: str, allow_unregistered: bool = False, **options: Unpack[EnqueueOptions]
    ) -> Receipt:
        """`enqueue` for sync handlers: in their transaction, else on the executor's loop."""
        if threading.get_ident() == self._services.closers.loop_thread:
            raise TransactionMisuse("an async handler enqueues with `await ctx.enqueue(...)`")
        connection = self._joined()
        if connection is None:
            call = self.enqueue(type=type, allow_unregistered=allow_unregistered, **options)
            return asyncio.run_coroutine_threadsafe(call, self._services.loop).result()
        self._check_alive()
        options.setdefault("trace", self.trace)
        return self._services.sync_client.enqueue(
            org_id=self.org_id, type=type, connection=connection, allow_unregistered=allow_unregistered, **options
        )

    def _joined(self) -> object | None:
        """The connection of the attempt's transaction while it is open."""
        scope = self._attempt.scope
        if scope is None or not scope.open:
            return None
        scope.added_jobs = True
        return scope.connection  # type: ignore[no-any-return]

    def _check_alive(self) -> None:
        """A handler that was given up goes on in its thread or task; what it asks for now is nobody's."""
        if self._attempt.over or self._attempt.closing:
            raise AttemptLost(self._attempt.ref.job_id, self._attempt.ref.token)
