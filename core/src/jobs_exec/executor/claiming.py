"""Claiming: one role for each queue, which keeps its slots filled and asks no more often than it is worth.

::

    room? -> slots? -> (suspect) -> claim -> screen -> start -+-> (full batch, walked) again at once
                                                              +-> (empty) rest: doubling up to the poll interval,
                                                                  or a hint

A claim is made when a useful part of a batch is free, or one slot and a moment has passed: a claim for each freed
slot would cost a statement a job. While all slots are taken, or too much is unwritten, none is made at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from jobs_exec.contracts.backend import Claim, ClaimKind, ClaimRequest, Position, QueueBackend
from jobs_exec.executor.attempt import Attempt, Lane
from jobs_exec.executor.gate import Gate
from jobs_exec.executor.intake import Intake
from jobs_exec.executor.membership import Member
from jobs_exec.executor.outage import Outage

log = logging.getLogger(__name__)

GATHER = 0.01
"""Seconds for which a claim waits for more free slots than one."""
_SHORTEST_REST = 0.01


class Found(Enum):
    """What a round came to."""

    JOBS = "jobs"
    WALKED = "walked"
    """Nothing to run here, but there may be further on."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """`size` jobs a claim at most; rests last up to `poll_interval` seconds."""

    size: int
    poll_interval: float


class Claimer:
    """One role: `run` until `stop`; with `once` it is one round."""

    def __init__(self, backend: QueueBackend, lane: Lane, intake: Intake, gate: Gate, rules: ClaimRules) -> None:
        self._backend = backend
        self._lane = lane
        self._intake = intake
        self._gate = gate
        self._rules = rules
        self._outage = Outage(f"claim from {lane.queue}")
        self._foreign: set[str] = set()
        self._laps = 0
        self._shortest = self._rest = min(_SHORTEST_REST, rules.poll_interval)
        self._stopping = False

    async def run(self) -> None:
        """Rounds and rests until `stop`."""
        while not self._stopping:
            # Before the claim: a hint that comes during it is about what it may have missed.
            self._lane.hint.clear()
            found = await self._guarded_round()
            self._lane.answered.set()
            if found is Found.JOBS:
                # A backend that never waits must not keep the loop from everybody else.
                await asyncio.sleep(0)
            elif not self._stopping:
                await self._pause()

    async def once(self) -> None:
        """One claim of the queue, and one suspect when it has any; for that a slot is waited for."""
        await self._intake.room()
        await self._ordinary()
        if self._lane.suspects:
            await self._lane.until_free(1)
            await self._suspect()

    def stop(self) -> None:
        """Ends `run`: at once when it waits, after the claim when it claims."""
        self._stopping = True
        self._lane.hint.set()
        self._lane.interrupt()

    async def _guarded_round(self) -> Found:
        try:
            found = await self._round()
        except Exception as error:
            self._rest = self._outage.failed(error)
            return Found.NOTHING
        self._outage.recovered()
        return found

    async def _round(self) -> Found:
        await self._intake.room()
        await self._slots()
        if self._lane.suspects:
            # Told by a claim that took every free slot. Under a backlog they all do, so now it is the suspect's turn.
            await self._suspect()
        if self._stopping:
            return Found.NOTHING
        found = await self._ordinary()
        if self._lane.suspects and self._lane.free:
            if await self._suspect():
                return Found.JOBS
            # A suspect of a type that is not carried here stays for somebody else.
            return self._is_dry() if found is Found.NOTHING else found
        return found

    async def _slots(self) -> None:
        """Half a claim's worth of slots, or one and what a moment brings."""
        lane = self._lane
        await lane.until_free(1)
        await lane.until_free(min(lane.slots, self._rules.size) // 2, GATHER)

    async def _ordinary(self) -> Found:
        async with self._gate.inside():
            lane = self._lane
            limit = min(lane.free, self._rules.size)
            claim, jobs = await self._claim(limit, ClaimKind.ORDINARY)
        if jobs:
            lane.dry, self._rest = False, self._shortest
            full = jobs >= limit or claim.position is Position.WALKED
            return Found.JOBS if full else Found.NOTHING
        match claim.position:
            case Position.EMPTY:
                return self._is_dry()
            case Position.WALKED:
                return self._walked()
            case Position.NO_LEASE:
                lane.dry = False
        return Found.NOTHING

    async def _suspect(self) -> bool:
        """One suspect from claim to settle, with nothing started beside it; False when there is none for us."""
        async with self._gate.alone():
            if self._stopping or self._lane.free < 1:
                return False
            claim, jobs = await self._claim(1, ClaimKind.SUSPECT)
        self._lane.suspects = claim.suspects and bool(jobs)
        if jobs:
            self._lane.dry = False
        return bool(jobs)

    async def _claim(self, limit: int, kind: ClaimKind) -> tuple[Claim, int]:
        """Claims and starts; of a suspect it returns when nothing is left to be written."""
        member = self._intake.member
        if not member.may_claim or limit < 1:
            return Claim(cursor=self._lane.cursor), 0
        try:
            with member.claiming():
                claim = await self._backend.claim(self._request(member, limit, kind))
                admitted = [self._intake.admit(job, self._lane, member) for job in claim.jobs]
        except Exception:
            await self._intake.failed(member)
            raise
        self._note(claim, kind)
        attempts = [attempt for attempt in admitted if attempt is not None]
        if kind is ClaimKind.SUSPECT:
            await self._through(attempts)
        else:
            await self._intake.begin(attempts)
        return claim, len(claim.jobs)

    async def _through(self, attempts: Sequence[Attempt]) -> None:
        ends = [asyncio.Event() for _ in attempts]
        for attempt, end in zip(attempts, ends, strict=True):
            attempt.settled = end
        await self._intake.begin(attempts)
        for end in ends:
            await end.wait()

    def _request(self, member: Member, limit: int, kind: ClaimKind) -> ClaimRequest:
        lane = self._lane
        return ClaimRequest(
            executor=member.id,
            queue=lane.queue,
            types=lane.types,
            limit=limit,
            kind=kind,
            cursor=lane.cursor,
            org_slots=lane.org_slots,
            org_running=dict(lane.orgs),
        )

    def _note(self, claim: Claim, kind: ClaimKind) -> None:
        lane = self._lane
        if kind is ClaimKind.ORDINARY:
            # A walk that found nothing has gone round when its cursor does not grow.
            self._laps = self._laps + 1 if not claim.jobs and claim.cursor <= lane.cursor else 0
            lane.cursor = claim.cursor
            lane.suspects = claim.suspects
        self._intake.ended(claim.ended)
        for name in sorted(claim.foreign - self._foreign):
            self._foreign.add(name)
            log.warning(
                "queue %r holds jobs of a type that this executor does not carry; move the type to another queue",
                lane.queue,
                extra={"type": name},
            )

    def _walked(self) -> Found:
        """A slot that is freed may let an org at its share go on; two laps round with nothing leave nothing."""
        self._lane.watch_release = True
        self._lane.dry = self._laps >= 2
        return Found.WALKED

    def _is_dry(self) -> Found:
        self._lane.dry = self._intake.member.may_claim and not self._lane.suspects
        return Found.NOTHING

    async def _pause(self) -> None:
        """A rest that doubles up to the poll interval; jittered, so that executors do not poll in step."""
        pause = self._rest * random.uniform(0.75, 1.0)  # noqa: S311  (spreads load, guards no secret)
        self._rest = min(self._rest * 2, self._rules.poll_interval)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._lane.hint.wait()
                self._rest = self._shortest
