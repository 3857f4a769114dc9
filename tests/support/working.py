"""Clients and executors in this process over a real database, and a side door to what became of jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from databases import Database

from jobs_exec import JobType
from jobs_exec.client import Client
from jobs_exec.contracts import Policy
from jobs_exec.executor import Executor, ExitReport, Mode, Progress
from jobs_exec.host import Host
from jobs_exec.job import Receipt
from jobs_exec.settings import CoreSettings
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.directory import TableDirectory
from jobs_exec_table.settings import TableSettings

PATIENCE = 30.0
"""Seconds after which a condition that should have come true has failed."""

RAW = (
    "insert into jobs.jobs_queue (id, digest, payload_digest, identity, org_id, type, payload, run_hash)"
    " select id, id, id, 'none', %s, %s, %s, sha256(uuid_send(id)) from gen_random_uuid() id returning id"
)
"""A job as somebody who knows nothing of the rules writes it: org, type, payload."""


@dataclass(slots=True)
class Work:
    """Job types on a database; every client and executor gets a backend of its own, as in another process."""

    database: Database
    types: tuple[JobType, ...]
    policy: Policy = field(default_factory=lambda: Policy(poll_interval=0.05, lease=5.0))
    org_table: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    url: str | None = None

    def host(self) -> Host:
        """As `build_host` would make it."""
        backend = TableBackend(self.policy, TableSettings(JOB_DATABASE_URL=self.url or self.database.url))
        return Host(
            settings=CoreSettings(**self.settings),
            policy=self.policy,
            backend=backend,
            store=backend.ledger,
            job_types={made.name: made for made in self.types},
            directory=TableDirectory(backend.connections, ("public", self.org_table)) if self.org_table else None,
        )

    async def enqueue(self, org_id: str, type: str, data: Any = None, **options: Any) -> Receipt:
        """One job."""
        async with Client.open(host=self.host()) as client:
            return await client.enqueue(org_id=org_id, type=type, data=data, **options)

    async def enqueue_each(self, org_id: str, type: str, count: int) -> list[UUID]:
        """`count` jobs with different payloads."""
        async with Client.open(host=self.host()) as client:
            receipts = [await client.enqueue(org_id=org_id, type=type, data={"n": n}) for n in range(count)]
        return [receipt.id for receipt in receipts]

    def insert(self, org_id: str | None, type: str, payload: str = "{}") -> UUID:
        """A raw row."""
        ((job_id,),) = self.database.execute(RAW, org_id, type, payload)
        assert isinstance(job_id, UUID)
        return job_id

    async def drained(self, mode: Mode = Mode.DRAIN) -> ExitReport:
        """Runs until nothing is left to do."""
        return await asyncio.wait_for(Executor(self.host(), mode=mode).run(), PATIENCE)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Working]:
        """An executor that runs until the end of the block, and then drains."""
        working = Working()
        executor = Executor(self.host(), on_progress=working.told)
        working.running = asyncio.ensure_future(executor.run())
        try:
            yield working
            executor.drain()
            working.report = await asyncio.wait_for(working.running, PATIENCE)
        finally:
            working.running.cancel()
            await asyncio.gather(working.running, return_exceptions=True)

    def ends(self) -> dict[UUID, tuple[str, str | None, int]]:
        """Status, reason and attempts of every job, queued or ended."""
        rows = self.database.execute(
            "select job_id, status::text, reason, attempts from jobs.job_runs"
            " union all select id, state::text, reason, attempts from jobs.jobs_queue"
        )
        found = {job_id: (status, reason, attempts) for job_id, status, reason, attempts in rows}
        assert len(found) == len(rows), "a job is in the queue and has a run"
        return found  # type: ignore[return-value]

    def id_of(self, type_name: str) -> UUID:
        """The id of the one job of a type that has ended."""
        ((job_id,),) = self.database.execute("select job_id from jobs.job_runs where type = %s", type_name)
        assert isinstance(job_id, UUID)
        return job_id

    def errors(self, job_id: UUID) -> list[dict[str, Any]]:
        """The error history of a job."""
        rows = self.database.execute("select errors::text from jobs.job_runs where job_id = %s", job_id)
        return json.loads(str(rows[0][0])) if rows else []


@dataclass(slots=True)
class Working:
    """An executor under way, and what it told so far."""

    progress: Progress = field(default_factory=Progress)
    running: asyncio.Future[ExitReport] = field(init=False)
    report: ExitReport | None = None

    def told(self, progress: Progress) -> None:
        self.progress = progress

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for `condition` to hold; fails when the executor ends before."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert not self.running.done(), f"the executor ended: {self.running}"
                await asyncio.sleep(0.01)
