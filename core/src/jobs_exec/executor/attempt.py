"""The moving parts of one executor: a lane for each queue, a route for each type, an attempt for each job.

An `Attempt` is made when a job is claimed and follows it to the answer of the settle::

    claimed -> (screened) -> running -> ended -> buffered -> settled | lost
                     |          |
                     |          +-- stopped: timeout | shutdown | lease | lost
                     +-- given back, held, rejected, duplicate

It is the only object made for a job besides its context and its settlement, so it is plain and slotted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from jobs_exec.contracts.handler import JobContext, JobType
from jobs_exec.executor.outcomes import Terms
from jobs_exec.job import AttemptRef, ClaimedJob, Settlement

if TYPE_CHECKING:
    from jobs_exec.executor.membership import Member
    from jobs_exec.executor.transaction import Transaction


class Stop(StrEnum):
    """Why a running attempt was told to end."""

    TIMEOUT = "timeout"
    """Its time is over: the attempt fails."""
    SHUTDOWN = "shutdown"
    """The executor ends: given back, attempt returned."""
    LEASE = "lease"
    """The lease may end before it can be renewed: given back."""
    LOST = "lost"
    """Somebody else has the job: nothing is written."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A job type compiled for running: `call(ctx, data)` is the handler inside its middleware."""

    type: JobType
    terms: Terms
    decode: Callable[[str], Any]
    call: Callable[[JobContext, Any], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class Lane:
    """One queue with its slots. An org may hold at most `org_slots` of them."""

    queue: str
    slots: int
    org_slots: int
    types: frozenset[str]
    busy: int = 0
    orgs: dict[str, int] = field(default_factory=dict)
    cursor: str = ""
    suspects: bool = False
    """A suspect waits in this queue."""
    dry: bool = False
    """The last claim left nothing behind that this executor could take."""
    hint: asyncio.Event = field(default_factory=asyncio.Event)
    """Something changed that makes a claim worth while, or the executor ends."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """A round of the claimer has ended."""
    watch_release: bool = False
    """The next slot that is freed counts as a hint: an org at its share may go on."""
    _waiter: asyncio.Future[None] | None = None
    _wanted: int = 0

    @property
    def free(self) -> int:
        """Slots without a job."""
        return self.slots - self.busy

    def take(self, org_id: str) -> None:
        """One slot for a claimed job."""
        self.busy += 1
        self.orgs[org_id] = self.orgs.get(org_id, 0) + 1

    def release(self, org_id: str) -> None:
        """The slot is free again; called at the end of the handler, not of the settle."""
        self.busy -= 1
        left = self.orgs[org_id] - 1
        if left:
            self.orgs[org_id] = left
        else:
            del self.orgs[org_id]
        if self._waiter is not None and self.slots - self.busy >= self._wanted:
            self.interrupt()
        if self.watch_release:
            self.watch_release = False
            self.hint.set()

    async def until_free(self, count: int, timeout: float | None = None) -> None:
        """Returns when `count` slots are free, after `timeout` seconds, or when interrupted."""
        if self.free >= count:
            return
        self._wanted, self._waiter = count, asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._waiter
        except TimeoutError:
            return
        finally:
            self._waiter = None

    def interrupt(self) -> None:
        """Ends `until_free` at once."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """One claimed job on its way through the executor."""

    job: ClaimedJob
    ref: AttemptRef
    route: Route
    lane: Lane
    member: Member
    started: float = 0.0
    """Monotonic; 0 until the handler is about to be called."""
    seconds: float = 0.0
    stop: Stop | None = None
    stopped: float = 0.0
    task: asyncio.Task[None] | None = None
    begun: bool = False
    """The task has made its first step; before that a cancel would keep it from ever running."""
    scope: Transaction | None = None
    closing: bool = False
    """The handler has returned and its transaction is being ended: too late for a cancel."""
    over: bool = False
    """Its end is decided; nothing its handler still does counts."""
    reserved: bool = False
    """It owns a reservation at a store that is not the backend's ledger."""
    lost: bool = False
    """Somebody else had it when its end was to be written."""
    settled: asyncio.Event | None = None
    """Set when nothing is left to be written; only for those somebody waits for."""
    settlement: Settlement = field(init=False)

    def __repr__(self) -> str:
        return f"<Attempt {self.ref.token} of job {self.ref.job_id}>"

    def fields(self) -> dict[str, Any]:
        """What a log line says about it."""
        return {
            "org_id": self.job.org_id,
            "job_id": str(self.job.id),
            "type": self.job.type,
            "attempt": self.job.attempt,
            "executor": str(self.member.id),
        }
