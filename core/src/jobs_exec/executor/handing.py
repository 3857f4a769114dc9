"""Handing over: jobs that somebody brings and waits for, instead of a claim.

::

    run(job) -> backend.start -+-> (started) admit -> screen -> handler -> settle -> Ending
                    ▲          +-> (done, running, waiting, held, dead) Ending without an attempt
                    └─ release ┘ (held for an org that is active again)

From `start` on the job is on the executor's way like any other: screening, middleware, timeout, settle buffer and
observers are the same. What a caller does meanwhile, also going away, changes nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from jobs_exec.contracts.backend import Capability, QueueBackend, Start, StartOutcome, StartRequest
from jobs_exec.errors import BackendUnavailable, JobNotFound, JobsError
from jobs_exec.executor.attempt import Attempt, Lane
from jobs_exec.executor.intake import Intake
from jobs_exec.executor.membership import Member
from jobs_exec.job import Action, JobView, NewJob, RunStatus, Settlement

_RELEASES = 10
"""Batches of an org's held jobs that one call lets go, to come to its own."""

_SUSPECT_DELAY = 1.0
"""Seconds until a suspect is asked for again that was brought while another one ran."""

_ENDS = {Action.RETRY: RunStatus.DEAD} | {Action(each.value): each for each in RunStatus}
_STAYS = frozenset({Action.RETRY, Action.SNOOZE, Action.GIVE_BACK, Action.HOLD})


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a job that was handed over.

    `settlement` says how its attempt ended, None when none was started (then `start` says why). `lost`: the attempt
    was taken over by somebody else before its end could be written, and `settlement` was not.
    """

    start: Start
    settlement: Settlement | None = None
    lost: bool = False


class Hand:
    """Starts jobs that are brought to it. `release` lets held jobs of an org go that is active again."""

    def __init__(
        self,
        backend: QueueBackend,
        lanes: Mapping[str, Lane],
        intake: Intake,
        release: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._backend = backend
        self._lanes = lanes
        self._intake = intake
        self._release = release
        self._suspect: asyncio.Event | None = None
        self._under_way: set[asyncio.Task[Ending]] = set()
        self._starting: set[asyncio.Task[tuple[Start, Attempt | None]]] = set()
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self, job: NewJob) -> Ending:
        """Returns when its end is written. Raises `BackendUnavailable` when it could not be started."""
        # A caller that is cancelled must not leave a job behind that was started and that nobody knows of.
        task = asyncio.create_task(self._run(job), name="handed")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise BackendUnavailable(self._backend.name, "this executor has ended; call again") from None
            raise

    async def begun(self) -> None:
        """Returns when no start is under way."""
        while self._starting:
            await asyncio.wait(self._starting)

    def close(self) -> None:
        """The executor has left: whoever still waits is told so."""
        for task in (*self._under_way, *self._retiring):
            task.cancel()

    async def _run(self, job: NewJob) -> Ending:
        starting = asyncio.create_task(self._start(job), name="start")
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        start, attempt = await starting
        if attempt is None or attempt.settled is None:
            return Ending(start)
        await attempt.settled.wait()
        return Ending(start, attempt.settlement, attempt.lost and not await self._written(attempt))

    async def _written(self, attempt: Attempt) -> bool:
        """True when what was refused as somebody else's is our own write, whose answer was lost."""
        if Capability.INSPECT not in self._backend.capabilities:
            return False
        try:
            return _is_end_of(attempt, await self._backend.operator.job(attempt.job.id))
        except JobNotFound:
            return False

    async def _start(self, job: NewJob) -> tuple[Start, Attempt | None]:
        member = self._intake.member
        if self._intake.ending or not member.may_claim:
            raise BackendUnavailable(self._backend.name, "this executor has no lease at the moment; call again")
        try:
            with member.claiming():
                start = await self._started(StartRequest(member.id, job))
                attempt = None if start.job is None else self._intake.admit(start.job, self._lane_of(job), member)
        except Exception as error:
            if _perhaps_started(error):
                self._retire(member)
            raise
        if start.outcome is StartOutcome.NO_LEASE:
            raise BackendUnavailable(self._backend.name, "this executor's lease has ended; call again")
        if attempt is not None:
            attempt.settled = asyncio.Event()
            if self._has_its_turn(attempt, attempt.settled):
                await self._intake.begin([attempt])
            else:
                self._intake.put_off(attempt, "suspect", _SUSPECT_DELAY)
        return start, attempt

    def _has_its_turn(self, attempt: Attempt, settled: asyncio.Event) -> bool:
        """One suspect at a time: were two lost together once more, the one that is harmless would pay for the other.

        What is no suspect runs beside it, and loses no attempt by that; a tenant's suspect may take its ten minutes.
        """
        if not attempt.job.suspect:
            return True
        if self._suspect is not None and not self._suspect.is_set():
            return False
        self._suspect = settled
        return True

    async def _started(self, request: StartRequest) -> Start:
        """Upkeep would let go what is held for an org that is active again; a caller may be all that ever runs."""
        for _ in range(_RELEASES):
            start = await self._backend.start(request)
            if start.outcome is not StartOutcome.HELD or not await self._release(request.job.org_id):
                return start
        return start

    def _retire(self, member: Member) -> None:
        """Not awaited: while the database is away joining anew takes as long as that, and the caller would wait for it."""
        retiring = asyncio.create_task(self._intake.failed(member), name="retire after a start")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _lane_of(self, job: NewJob) -> Lane:
        """A job that waited may have moved to another queue; its slot is counted where its type belongs."""
        return self._lanes[job.queue]


def _perhaps_started(error: Exception) -> bool:
    """The backend's own words about one job (bad data, a conflict) say that nothing was written; all else may not."""
    return not isinstance(error, JobsError) or isinstance(error, BackendUnavailable)


def _is_end_of(attempt: Attempt, found: JobView) -> bool:
    """Whether `found` is how our settlement left the job: a run of the attempt's token, or a row one write later.

    Whoever rescues a job marks it suspect, and a claim of somebody else has moved its token twice.
    """
    action, token = attempt.settlement.action, attempt.ref.token
    if found.token == token:
        return found.status == _ENDS.get(action) and found.reason == attempt.settlement.reason
    return action in _STAYS and found.token == token + 1 and not found.suspect
