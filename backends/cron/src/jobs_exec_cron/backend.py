"""The cron backend, so far its declaration: jobs are pushed to it, nothing polls.

A scheduled function will call ``trigger(payload)``, which runs the job at once. That call is not in this version;
until it is, every operation answers with `CapabilityMissing` and names the backend that can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn
from uuid import UUID

from jobs_exec.contracts import (
    AttemptTransaction,
    Capability,
    Claim,
    ClaimRequest,
    ExecutorRecord,
    IdempotencyStore,
    Operator,
    Promoted,
    PromoteRequest,
    QueueBackend,
    Rescued,
    RescueRequest,
    ScheduleBook,
    Settled,
    Start,
    StartRequest,
    SyncAttemptTransaction,
    TypeRecord,
)
from jobs_exec.errors import CapabilityMissing, ConfigurationError, PluginError
from jobs_exec.job import AttemptRef, ClaimedJob, NewJob, Receipt, Settlement
from jobs_exec_cron.verifying import Verifier

NOT_YET = "jobs-exec-cron 0.1 has no trigger yet; select JOB_QUEUE_BACKEND=table and run `jobs-exec run`"
NO_POLLING = "with the cron backend there is nothing to poll; " + NOT_YET


class CronBackend:
    """See `jobs_exec.contracts.QueueBackend`."""

    name = "cron"
    capabilities = frozenset({Capability.PUSH})

    def __init__(
        self,
        queue: Callable[[], QueueBackend] | None = None,
        verifiers: Callable[[], tuple[Verifier, ...]] = tuple,
    ) -> None:
        self._queue = queue
        self.verifiers = verifiers
        """Asks the plugins who may call the endpoint that stands on this backend."""

    @property
    def ledger(self) -> IdempotencyStore | None:
        """The queue's, so that a run counts for both; None where no queue can be had, as in a process that only sends."""
        try:
            return None if self._queue is None else self._queue().ledger
        except (ConfigurationError, PluginError):
            return None

    @property
    def operator(self) -> Operator:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.INSPECT, NOT_YET)

    async def open(self) -> None:
        """Nothing to connect to yet."""

    async def close(self) -> None:
        """Nothing to release."""

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.PUSH, NOT_YET)

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.TRANSACTIONAL_ENQUEUE, NOT_YET)

    async def known_types(self, connection: object | None = None) -> Mapping[str, TypeRecord]:
        """Executors announce nothing here."""
        return {}

    def known_types_sync(self, connection: object) -> Mapping[str, TypeRecord]:
        """Executors announce nothing here."""
        return {}

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.TRANSACTIONAL_ENQUEUE, NOT_YET)

    async def join(self, executor: ExecutorRecord) -> None:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def heartbeat(self, executor: UUID) -> bool:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def leave(self, executor: UUID) -> None:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def claim(self, request: ClaimRequest) -> Claim:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    def begin_attempt(self, job: ClaimedJob) -> AttemptTransaction:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.ATTEMPT_TRANSACTION, NOT_YET)

    def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttemptTransaction:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.ATTEMPT_TRANSACTION, NOT_YET)

    @property
    def queue(self) -> QueueBackend:
        """The backend that ``JOB_CRON_QUEUE`` names. Raises `ConfigurationError` and `PluginError`."""
        if self._queue is None:
            self._refuse(Capability.START, NOT_YET)
        return self._queue()

    async def start(self, request: StartRequest) -> Start:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.START, NOT_YET)

    @property
    def schedules(self) -> ScheduleBook:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.SCHEDULES, NOT_YET)

    async def promote(self, request: PromoteRequest) -> Promoted:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def rescue(self, request: RescueRequest) -> Rescued:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.CLAIM, NO_POLLING)

    async def purge(self, limit: int = 1000) -> int:
        """Nothing is kept here."""
        return 0

    async def wake(self, queues: Sequence[str]) -> None:
        """Nobody waits here."""

    async def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """Raises `CapabilityMissing`."""
        self._refuse(Capability.WAKE_UP, NO_POLLING)

    def _refuse(self, capability: Capability, hint: str) -> NoReturn:
        raise CapabilityMissing(self.name, capability, hint)
