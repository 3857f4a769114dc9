"""Running: one task for each attempt, and the rules by which it ends.

What a handler does is its own affair until it returns: whatever it raises, `SystemExit` and `KeyboardInterrupt`
among it, is that job's failure. Only a cancel of ours (`stop`) is not: then the reason of the stop decides and
nothing else, also when the handler swallows the cancel and returns. One that does not return at all is given up
(`give_up`): its end is written without it, and what it still does is refused by its token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from jobs_exec.contracts.observer import JobStarted
from jobs_exec.errors import BackendUnavailable, InvalidPayload, UndecodablePayload
from jobs_exec.executor.attempt import Attempt, Stop
from jobs_exec.executor.containing import inside
from jobs_exec.executor.context import Context, Services
from jobs_exec.executor.membership import Member
from jobs_exec.executor.observing import Observing
from jobs_exec.executor.outage import describe
from jobs_exec.executor.outcomes import GivenBack, Raised, TimedOut, Unreadable, judge
from jobs_exec.executor.threads import NeverBegan
from jobs_exec.job import Action, Settlement

log = logging.getLogger(__name__)

_THREADS_DELAY = 1.0
"""Seconds until a job is tried again that found no free thread."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where an attempt goes when it has ended.

    `put`: to be settled. `committed`: its own transaction has settled it, or answered that it is lost (False).
    `stuck`: its handler does not end.
    """

    put: Callable[[Attempt], None]
    committed: Callable[[Attempt, bool], Awaitable[None]]
    stuck: Callable[[], None]


class Runner:
    """Starts attempts and ends them. `running` holds those whose slot is taken and whose handler was started."""

    def __init__(self, services: Services, observing: Observing, ends: Ends) -> None:
        self._services = services
        self._observing = observing
        self._ends = ends
        self._loop = services.loop
        self._closing: set[asyncio.Task[None]] = set()
        self.running: set[Attempt] = set()
        self.stuck: set[asyncio.Task[None]] = set()
        """Tasks of attempts that were given up."""
        self.idle = asyncio.Event()
        self.idle.set()

    def start(self, attempt: Attempt) -> None:
        """Runs it; its slot was taken when it was claimed."""
        attempt.started = time.monotonic()
        self.running.add(attempt)
        self.idle.clear()
        # Not through the loop's factory, which is there for what handlers start: 1 µs less.
        attempt.task = asyncio.Task(self._run(attempt), loop=self._loop)

    def stop(self, attempt: Attempt, why: Stop) -> None:
        """Cancels the handler; does nothing to an attempt that was told before or is ending."""
        if attempt.stop is not None or attempt.closing or attempt.over:
            return
        attempt.stop, attempt.stopped = why, time.monotonic()
        if attempt.begun and attempt.task is not None:
            attempt.task.cancel()

    def give_up(self, attempt: Attempt) -> None:
        """Ends an attempt whose handler did not end when it was told to."""
        if attempt.over or attempt.closing:
            return
        if attempt.task is not None and not attempt.task.done():
            self.stuck.add(attempt.task)
            attempt.task.add_done_callback(self.stuck.discard)
        log.error("a handler did not end when it was cancelled and is given up", extra=attempt.fields())
        self._ends.stuck()
        self._end(attempt, _stopped(attempt.stop))

    def refuse(self, attempt: Attempt, settlement: Settlement) -> None:
        """Ends an attempt that was never started."""
        attempt.over = True
        attempt.settlement = settlement
        attempt.lane.release(attempt.job.org_id)
        self._ends.put(attempt)

    def stop_all(self, why: Stop, member: Member | None = None) -> None:
        """Stops what runs, of one identity or of all."""
        for attempt in tuple(self.running):
            if member is None or attempt.member is member:
                self.stop(attempt, why)

    def close(self) -> None:
        """The executor ends: what still runs is cancelled once more and left to itself."""
        for task in (*self.stuck, *self._closing, *[a.task for a in self.running if a.task is not None]):
            task.cancel()

    async def _run(self, attempt: Attempt) -> None:
        attempt.begun = True
        before = inside.set(attempt)
        ending: object
        try:
            # A cancel that came before the first step has only left its reason.
            ending = None if attempt.stop is not None else await self._called(attempt)
        except BaseException as error:
            ending = Raised(error)
        self._end(attempt, ending if attempt.stop is None else _stopped(attempt.stop, ending))
        # An exception holds this frame, and the context the attempt, whose task holds both: a cycle for each attempt
        # would be left to the collector.
        ending = None
        inside.reset(before)

    async def _called(self, attempt: Attempt) -> Any:
        """What the handler returned, inside its middleware."""
        route = attempt.route
        try:
            data = route.decode(attempt.job.payload)
        except (UndecodablePayload, InvalidPayload) as error:
            return Unreadable(error)
        if self._observing:
            self._announce(attempt)
        return await route.call(Context(attempt, self._services), data)

    def _announce(self, attempt: Attempt) -> None:
        job = attempt.job
        self._observing.emit(JobStarted(attempt.ref, job.org_id, job.type, job.queue, job.attempt, job.age))

    def _end(self, attempt: Attempt, ending: object) -> None:
        """The handler is done with; what is left is the transaction, if it opened one, and the write.

        Once: a handler that was given up may still return, also while its transaction is being rolled back.
        """
        if attempt.over or attempt.closing:
            return
        attempt.seconds = time.monotonic() - attempt.started
        if attempt.scope is None:
            self._finish(attempt, ending)
            return
        attempt.closing = True
        # A task of its own: the handler may have left a cancel pending on the other.
        task = self._loop.create_task(self._close(attempt, ending))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _finish(self, attempt: Attempt, ending: object) -> None:
        attempt.over = True
        attempt.settlement = _judged(attempt, ending)
        self._released(attempt)
        self._ends.put(attempt)

    def _released(self, attempt: Attempt) -> None:
        self.running.discard(attempt)
        attempt.lane.release(attempt.job.org_id)
        if not self.running:
            self.idle.set()

    async def _close(self, attempt: Attempt, ending: object) -> None:
        scope = attempt.scope
        assert scope is not None  # noqa: S101  (asked by the caller)
        settlement = _judged(attempt, ending)
        if settlement.action is not Action.SUCCEED or not scope.open:
            await scope.rollback()
            self._finish(attempt, ending)
            return
        attempt.settlement = settlement
        try:
            kept = await scope.commit(settlement)
        except BaseException as error:
            await self._commit_failed(attempt, error)
        else:
            attempt.over = True
            self._released(attempt)
            await self._ends.committed(attempt, kept)
            if scope.added_jobs:
                self._services.enqueued()

    async def _commit_failed(self, attempt: Attempt, error: BaseException) -> None:
        """Nothing was written, or nobody can say: then the token decides whether the job is given back."""
        log.warning("an attempt's commit failed: %s", describe(error), extra=attempt.fields())
        assert attempt.scope is not None  # noqa: S101  (it was committing)
        await attempt.scope.rollback()
        away = isinstance(error, BackendUnavailable | asyncio.CancelledError)
        self._finish(attempt, GivenBack() if away else Raised(error))


def _judged(attempt: Attempt, ending: object) -> Settlement:
    """What a handler returned is its own object: whatever that does when it is looked at is the job's failure too."""
    job, ref, terms, seconds = attempt.job, attempt.ref, attempt.route.terms, attempt.seconds
    try:
        return judge(job, ref, terms, ending, seconds)
    except BaseException as error:
        return judge(job, ref, terms, Raised(error), seconds)


def _stopped(why: Stop | None, ending: object = None) -> object:
    """A sync handler that waited for a thread until its time was over has not failed: it was never called."""
    if why is not Stop.TIMEOUT:
        return GivenBack()
    waited = isinstance(ending, Raised) and isinstance(ending.error, NeverBegan)
    return GivenBack(delay=_THREADS_DELAY) if waited else TimedOut()
