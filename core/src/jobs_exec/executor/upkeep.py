"""Upkeep: due jobs are promoted, jobs of lost executors rescued, old records purged.

Every executor does all of it, on a jittered schedule; the backend sees to it that two of them do not do it twice.
While a step answers that there is more it is repeated at once. The org directory is asked about the orgs whose jobs
are held, so that a suspension ends without anybody's help.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from jobs_exec.contracts.backend import Promoted, PromoteRequest, QueueBackend, RescueRequest
from jobs_exec.contracts.directory import OrgStatus
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.executor.attempt import Lane
from jobs_exec.executor.orgs import Orgs
from jobs_exec.executor.outage import Outage

log = logging.getLogger(__name__)

_BOUNDED = 10
_PURGE_BATCH = 1000
_EXPLAIN_EVERY = 60.0
"""Seconds between two questions for which types jobs are held."""

_LETS_GO = (OrgStatus.ACTIVE, OrgStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class UpkeepRules:
    """Seconds between two runs of each step; `max_crashes` of a suspect make it dead.

    `queues` are those the executor was told to serve, also when it has no type that belongs there.
    """

    promote: float
    rescue: float
    max_crashes: int
    queues: tuple[str, ...]
    purge: float = 60.0
    explain_after: float = 0.0
    """Seconds before the first question for which types jobs are held: no business of one who brings a job of its own."""


class Upkeep:
    """One role: `run` until cancelled. `bounded` is one short pass, for executors that end by themselves."""

    def __init__(
        self,
        backend: QueueBackend,
        store: IdempotencyStore | None,
        lanes: Sequence[Lane],
        orgs: Orgs,
        rules: UpkeepRules,
    ) -> None:
        self._backend = backend
        self._store = store
        self._lanes = {lane.queue: lane for lane in lanes}
        self._orgs = orgs
        self._rules = rules
        self._held: frozenset[str] = frozenset()
        self._explained = time.monotonic() - _EXPLAIN_EVERY + rules.explain_after
        self._warned: set[str] = set()
        self.held_types: Mapping[str, int] = {}
        """Jobs held for want of an executor that carries their type, as last heard."""

    async def run(self) -> None:
        """All steps, each at its own pace."""
        async with asyncio.TaskGroup() as steps:
            steps.create_task(_repeat("promote", self._promote_step, self._rules.promote))
            steps.create_task(_repeat("rescue", self.rescue, self._rules.rescue))
            steps.create_task(_repeat("purge", self.purge, self._rules.purge))

    async def bounded(self, batches: int = _BOUNDED) -> None:
        """Up to `batches` of each step; raises what the backend raises."""
        for step in (self.rescue, self._learning_step, self.purge):
            for _ in range(batches):
                if not await step():
                    break

    async def promote(self, *, explain: bool = False) -> Promoted:
        """One batch of due jobs, and the held ones by what the directory says; with `explain` also `held_types`."""
        suspended, active = await self._standings()
        explain = explain or time.monotonic() - self._explained >= _EXPLAIN_EVERY
        request = PromoteRequest(self._rules.queues, suspended=suspended, active=active, explain=explain)
        promoted = await self._backend.promote(request)
        self._held = promoted.held_orgs
        if explain:
            self._explain(promoted.held_types)
        for queue in promoted.queues & self._lanes.keys():
            self._lanes[queue].hint.set()
        return promoted

    async def released(self, org_id: str) -> bool:
        """One batch of the jobs that are held for an org; True when it may be worked for and some were let go."""
        if self._orgs and (await self._orgs.standings({org_id}))[org_id] not in _LETS_GO:
            return False
        promoted = await self._backend.promote(PromoteRequest(self._rules.queues, active=frozenset({org_id})))
        return promoted.released > 0

    async def rescue(self) -> bool:
        """One batch of jobs of lost executors; True when there are more."""
        rescued = await self._backend.rescue(RescueRequest(max_crashes=self._rules.max_crashes))
        if rescued.returned or rescued.dead:
            log.log(
                logging.ERROR if rescued.dead else logging.WARNING,
                "jobs of executors that are gone were taken back; dead ones ended as crashed",
                extra={"returned": rescued.returned, "dead": rescued.dead, "lost_executors": rescued.lost},
            )
        return rescued.more

    async def purge(self) -> bool:
        """One batch of records past their time; True when there may be more."""
        purged = await self._backend.purge(_PURGE_BATCH)
        if self._store is not None:
            purged = max(purged, await self._store.purge(_PURGE_BATCH))
        return purged >= _PURGE_BATCH

    def _explain(self, held: Mapping[str, int]) -> None:
        """Says once of each type that nobody carries it."""
        self._explained, self.held_types = time.monotonic(), held
        for name in [each for each in held if each not in self._warned]:
            self._warned.add(name)
            log.warning(
                "jobs are held because no executor carries their type; name the module that registers it in "
                "JOB_MODULES or with --import, or install its plugin",
                extra={"type": name, "held": held[name]},
            )

    async def _promote_step(self) -> bool:
        return (await self.promote()).more

    async def _learning_step(self) -> bool:
        """The first batch tells which orgs have held jobs, and only the next one asks whether they still have to be."""
        known = bool(self._held)
        return await self._promote_step() or (not known and bool(self._held))

    async def _standings(self) -> tuple[frozenset[str], frozenset[str]]:
        """Suspended and active orgs; an unknown org is let go too, so that its jobs are claimed and rejected."""
        # Those that a claim found suspended have more ready jobs, which are held here.
        asked = self._held | self._orgs.suspended
        if not self._orgs:
            return frozenset(), self._held
        if not asked:
            return frozenset(), frozenset()
        standings = await self._orgs.standings(asked)
        suspended = frozenset(org for org, said in standings.items() if said is OrgStatus.SUSPENDED)
        let_go = frozenset(org for org, said in standings.items() if said in _LETS_GO)
        return suspended, let_go


async def _repeat(name: str, step: Callable[[], Awaitable[bool]], every: float) -> None:
    """The first run comes soon, but not with all other executors of the deployment at once."""
    outage = Outage(name)
    pause = min(every, 1.0)
    while True:
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load, guards no secret)
        pause = every
        try:
            while await step():
                pass
        except Exception as error:
            await outage.pause(error)
        else:
            outage.recovered()
