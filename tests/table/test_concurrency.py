"""Many sessions at once on one queue: whatever they do, a job ends once, and nobody waits for ever.

Each worker drives the backend's own statements with random actions from a seed: enqueue of few identities, claims,
settles of every kind (stale ones too), give-backs, deaths, upkeep, cancel, redrive. At the end everything is drained
and the tables are read past the backend.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest
from databases import Database

from jobs_exec.contracts import ClaimKind, Policy, PromoteRequest, RescueRequest
from jobs_exec.job import Action, ClaimedJob, Settlement
from jobs_exec.testing.driving import Driver, new_job
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings

WORKERS = 5
STEPS = 120
KEY_TTL = 30 * 86_400.0
"""Seconds; longer than the clock goes on while all is drained."""
ENDS = (Action.SUCCEED, Action.SUCCEED, Action.SUCCEED, Action.DEAD, Action.CANCEL)
STAYS = (Action.RETRY, Action.SNOOZE, Action.GIVE_BACK, Action.HOLD)


@dataclass(slots=True)
class Diary:
    """What the backend has said so far, by all workers."""

    created: set[UUID] = field(default_factory=set)
    tokens: Counter[tuple[UUID, int]] = field(default_factory=Counter)
    settled: Counter[tuple[UUID, int]] = field(default_factory=Counter)


@dataclass(slots=True)
class Worker:
    """One executor that does what chance tells it."""

    harness: TableHarness
    diary: Diary
    chance: random.Random
    driver: Driver
    mine: list[ClaimedJob] = field(default_factory=list)

    async def step(self) -> None:
        await self.chance.choices(
            (self.enqueue, self.claim, self.settle, self.settle_stale, self.upkeep, self.people, self.die),
            weights=(5, 6, 6, 1, 2, 1, 0.3),
        )[0]()

    async def enqueue(self) -> None:
        jobs = [
            new_job(f"org-{self.chance.randrange(4)}", {"n": self.chance.randrange(30)})
            for _ in range(self.chance.randrange(1, 12))
        ]
        receipts = await self.harness.backend.enqueue(jobs)
        self.diary.created |= {receipt.id for receipt in receipts if not receipt.duplicate}

    async def claim(self) -> None:
        kind = self.chance.choice((ClaimKind.ORDINARY, ClaimKind.ORDINARY, ClaimKind.SUSPECT))
        claim = await self.driver.claim(self.chance.randrange(1, 15), kind=kind)
        for job in claim.jobs:
            self.diary.tokens[job.id, job.token] += 1
        self.mine += claim.jobs

    async def settle(self) -> None:
        self.chance.shuffle(self.mine)
        count = self.chance.randrange(len(self.mine) + 1)
        batch, self.mine = self.mine[:count], self.mine[count:]
        await self.write(batch, ENDS + STAYS)

    async def write(self, batch: list[ClaimedJob], actions: tuple[Action, ...]) -> None:
        chosen = [Settlement(job.ref, self.chance.choice(actions), reason="why", key_ttl=KEY_TTL) for job in batch]
        answer = await self.harness.backend.settle(chosen)
        self.diary.settled.update((ref.job_id, ref.token) for ref in answer.accepted)
        self.mine += [job for job in batch if job.ref in answer.busy]

    async def settle_stale(self) -> None:
        if self.mine:
            job = self.chance.choice(self.mine)
            stale = replace(job, token=job.token - self.chance.choice((1, -1)))
            accepted = (await self.harness.backend.settle([Settlement(stale.ref, Action.SUCCEED)])).accepted
            assert accepted == frozenset(), "a settle with another token was accepted"

    async def upkeep(self) -> None:
        orgs = [f"org-{n}" for n in range(4)]
        suspended = frozenset(self.chance.sample(orgs, self.chance.randrange(2)))
        backend = self.harness.backend
        await backend.promote(PromoteRequest(("default",), 50, suspended, frozenset(orgs) - suspended))
        await backend.rescue(RescueRequest(limit=self.chance.randrange(1, 50)))

    async def people(self) -> None:
        some = self.chance.sample(sorted(self.diary.created), min(5, len(self.diary.created)))
        await self.chance.choice((self.harness.backend.operator.cancel, self.harness.backend.operator.redrive))(some)

    async def die(self) -> None:
        """Falls silent, and a successor takes its place; what it held is somebody's to rescue."""
        await self.harness.expire_lease(self.driver.id)
        await self.harness.backend.rescue(RescueRequest(limit=3))
        await self.harness.expire_lease(self.driver.id)
        self.mine.clear()
        self.driver = await Driver(self.harness).join()


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[TableHarness]:
    backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=database.url, pool_size=WORKERS))
    await backend.open()
    try:
        yield TableHarness(backend, database.url)
    finally:
        await backend.close()


async def work(worker: Worker) -> None:
    for _ in range(STEPS):
        await worker.step()


async def drain(worker: Worker) -> None:
    """Ends everything that is left, whoever held it."""
    for _ in range(200):
        await worker.harness.advance(7200)
        await worker.harness.backend.promote(
            PromoteRequest(("default",), active=frozenset(f"org-{n}" for n in range(4)))
        )
        await worker.harness.backend.rescue(RescueRequest(max_crashes=1000))
        claimed = 0
        for kind in ClaimKind:
            jobs = (await worker.driver.claim(100, kind=kind)).jobs
            claimed += len(jobs)
            await worker.write(list(jobs), (Action.SUCCEED,))
        rows = await worker.harness.backend.operator.orgs()
        if not claimed and not any(row.ready + row.running + row.scheduled + row.held for row in rows):
            return
    raise AssertionError("the queue could not be drained")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_many_sessions_do_every_job_ends_once(migrated: Database, seed: int) -> None:
    async with opened(migrated) as harness:
        diary = Diary()
        workers = [
            Worker(harness, diary, random.Random(seed * 100 + n), await Driver(harness).join()) for n in range(WORKERS)
        ]
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for worker in workers:
                tasks.create_task(work(worker))
        for worker in workers:
            await worker.write(worker.mine, (Action.SUCCEED,))
            await harness.backend.leave(worker.driver.id)
        last = Worker(harness, diary, random.Random(seed), await Driver(harness).join())
        await drain(last)
        await harness.backend.leave(last.driver.id)
    assert max(diary.tokens.values()) == 1, "two claims handed out one token"
    assert max(diary.settled.values()) == 1, "one attempt was settled twice"
    assert migrated.execute("select count(*) from jobs.jobs_queue") == [(0,)]
    ended = {row[0] for row in migrated.execute("select job_id from jobs.job_runs")}
    assert ended == diary.created, "a job was lost, or one appeared that nobody was told of"
    doubled = migrated.execute(
        "select run_hash from jobs.job_runs where status = 'succeeded' and identity <> 'none'"
        " group by run_hash having count(*) > 1"
    )
    assert doubled == [], "one piece of work succeeded twice although its key had not expired"
