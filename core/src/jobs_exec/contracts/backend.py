"""The queue backend: the only thing the engine knows about storage.

Every operation takes one parameter object or one batch and is atomic. Every write about an attempt names
it by (job id, token) and is refused, without an error, when somebody else has the job by now; what was
accepted comes back. What a backend can do is declared once in `QueueBackend.capabilities`: the executor
plans by it, the contract suite selects its tests by it.

An executor's life at a backend::

    open -> join -> { claim -> settle | attempt transaction | heartbeat | promote, rescue, purge | wait }* -> leave -> close

Business times (due, backoff, expiry, age, retention) are the backend's own clock; leases are real time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from jobs_exec.contracts.operator import Operator, TypeRecord
from jobs_exec.contracts.schedule import ScheduleBook, ScheduleRef
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.job import AttemptRef, ClaimedJob, NewJob, Receipt, RunRef, RunStatus, Settlement


class Capability(StrEnum):
    """What a backend can do."""

    CLAIM = "claim"
    """Jobs are fetched by executors: claim, join, heartbeat, rescue, promote."""
    PUSH = "push"
    """Jobs arrive from outside, through `trigger`."""
    TRANSACTIONAL_ENQUEUE = "transactional_enqueue"
    """`enqueue` writes in the caller's connection when one is passed."""
    ATTEMPT_TRANSACTION = "attempt_transaction"
    """A handler's writes can commit together with its success."""
    DELAY = "delay"
    PRIORITY = "priority"
    ORG_FAIRNESS = "org_fairness"
    """With R orgs ready each is served within ceil(R / claim size) claims."""
    ORG_LIMITS = "org_limits"
    WAKE_UP = "wake_up"
    """`wait` returns early when a job was enqueued."""
    INSPECT = "inspect"
    """`operator` reads and cancels."""
    DEAD_LETTERS = "dead_letters"
    """Runs that did not succeed are kept and can be redriven."""
    START = "start"
    """A job can begin at once in the hands of whoever triggers it."""
    SCHEDULES = "schedules"
    """`schedules` keeps periodic jobs and fires them once."""


@dataclass(frozen=True, slots=True)
class ExecutorRecord:
    """An executor as it presents itself: a new `id` at every start, what it serves and for how long it may be silent.

    `schedules` are those that its code defines; the others are orphaned unless somebody else carries them.
    """

    id: UUID
    name: str
    lease: float
    queues: tuple[str, ...]
    types: tuple[TypeRecord, ...]
    schedules: tuple[ScheduleRef, ...] = ()


class ClaimKind(StrEnum):
    """Which jobs a claim is after."""

    ORDINARY = "ordinary"
    SUSPECT = "suspect"
    """One job that was running when its executor was lost; run with nothing beside it."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Asks for up to `limit` ready jobs of `queue` whose type is in `types`.

    `max_bytes` bounds the sum of payload sizes (the first job is always allowed). `cursor` is where the last
    claim of this queue left the ring of orgs (``""`` at first: the backend's own hint). An org may hold at most
    `org_slots` of the executor's jobs; `org_running` says how many it holds now (orgs with none may be left out).
    """

    executor: UUID
    queue: str
    types: frozenset[str]
    limit: int
    kind: ClaimKind = ClaimKind.ORDINARY
    max_bytes: int = 8 * 1024 * 1024
    cursor: str = ""
    org_slots: int = 1_000_000
    org_running: Mapping[str, int] = field(default_factory=dict)


class Position(StrEnum):
    """Where a claim ended."""

    EMPTY = "empty"
    """Nothing is ready: wait."""
    WALKED = "walked"
    """There may be more beyond what was walked past: claim again from `Claim.cursor`."""
    NO_LEASE = "no_lease"
    """Jobs may be ready, but the executor's lease has ended: renew it first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that ended at claim without running: ``duplicate`` (of the run `of`) or ``expired``."""

    job_id: UUID
    org_id: str
    type: str
    status: RunStatus
    of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a `ClaimRequest`.

    `jobs` are running now, owned by the executor. `foreign` are types that were walked past because the
    executor does not carry them. `suspects` tells that a suspect waits in this queue.
    """

    jobs: tuple[ClaimedJob, ...] = ()
    ended: tuple[Ended, ...] = ()
    position: Position = Position.EMPTY
    cursor: str = ""
    foreign: frozenset[str] = frozenset()
    suspects: bool = False


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Asks to begin `job` at once for `executor`, or the live job of the same identity if it may begin."""

    executor: UUID
    job: NewJob


class StartOutcome(StrEnum):
    """What `start` did."""

    STARTED = "started"
    """`Start.job` is running, attempt counted: the new job, or one that was ready, due, held for want of an executor,
    or scheduled and never attempted."""
    SUCCEEDED = "succeeded"
    """The work is done: `Start.run` is the run that counts. Nothing was written."""
    RUNNING = "running"
    """Somebody else has it now."""
    WAITING = "waiting"
    """It waits for its next attempt, `Start.wait` seconds; no attempt was spent."""
    HELD = "held"
    """Its org is suspended."""
    DEAD = "dead"
    """Its last run is dead, and was neither redriven nor purged. Nothing was written."""
    CANCELLED = "cancelled"
    """Its last run was cancelled, and was neither redriven nor purged: who calls again is answered again."""
    EXPIRED = "expired"
    """It came after its `expires_at`, and has ended so."""
    NO_LEASE = "no_lease"
    """The executor's lease has ended."""


@dataclass(frozen=True, slots=True)
class Start:
    """The answer to a `StartRequest`, about the job `job_id`: the one that counts, None while it cannot be seen.

    `attempts` of `max_attempts` are spent, the one that was started among them. `conflict` is set when the same key
    came with another payload: the job that counts has its own. `reason` says why it waits, is held or is dead.
    """

    outcome: StartOutcome
    job_id: UUID | None
    job: ClaimedJob | None = None
    run: RunRef | None = None
    wait: float = 0.0
    attempts: int = 0
    max_attempts: int = 0
    conflict: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a settle: `accepted` were written, `busy` were locked and should be sent again, the rest is lost.

    `changed` says what was written instead of those that could not be stored.
    """

    accepted: frozenset[AttemptRef]
    busy: frozenset[AttemptRef] = frozenset()
    changed: Mapping[AttemptRef, Settlement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """Moves up to `limit` due jobs to ready, fair over orgs, and keeps held jobs true to their reason.

    At least those of `queues`; a backend may serve every queue alike, since a type can have moved to another one.
    `suspended` and `active` are the answers of the org directory about orgs with held jobs; orgs in neither keep
    what they have. With `explain` the answer says which types are missing, which costs a look at all jobs held for one.
    """

    queues: tuple[str, ...]
    limit: int = 1000
    suspended: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Promoted:
    """`ready` jobs were made ready (in `queues`), `expired` ended; `held_orgs` have jobs held for their org.

    `held_types` counts the jobs held for want of a live executor by their type, most first; empty unless asked for.
    """

    ready: int = 0
    expired: int = 0
    held: int = 0
    released: int = 0
    queues: frozenset[str] = frozenset()
    held_orgs: frozenset[str] = frozenset()
    more: bool = False
    held_types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RescueRequest:
    """Stamps lapsed leases and takes up to `limit` jobs back from executors whose stamp is a full lease old.

    A job that was not suspect goes back to ready, attempt returned, marked suspect; a suspect keeps its attempt
    spent, and `max_crashes` of them make it dead with reason ``crashed``.
    """

    limit: int = 1000
    max_crashes: int = 3


@dataclass(frozen=True, slots=True)
class Rescued:
    """`returned` jobs went back to ready, `dead` ended; `lapsed` executors were newly stamped, `lost` were removed."""

    returned: int = 0
    dead: int = 0
    lapsed: int = 0
    lost: int = 0
    more: bool = False


class AttemptTransaction(Protocol):
    """The one transaction of an attempt: effects, acknowledgement and run record commit together."""

    async def open(self) -> Any:
        """Begins, and returns the connection for the handler: no commit, no rollback, ``jobs.org_id`` set."""

    async def commit(self, settlement: Settlement) -> bool:
        """Settles by (id, token) and commits; False when the attempt was lost, then nothing was written."""

    async def rollback(self) -> None:
        """Drops every effect; the attempt is settled elsewhere. May be called at any point, also twice."""


class SyncAttemptTransaction(Protocol):
    """`AttemptTransaction` for handlers that run in a thread."""

    def open(self) -> Any:
        """See `AttemptTransaction.open`."""

    def commit(self, settlement: Settlement) -> bool:
        """See `AttemptTransaction.commit`."""

    def rollback(self) -> None:
        """See `AttemptTransaction.rollback`."""


class QueueBackend(Protocol):
    """Stores jobs and hands them out. Errors raised by any method: `BackendUnavailable`, `CapabilityMissing`."""

    @property
    def name(self) -> str:
        """The entry-point name."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do; never changes."""

    @property
    def ledger(self) -> IdempotencyStore | None:
        """The store that `claim` and `settle` record in themselves, atomically."""

    @property
    def operator(self) -> Operator:
        """Reads, cancel, redrive. Raises `CapabilityMissing` without ``inspect``."""

    async def open(self) -> None:
        """Connects. Raises `BackendUnavailable` or `SchemaMismatch`."""

    async def close(self) -> None:
        """Releases every resource; may be called twice."""

    # --- enqueue ---------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        """Inserts a batch in one transaction, or in the caller's `connection`; receipts in input order.

        After a commit of its own it hints at the queues; a transaction of the caller's is found by polling.
        A repeat of a live identity, or of a success whose key is unexpired, makes no row. Raises
        `EnqueueConflict` when the database ended the transaction for the sake of another.
        """

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        """`enqueue` in the caller's sync connection, in one statement."""

    async def known_types(self, connection: object | None = None) -> Mapping[str, TypeRecord]:
        """The job types that executors have announced."""

    def known_types_sync(self, connection: object) -> Mapping[str, TypeRecord]:
        """`known_types` through the caller's sync connection."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A connection in a transaction that commits at the end of the block."""

    # --- the executor's life ---------------------------------------------------------------------------

    async def join(self, executor: ExecutorRecord) -> None:
        """Announces an executor and the types it carries; the later announcement of a type wins."""

    async def heartbeat(self, executor: UUID) -> bool:
        """Renews the lease, also a lapsed one; False when the executor has been removed."""

    async def leave(self, executor: UUID) -> None:
        """Removes the executor; jobs it still has are given back, attempt returned."""

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        """Gives back the executor's running jobs whose attempt is not in `known`, attempt returned; how many.

        For jobs of a claim whose reply was lost. Waits for claims of this executor that are still being carried out.
        """

    # --- the journey -----------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Claim:
        """Makes ready jobs running, fair over orgs: the first of every org before the second of any.

        Jobs whose identity has succeeded end as duplicates, jobs past `expires_at` as expired. Without a live lease
        there are no jobs, and the position is `NO_LEASE` unless nothing is ready.
        """

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """Ends attempts. A retry with no attempt left becomes dead. One bad element never fails the others:

        its job ends dead with reason ``result`` instead.
        """

    def begin_attempt(self, job: ClaimedJob) -> AttemptTransaction:
        """The attempt's transaction, not yet open."""

    def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttemptTransaction:
        """The same for a handler in a thread."""

    # --- jobs that are triggered -----------------------------------------------------------------------

    @property
    def queue(self) -> QueueBackend:
        """Where triggered jobs run and are retried: itself, or the backend it stands on. Raises `ConfigurationError`."""

    async def start(self, request: StartRequest) -> Start:
        """Makes one job running for `executor`, or says why not; one transaction, one lock with `enqueue`.

        Of many callers with one identity exactly one gets it. A row of that identity that somebody has locked counts
        as running. Raises `CapabilityMissing` without ``start``.
        """

    async def past(self, job: NewJob) -> Start | None:
        """What `start` would answer of work that has ended (succeeded, dead, cancelled); None when it may begin or lives.

        For calls that are only enqueued: who calls again is answered again, while `enqueue` makes a new job.
        Raises `CapabilityMissing` without ``start``.
        """

    # --- schedules -------------------------------------------------------------------------------------

    @property
    def schedules(self) -> ScheduleBook:
        """Where periodic jobs are kept. Raises `CapabilityMissing` without ``schedules``."""

    # --- upkeep ----------------------------------------------------------------------------------------

    async def promote(self, request: PromoteRequest) -> Promoted:
        """Due jobs become ready; jobs of suspended orgs and of types without a live executor become held, and back."""

    async def rescue(self, request: RescueRequest) -> Rescued:
        """Takes jobs back from executors that are gone, in two steps (lapsed, then lost)."""

    async def purge(self, limit: int = 1000) -> int:
        """Deletes up to `limit` runs and keys past their retention; returns how many."""

    # --- waking up -------------------------------------------------------------------------------------

    async def wake(self, queues: Sequence[str]) -> None:
        """Hints that `queues` have new jobs. Never needed for correctness."""

    async def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """Returns True at the first hint for one of `queues`, False after `timeout` seconds."""
