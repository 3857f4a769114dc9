"""The executor: claims jobs, runs them, settles them, until it is told to end.

It composes the roles and owns their tasks; each role is a file of its own. A job's way::

    Claimer -> admit -> Screening -> Runner -> put -> Settler -> settled
                                        |                            |
                                        +-- its own transaction -----+--> figures, observers

Claimers never talk to the settler; all they share is the count of what is unwritten. Tasks of handlers belong to the
`Runner`, not to the group of the roles: whatever a handler does, no role is cancelled for it.

The engine's own cost is 19 µs for a no-op async job of 200 bytes, 8 of them the check of the decoded payload
(tests/benchmarks/engine_overhead.py: a backend that answers at once; one core of a 2-core machine).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from jobs_exec.contracts.backend import Capability
from jobs_exec.contracts.observer import ExecutorChanged
from jobs_exec.errors import BackendUnavailable, CapabilityMissing
from jobs_exec.executor.assembling import Roles, assemble
from jobs_exec.executor.attempt import Attempt, Stop
from jobs_exec.executor.claiming import Claimer
from jobs_exec.executor.handing import Ending
from jobs_exec.executor.membership import Member
from jobs_exec.executor.observing import Observing
from jobs_exec.executor.outage import describe
from jobs_exec.executor.planning import serves
from jobs_exec.executor.resources import opened
from jobs_exec.executor.shutdown import Shutdown, within
from jobs_exec.executor.threads import Threads
from jobs_exec.executor.values import ExitReport, Mode, OnProgress, Progress, State, Tally
from jobs_exec.host import Host
from jobs_exec.job import NewJob

log = logging.getLogger(__name__)

_RUNS_ONCE = "an executor runs once; make a new one"
_CLAIMING = 0.8
"""The part of a budget in which jobs are claimed; the rest is left for those that run."""


class Executor:
    """One executor of `host`. `run` once; `drain` and `abort` are the first and the second signal.

    `name` is for people (default: host name and process id); `on_progress` is called after every write. After four
    fifths of `budget` seconds nothing is claimed any more, and what still runs at its end is cancelled and given back.
    """

    def __init__(
        self,
        host: Host,
        *,
        mode: Mode = Mode.FOREVER,
        name: str | None = None,
        on_progress: OnProgress | None = None,
        budget: float | None = None,
    ) -> None:
        if Capability.CLAIM not in host.backend.capabilities:
            raise CapabilityMissing(host.backend.name, Capability.CLAIM, "its jobs arrive through `trigger`")
        self._host = host
        self._mode = mode
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._on_progress = on_progress
        self._tally = Tally()
        self._observing = Observing(host.observers)
        self._problem: str | None = None
        self._budget = budget
        self._shutdown = Shutdown(_grace(host.settings.shutdown_grace, budget))
        self._roles: Roles | None = None
        self.ready = asyncio.Event()
        """It has joined and works."""
        self.state = State.NEW

    @property
    def progress(self) -> Progress:
        """The figures of now."""
        return self._tally.progress()

    def drain(self) -> None:
        """Claims no more, lets running jobs end for ``JOB_SHUTDOWN_GRACE`` seconds, gives the rest back."""
        self._shutdown.ask()

    def abort(self) -> None:
        """Cancels what runs at once and gives it back."""
        self._shutdown.hurry()

    @property
    def accepts(self) -> bool:
        """True while jobs that are handed over are started."""
        roles = self._roles
        return roles is not None and self.state is State.RUNNING and roles.membership.current.may_claim

    async def run(self) -> ExitReport:
        """`work` on resources of its own; raises `BackendUnavailable` or `SchemaMismatch` when they cannot be opened."""
        if self.state is not State.NEW:
            raise RuntimeError(_RUNS_ONCE)
        async with opened(self._host):
            return await self.work()

    async def work(self) -> ExitReport:
        """Works until the mode's end, `drain` or `abort`, on resources that are open (`resources.opened`).

        Raises what the backend raises when it cannot be joined; outages later are waited out.
        """
        if self._roles is not None:
            raise RuntimeError(_RUNS_ONCE)
        self._roles = roles = assemble(self._host, self._name, self._mode, self._tally, self._observing, self)
        try:
            with self._within_budget():
                await self._work(roles)
        finally:
            roles.close()
        self._turn(State.STOPPED, roles.membership.current.id)
        return ExitReport(1 if self._problem else 0, self.progress, self._problem, roles.upkeep.held_types)

    async def hand(self, job: NewJob) -> Ending:
        """Runs one job that somebody brings (`Mode.HANDED`); returns when its end is written.

        Raises `BackendUnavailable` when it cannot be started, which may be tried again.
        """
        if self._roles is None:
            raise BackendUnavailable(self._host.backend.name, "this executor has not started yet; call again")
        return await self._roles.hand.run(job)

    # --- what the roles ask and tell ------------------------------------------------------------------

    @property
    def ending(self) -> bool:
        """True when nothing is started any more."""
        return self.state is State.DRAINING

    def told(self, progress: Progress) -> None:
        """Something was written."""
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except Exception as error:
            log.warning("showing the progress failed: %s", describe(error))

    def member_lost(self, member: Member) -> None:
        """An identity was reaped."""
        log.error("this executor was taken for gone, its jobs are somebody else's now", extra=_fields(member.id))
        self._emit(member.id, "lost")

    def thread_stuck(self, attempt: Attempt, threads: Threads) -> None:
        """A thread runs the handler of `attempt`, which was given up."""
        log.error(
            "a sync handler did not end in time; its thread is stuck",
            extra={**attempt.fields(), "stuck": threads.stuck, "threads": threads.size},
        )
        if threads.stuck * 2 >= threads.size:
            self._problem = f"{threads.stuck} of {threads.size} threads are stuck in sync handlers (JOB_THREADS)"
            self._shutdown.ask()

    # --- its life --------------------------------------------------------------------------------------

    async def _work(self, roles: Roles) -> None:
        """All roles, from joining to leaving; a failure to start is raised as it is, outside the group."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            try:
                await self._join(roles, tasks)
            except Exception as error:
                failure = error
            else:
                await self._serve(roles, tasks)
            finally:
                # Also when it is cancelled from outside: handlers first, then what they had is given back.
                roles.runner.close()
                await roles.membership.leave()
        if failure is not None:
            raise failure

    async def _join(self, roles: Roles, tasks: asyncio.TaskGroup) -> None:
        await roles.membership.start(tasks)
        self._turn(State.RUNNING, roles.membership.current.id, serves(roles.lanes))
        await self._tidied(roles)
        self.ready.set()

    async def _tidied(self, roles: Roles) -> None:
        """What executors do first that may not live long enough to do it in the background.

        Who waits for a job of its own waits for one batch of each step: what was left by a lost executor, or held for
        an org that is active again, may be that job.
        """
        match self._mode:
            case Mode.FOREVER:
                return
            case Mode.HANDED:
                await roles.upkeep.bounded(1)
            case Mode.DRAIN | Mode.ONCE:
                await roles.upkeep.bounded()
                if roles.scheduler is not None:
                    await roles.scheduler.bounded()

    async def _serve(self, roles: Roles, tasks: asyncio.TaskGroup) -> None:
        settling = tasks.create_task(roles.settler.run(), name="settle")
        background = [tasks.create_task(run, name=name) for name, run in roles.background()]
        claims = [tasks.create_task(self._claims(each), name="claim") for each in roles.claimers]
        await self._until_the_end(roles, claims)
        await self._wind_down(roles, claims)
        for task in (*background, *([] if settling.done() else [settling])):
            task.cancel()

    async def _claims(self, claimer: Claimer) -> None:
        if self._mode is not Mode.ONCE:
            await claimer.run()
            return
        try:
            await claimer.once()
        except Exception as error:
            self._problem = f"the claim failed: {describe(error)}"

    async def _until_the_end(self, roles: Roles, claims: Sequence[asyncio.Task[None]]) -> None:
        """Until the mode's own end, or until the executor is asked to end."""
        match self._mode:
            case Mode.FOREVER | Mode.HANDED:
                await self._shutdown.asked.wait()
            case Mode.DRAIN:
                await self._shutdown.unless_asked(roles.draining.done)
            case Mode.ONCE:
                await self._shutdown.unless_asked(lambda: _ended(claims))

    async def _wind_down(self, roles: Roles, claims: Sequence[asyncio.Task[None]]) -> None:
        """See the states in `shutdown`."""
        self._turn(State.DRAINING, roles.membership.current.id)
        roles.membership.stop_joining()
        for claimer in roles.claimers:
            claimer.stop()
        await self._shutdown.within_grace(lambda: _quiet(roles, claims))
        await self._cut_off(roles)
        for task in claims:
            task.cancel()
        await _ended(claims)
        roles.settler.stop()
        if not await within(self._host.policy.lease, roles.settler.flushed()):
            self._problem = f"{roles.settler.unsettled} ended attempts could not be written; they will be run again"

    async def _cut_off(self, roles: Roles) -> None:
        """Cancels what still runs and gives it back."""
        left = len(roles.runner.running)
        if left and self._shutdown.hurried.is_set():
            self._problem = f"aborted: {left} running jobs were cancelled and given back"
        roles.runner.stop_all(Stop.SHUTDOWN)
        # Those that do not end are given up one patience later; a transaction may still be committing then.
        await within(3 * roles.patience + 1, _idle(roles))

    @contextlib.contextmanager
    def _within_budget(self) -> Iterator[None]:
        if self._budget is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self._budget * _CLAIMING, self._shutdown.ask)
        try:
            yield
        finally:
            timer.cancel()

    def _turn(self, state: State, executor: UUID, more: Mapping[str, str] | None = None) -> None:
        self.state = state
        word = "started" if state is State.RUNNING else state.value
        log.info("executor %s", word, extra={**_fields(executor), "executor_name": self._name, **(more or {})})
        self._emit(executor, word)

    def _emit(self, executor: UUID, word: str) -> None:
        if self._observing:
            self._observing.emit(ExecutorChanged(executor, word))


def _grace(grace: float, budget: float | None) -> float:
    return grace if budget is None else min(grace, budget * (1 - _CLAIMING))


def _fields(executor: UUID) -> dict[str, str]:
    return {"executor": str(executor)}


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


async def _idle(roles: Roles) -> None:
    await roles.runner.idle.wait()


async def _quiet(roles: Roles, claims: Sequence[asyncio.Task[None]]) -> None:
    """No claim and no start is under way, and nothing runs."""
    await _ended(claims)
    await roles.hand.begun()
    await roles.runner.idle.wait()
