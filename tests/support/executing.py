"""A real executor over the memory backend, and the ways to look at it: conditions to wait for, a side door, outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from jobs_exec import Envelope, JobType, Schedule
from jobs_exec.contracts import (
    Capability,
    Claim,
    ClaimRequest,
    Event,
    ExecutorRecord,
    IdempotencyStore,
    Middleware,
    OrgDirectory,
    Policy,
    Promoted,
    PromoteRequest,
    Settled,
    Start,
    StartRequest,
)
from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor import Executor, ExitReport, Mode, Progress
from jobs_exec.host import Host
from jobs_exec.job import AttemptRef, ClaimedJob, NewJob, Receipt, Settlement
from jobs_exec.memory import MemoryBackend, Tables
from jobs_exec.preparing import prepare
from jobs_exec.settings import CoreSettings
from jobs_exec.testing.harness import MemoryHarness, Peek

PATIENCE = 10.0
"""Seconds after which a condition that should have come true has failed."""


class Backend(MemoryBackend):
    """The memory backend behind a connection that can be cut; it keeps the claims and settlements it has seen."""

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        super().__init__(policy, tables)
        self.connected = True
        self.lose_next_claim = False
        self.lose_next_start = False
        self.lose_next_settle = False
        self.refuse_next_start: Exception | None = None
        self.cut_by_loss = False
        self.refused = 0
        self.claims: list[ClaimRequest] = []
        self.settlements: list[Settlement] = []
        self.joined: list[UUID] = []
        self.left: list[UUID] = []
        self.calls: list[str] = []

    def _reach(self, call: str) -> None:
        if not self.connected:
            self.refused += 1
            raise BackendUnavailable("memory", "unplugged")
        self.calls.append(call)

    async def join(self, executor: ExecutorRecord) -> None:
        self._reach("join")
        self.joined.append(executor.id)
        await super().join(executor)

    async def leave(self, executor: UUID) -> None:
        self._reach("leave")
        self.left.append(executor)
        await super().leave(executor)

    async def heartbeat(self, executor: UUID) -> bool:
        self._reach("heartbeat")
        return await super().heartbeat(executor)

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        self._reach("give_back_unknown")
        return await super().give_back_unknown(executor, known)

    async def claim(self, request: ClaimRequest) -> Claim:
        self._reach("claim")
        self.claims.append(request)
        claim = await super().claim(request)
        if self.lose_next_claim and claim.jobs:
            self.lose_next_claim = False
            self.connected = not self.cut_by_loss
            raise BackendUnavailable("memory", "the reply was lost")
        return claim

    async def start(self, request: StartRequest) -> Start:
        self._reach("start")
        refused, self.refuse_next_start = self.refuse_next_start, None
        if refused is not None:
            raise refused
        start = await super().start(request)
        if self.lose_next_start:
            self.lose_next_start = False
            raise BackendUnavailable("memory", "the reply was lost")
        return start

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        self._reach("settle")
        self.settlements += batch
        settled = await super().settle(batch)
        if self.lose_next_settle:
            self.lose_next_settle = False
            raise BackendUnavailable("memory", "the reply was lost")
        return settled

    async def promote(self, request: PromoteRequest) -> Promoted:
        self._reach("promote")
        return await super().promote(request)


class Connection(list[str]):
    """What a handler writes through `Transactional`."""


class Transactional(Backend):
    """With an attempt transaction whose effects are texts in `effects`."""

    capabilities = MemoryBackend.capabilities | {Capability.ATTEMPT_TRANSACTION, Capability.TRANSACTIONAL_ENQUEUE}

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        super().__init__(policy, tables)
        self.effects: list[str] = []
        self.commit_error: Exception | None = None
        self.rolled_back = 0

    def begin_attempt(self, job: ClaimedJob) -> Attempt:  # type: ignore[override]
        return Attempt(self)

    def begin_attempt_sync(self, job: ClaimedJob) -> SyncAttempt:  # type: ignore[override]
        return SyncAttempt(Attempt(self))

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        if connection is not None:
            assert isinstance(connection, Connection)
            connection.append("enqueued")
        return await super().enqueue(jobs)

    def enqueue_sync(self, jobs: Sequence[NewJob], connection: object) -> list[Receipt]:
        assert isinstance(connection, Connection)
        connection.append("enqueued")
        return [self._enqueue(job) for job in jobs]


class Attempt:
    def __init__(self, backend: Transactional) -> None:
        self.backend = backend
        self.connection: Connection | None = None

    def begin(self) -> Connection:
        self.connection = Connection()
        return self.connection

    def end(self, settlement: Settlement) -> bool:
        from jobs_exec.memory import settling

        if self.backend.commit_error is not None:
            raise self.backend.commit_error
        accepted = settling.settle(self.backend.tables, [settlement]).accepted
        if accepted and self.connection is not None:
            self.backend.effects += self.connection
        self.connection = None
        return bool(accepted)

    def drop(self) -> None:
        self.backend.rolled_back += self.connection is not None
        self.connection = None

    async def open(self) -> Connection:
        return self.begin()

    async def commit(self, settlement: Settlement) -> bool:
        return self.end(settlement)

    async def rollback(self) -> None:
        self.drop()


class SyncAttempt:
    def __init__(self, attempt: Attempt) -> None:
        self.open = attempt.begin
        self.commit = attempt.end
        self.rollback = attempt.drop


class Probe:
    """A host of `types` and an executor over it. Polls fast, and retries at once."""

    def __init__(
        self,
        *types: JobType,
        policy: Policy | None = None,
        backend: type[Backend] = Backend,
        directory: OrgDirectory | None = None,
        store: IdempotencyStore | None = None,
        middleware: Sequence[Middleware] = (),
        schedules: Sequence[Schedule] = (),
        **settings: Any,
    ) -> None:
        self.policy = policy or Policy(poll_interval=0.01)
        self.harness = MemoryHarness(self.policy)
        self.backend = backend(self.policy, self.harness.tables)
        self.events: list[Event] = []
        self.progress = Progress()
        self._progressed = asyncio.Event()
        self.host = Host(
            settings=CoreSettings(**settings),
            policy=self.policy,
            backend=self.backend,
            store=store or self.backend.ledger,
            job_types={made.name: made for made in types},
            schedules=tuple(schedules),
            directory=directory,
            middleware=tuple(middleware),
            observers=(self.events.append,),
        )

    def executor(self, mode: Mode = Mode.FOREVER) -> Executor:
        return Executor(self.host, mode=mode, name="probe", on_progress=self._progress)

    async def run(self, mode: Mode) -> ExitReport:
        return await asyncio.wait_for(self.executor(mode).run(), PATIENCE)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Executor]:
        """An executor that runs for ever, drained at the end of the block."""
        executor = self.executor()
        running = asyncio.ensure_future(executor.run())
        running.add_done_callback(lambda _: self._progressed.set())
        self._running = running
        try:
            yield executor
            executor.drain()
            self.report = await asyncio.wait_for(running, PATIENCE)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until(self, condition: Callable[[Progress], bool]) -> Progress:
        """Waits for the figures to come true."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self.progress):
                if self._running.done():
                    raise AssertionError(f"the executor ended: {self._running.result()}")
                self._progressed.clear()
                await self._progressed.wait()
        return self.progress

    async def enqueue(self, type: str = "work", org: str = "acme", data: Any = None, **options: Any) -> UUID:
        envelope = Envelope(org, type, data if data is not None else {}, **options)
        job = prepare(envelope, self.host.job_types, {}, self.policy, allow_unregistered=True)
        (receipt,) = await MemoryBackend.enqueue(self.backend, [job])
        return receipt.id

    async def enqueue_each(self, count: int, type: str = "work", org: str = "acme") -> list[UUID]:
        return [await self.enqueue(type, org, {"n": n}) for n in range(count)]

    async def stored(self, job_id: UUID) -> Peek:
        peek = await self.harness.peek(job_id)
        assert peek is not None, "the job is neither queued nor recorded"
        return peek

    async def status(self, job_id: UUID) -> tuple[str, str | None]:
        peek = await self.stored(job_id)
        return peek.status, peek.reason

    async def lost_with_its_executor(self, *job_ids: UUID) -> None:
        """Marks ready jobs as running when their executor was lost."""
        for job_id in job_ids:
            self.harness.tables.queue[job_id].suspect = True

    async def reaped(self, executor: UUID) -> None:
        """Somebody takes the executor for gone, and its jobs back."""
        from jobs_exec.contracts import RescueRequest

        for _ in range(2):
            await self.harness.expire_lease(executor)
            await self.backend.rescue(RescueRequest())

    def _progress(self, progress: Progress) -> None:
        self.progress = progress
        self._progressed.set()


async def come_true(condition: Callable[[], bool]) -> None:
    """Lets the loop go on until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  (what is looked at has no event)
            await asyncio.sleep(0.001)
