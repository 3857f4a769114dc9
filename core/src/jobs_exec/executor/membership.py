"""The executor's identities at the backend: one that claims, and retiring ones that still have jobs.

An identity is made by `join` and kept by its heartbeat. It is given up, and the next one joins, when

- it was *lost*: somebody has reaped it, and has its jobs;
- a claim failed: the reply may have been lost after the commit, and jobs nobody told us of would be kept alive by
  our own heartbeat. The identity *retires*: it claims no more, gives back whatever we do not know of, and leaves as
  soon as the jobs we know of are settled. What is known is known only when no claim of it is under way.

A retiring identity gives back again with every renewal. A claim whose connection broke may not even have begun on the
server when it first does, and would find the lease alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

from jobs_exec.contracts.backend import ExecutorRecord, QueueBackend
from jobs_exec.executor.heartbeat import Heartbeat, LeaseRules, LeaseState
from jobs_exec.executor.outage import Outage, describe
from jobs_exec.job import AttemptRef

log = logging.getLogger(__name__)


class Claimed(Protocol):
    """An attempt, as far as an identity knows it."""

    @property
    def ref(self) -> AttemptRef:
        """What names it at the backend."""


@dataclass(slots=True, eq=False)
class Member:
    """One identity; `open` are its attempts that are not settled yet, `claims` counts its claims under way."""

    id: UUID
    heart: Heartbeat = field(repr=False)
    open: set[Claimed] = field(default_factory=set, repr=False)
    claims: int = 0
    retiring: bool = False
    left: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """While it retires: its last claim or its last job has ended."""

    @property
    def may_claim(self) -> bool:
        """True while its lease is held and its jobs are known."""
        return not self.retiring and self.may_run

    @property
    def may_run(self) -> bool:
        """True while jobs it has claimed may be started."""
        return not self.left and self.heart.state is LeaseState.HELD

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """A claim, until its jobs are in `open`."""
        self.claims += 1
        try:
            yield
        finally:
            self.claims -= 1
            self._notice(self.claims)

    def settled(self, attempt: Claimed) -> None:
        """One of its attempts has been written."""
        self.open.discard(attempt)
        self._notice(len(self.open))

    def _notice(self, left: int) -> None:
        if self.retiring and not left:
            self.changed.set()


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of a member: its lease is `at_risk`, it is `lost`, a new one has `joined`.

    `flushed` is awaited before an identity whose lease was at risk is renewed: what it gives back goes first.
    """

    at_risk: Callable[[Member], None]
    lost: Callable[[Member], None]
    joined: Callable[[], None]
    flushed: Callable[[], Awaitable[None]]


class Membership:
    """One role: `start` joins, `leave` ends it; between them `current` is the identity to claim with."""

    def __init__(
        self,
        backend: QueueBackend,
        record: Callable[[UUID], ExecutorRecord],
        rules: LeaseRules,
        listener: Listener,
    ) -> None:
        self._backend = backend
        self._record = record
        self._rules = rules
        self._listener = listener
        self._keeping: dict[Member, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._joining = asyncio.Lock()
        self._joins = True
        self._ended = False
        self.current: Member

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Joins for the first time; raises what the backend raises."""
        self._tasks = tasks
        await self._join()

    async def retire(self, member: Member) -> None:
        """Claims no more with `member`, and joins anew; returns when that is done."""
        if member.retiring:
            return
        member.retiring = True
        if not self._ended:
            task = self._tasks.create_task(self._retired(member), name="retire")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        await self._rejoin(member)

    def stop_joining(self) -> None:
        """The executor ends: an identity that is given up from now on has no successor."""
        self._joins = False

    async def leave(self) -> None:
        """All identities leave; what they still have is given back."""
        self._joins, self._ended = False, True
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*[self._leave(member) for member in tuple(self._keeping)])

    async def _join(self) -> None:
        identity = uuid4()
        # Measured from before the request: the server's lease ends later than ours, never earlier.
        heart = Heartbeat(self._backend, identity, self._rules, flush=self._listener.flushed, on_risk=lambda: None)
        member = Member(identity, heart)
        heart.on_risk = lambda: self._at_risk(member)
        await self._backend.join(self._record(identity))
        self.current = member
        self._keeping[member] = self._tasks.create_task(self._keep(member), name="heartbeat")
        self._listener.joined()

    async def _keep(self, member: Member) -> None:
        if await member.heart.run() is not LeaseState.LOST:
            return
        self._keeping.pop(member, None)
        await self._rejoin(member)

    def _at_risk(self, member: Member) -> None:
        if member.heart.state is LeaseState.LOST:
            member.retiring = True
            self._listener.lost(member)
        else:
            self._listener.at_risk(member)

    async def _rejoin(self, old: Member) -> None:
        outage = Outage("join")
        async with self._joining:
            while self.current is old and self._joins:
                try:
                    await self._join()
                except Exception as error:
                    await outage.pause(error)
                else:
                    outage.recovered()
        old.changed.set()

    async def _retired(self, member: Member) -> None:
        """Its heartbeat goes on meanwhile: were it to lapse, jobs nobody told us of would come back as suspects."""
        outage = Outage("leave")
        while member in self._keeping:
            member.changed.clear()
            try:
                await self._let_go(member)
            except Exception as error:
                await outage.pause(error)
                continue
            outage.recovered()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rules.interval):
                    await member.changed.wait()

    async def _let_go(self, member: Member) -> None:
        """Of what nobody told us of, and with the last job we know of altogether.

        Not before the next one has joined: jobs of types that nobody carries meanwhile would be held.
        """
        if member.claims:
            return
        if not member.open and not (self._joins and self.current is member):
            await self._backend.leave(member.id)
            await self._forget(member)
        elif unknown := await self._backend.give_back_unknown(member.id, [each.ref for each in member.open]):
            log.info("jobs of a lost claim were given back", extra={"executor": str(member.id), "jobs": unknown})

    async def _leave(self, member: Member) -> None:
        member.left = True
        try:
            async with asyncio.timeout(self._rules.interval):
                await self._backend.leave(member.id)
        except Exception as error:
            log.warning("leaving failed; the lease will lapse: %s", describe(error), extra={"executor": str(member.id)})
        await self._forget(member)

    async def _forget(self, member: Member) -> None:
        member.left = True
        keeping = self._keeping.pop(member, None)
        if keeping is not None:
            member.heart.stop()
            await asyncio.wait([keeping])
