"""The attempt's one transaction, as the handler and as the engine see it.

::

    new -> open -> left (stays open) -> committed | rolled back
             |
             +-- an exception leaves the block -> rolled back

The handler enters and leaves the block. The engine ends the transaction after the handler and every middleware
have returned: a success is settled in it and committed with it, any other end rolls back. An exception that leaves
the block rolls back at once, as it does everywhere else; a handler that goes on after it ends without a transaction.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any

from jobs_exec.contracts.backend import AttemptTransaction, QueueBackend, SyncAttemptTransaction
from jobs_exec.errors import AttemptLost, TransactionMisuse
from jobs_exec.executor.outage import describe
from jobs_exec.executor.threads import Threads
from jobs_exec.job import ClaimedJob, Settlement

log = logging.getLogger(__name__)


class Transaction:
    """`contracts.AttemptScope`. `closers` are threads of their own: the handlers' may all be waiting for one of us."""

    __slots__ = ("_async", "_backend", "_closers", "_ended", "_entered", "_job", "_sync", "added_jobs", "connection")

    def __init__(self, backend: QueueBackend, job: ClaimedJob, closers: Threads) -> None:
        self._backend = backend
        self._job = job
        self._closers = closers
        self._entered = self._ended = False
        self._async: AttemptTransaction | None = None
        self._sync: SyncAttemptTransaction | None = None
        self.connection: Any = None
        self.added_jobs = False

    @property
    def open(self) -> bool:
        """True while effects can be committed."""
        return self.connection is not None

    async def __aenter__(self) -> Any:
        self._enter()
        self._async = self._backend.begin_attempt(self._job)
        self.connection = await self._async.open()
        return self.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.rollback()

    def __enter__(self) -> Any:
        if threading.get_ident() == self._closers.loop_thread:
            raise TransactionMisuse("an async handler opens its transaction with `async with ctx.transaction()`")
        self._enter()
        self._sync = self._backend.begin_attempt_sync(self._job)
        self.connection = self._sync.open()
        return self.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._sync is not None:
            self.connection = None
            self._sync.rollback()

    async def commit(self, settlement: Settlement) -> bool:
        """Settles and commits; False when the attempt was lost."""
        self.connection, self._ended = None, True
        if self._sync is not None:
            return bool(await self._closers.call(self._sync.commit, settlement))
        assert self._async is not None  # noqa: S101  (it was open)
        return await self._async.commit(settlement)

    async def rollback(self) -> None:
        """Drops every effect. A failure is logged: the server drops them too when the connection is gone."""
        self.connection, self._ended = None, True
        try:
            if self._sync is not None:
                await self._closers.call(self._sync.rollback)
            elif self._async is not None:
                await self._async.rollback()
        except Exception as error:
            log.warning("rollback of an attempt failed: %s", describe(error), extra={"job_id": str(self._job.id)})

    def _enter(self) -> None:
        if self._entered:
            raise TransactionMisuse("the attempt's transaction was entered before; an attempt has one, for one block")
        if self._ended:
            # A handler that was given up goes on: nobody would end what it opens now.
            raise AttemptLost(self._job.id, self._job.token)
        self._entered = True
