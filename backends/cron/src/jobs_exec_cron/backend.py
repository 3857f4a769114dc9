"""The cron backend: jobs are pushed, nothing polls.

::

    enqueue ---signed call---> endpoint --+
    trigger (here) -----------------------+-> the queue's rows: one lock, one ledger, one history

It has no storage of its own. Jobs run, wait and end on the rows of the backend that ``JOB_CRON_QUEUE`` names, the *queue*;
what people ask (`operator`, `schedules`) is asked of it, and it is opened when somebody does. Sending needs no queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from jobs_exec.contracts import Capability, IdempotencyStore, Operator, QueueBackend, ScheduleBook, TypeRecord
from jobs_exec.errors import CapabilityMissing, ConfigurationError, PluginError
from jobs_exec.job import NewJob, Receipt
from jobs_exec_cron.known import AnyType
from jobs_exec_cron.settings import CronSettings
from jobs_exec_cron.standing import Deferred, Standing
from jobs_exec_cron.verifying import Verifier

if TYPE_CHECKING:
    from jobs_exec_cron.calling import Caller

NAME = "cron"
LENT = frozenset({Capability.INSPECT, Capability.DEAD_LETTERS, Capability.SCHEDULES})
"""What it can do where its queue can."""

NOTHING_TO_POLL = "there is nothing to poll, jobs are pushed: see `jobs-exec serve` and `jobs-exec trigger`"
NO_TRANSACTION = "a job that is sent cannot be taken back; select JOB_QUEUE_BACKEND=table to enqueue in a transaction"
HERE = "jobs are started on the queue, not here: ask `queue`"


def _without(capability: Capability, hint: str) -> Any:
    """A method that refuses."""

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise CapabilityMissing(NAME, capability, hint)

    return refuse


class CronBackend:
    """See `jobs_exec.contracts.QueueBackend`."""

    name = NAME

    def __init__(
        self,
        settings: CronSettings,
        queue: Callable[[], QueueBackend],
        verifiers: Callable[[], tuple[Verifier, ...]] = tuple,
    ) -> None:
        self._settings = settings
        self._standing = Standing(queue)
        self._caller: Caller | None = None
        self.verifiers = verifiers
        """Asks the plugins who may call the endpoint that stands on this backend."""

    # --- what it stands on -----------------------------------------------------------------------------

    @property
    def queue(self) -> QueueBackend:
        """The backend that ``JOB_CRON_QUEUE`` names. Raises `ConfigurationError` and `PluginError`."""
        return self._standing.queue

    @property
    def capabilities(self) -> frozenset[Capability]:
        """`PUSH`, and of `LENT` what the queue has, where there is one."""
        queue = self._queue_if_any()
        return frozenset({Capability.PUSH}) | (LENT & queue.capabilities if queue else frozenset())

    @property
    def ledger(self) -> IdempotencyStore | None:
        """The queue's, so that a run counts for both.

        None where no queue can be had, and with the queue ``memory``: what only this process remembers keeps nobody
        else from doing the same work, so a store has to be named (``JOB_IDEMPOTENCY_STORE``).
        """
        queue = None if self._settings.queue == "memory" else self._queue_if_any()
        return queue.ledger if queue else None

    @property
    def operator(self) -> Operator:
        """The queue's, which is opened at its first use. Raises `CapabilityMissing` where there is none."""
        self._require(Capability.INSPECT)
        return cast(Operator, Deferred(self._standing, lambda queue: queue.operator))

    @property
    def schedules(self) -> ScheduleBook:
        """The queue's, which is opened at its first use. Raises `CapabilityMissing` where there is none."""
        self._require(Capability.SCHEDULES)
        return cast(ScheduleBook, Deferred(self._standing, lambda queue: queue.schedules))

    async def open(self) -> None:
        """Connects to nothing: what is needed is not known before it is asked for."""

    async def close(self) -> None:
        """Closes what was opened; may be called twice."""
        caller, self._caller = self._caller, None
        if caller is not None:
            await caller.close()
        await self._standing.close()

    # --- enqueue ---------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Sends each job to ``JOB_TRIGGER_URL``; see `sending.send`. Raises `ConfigurationError` without URL or secret."""
        if connection is not None:
            raise CapabilityMissing(NAME, Capability.TRANSACTIONAL_ENQUEUE, NO_TRANSACTION)
        if not jobs:
            return []
        from jobs_exec_cron.sending import send

        return await send(self._calling(), jobs)

    async def known_types(self, connection: object | None = None) -> Mapping[str, TypeRecord]:
        """Every one: the endpoint knows which it runs, and refuses the others."""
        return AnyType()

    # --- what a backend that nothing polls has not -----------------------------------------------------

    enqueue_sync = _without(Capability.TRANSACTIONAL_ENQUEUE, NO_TRANSACTION)
    known_types_sync = _without(Capability.TRANSACTIONAL_ENQUEUE, NO_TRANSACTION)
    transaction = _without(Capability.TRANSACTIONAL_ENQUEUE, NO_TRANSACTION)

    start = _without(Capability.START, HERE)
    past = _without(Capability.START, HERE)
    begin_attempt = _without(Capability.ATTEMPT_TRANSACTION, HERE)
    begin_attempt_sync = _without(Capability.ATTEMPT_TRANSACTION, HERE)

    join = _without(Capability.CLAIM, NOTHING_TO_POLL)
    heartbeat = _without(Capability.CLAIM, NOTHING_TO_POLL)
    leave = _without(Capability.CLAIM, NOTHING_TO_POLL)
    give_back_unknown = _without(Capability.CLAIM, NOTHING_TO_POLL)
    claim = _without(Capability.CLAIM, NOTHING_TO_POLL)
    settle = _without(Capability.CLAIM, NOTHING_TO_POLL)
    promote = _without(Capability.CLAIM, NOTHING_TO_POLL)
    rescue = _without(Capability.CLAIM, NOTHING_TO_POLL)
    wait = _without(Capability.WAKE_UP, NOTHING_TO_POLL)

    async def purge(self, limit: int = 1000) -> int:
        """Nothing is kept here."""
        return 0

    async def wake(self, queues: Sequence[str]) -> None:
        """Nobody waits here."""

    # --- inside ----------------------------------------------------------------------------------------

    def _calling(self) -> Caller:
        from jobs_exec_cron.calling import Caller, place_of

        if self._caller is None:
            self._caller = Caller(place_of(self._settings))
        return self._caller

    def _queue_if_any(self) -> QueueBackend | None:
        try:
            return self.queue
        except (ConfigurationError, PluginError):
            return None

    def _require(self, capability: Capability) -> None:
        """The queue's own error says best what is missing."""
        if capability not in self.queue.capabilities:
            raise CapabilityMissing(NAME, capability, f"its queue, {self.queue.name!r}, has not (JOB_CRON_QUEUE)")
