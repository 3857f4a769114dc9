"""The command in this process, on one memory backend that outlives each call of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from click.testing import CliRunner, Result
from pydantic import BaseModel

from jobs_exec import JobContext, JobType, job_type
from jobs_exec.cli import main
from jobs_exec.contracts import ClaimRequest, ExecutorRecord, OrgDirectory, Policy, Schedule, TypeRecord
from jobs_exec.host import Host
from jobs_exec.job import Action, NewJob, Receipt, Settlement
from jobs_exec.memory import MemoryBackend
from jobs_exec.registry import compile_table
from jobs_exec.settings import CoreSettings


class Mail(BaseModel):
    to: str


async def _work(ctx: JobContext, data: dict[str, Any]) -> dict[str, Any]:
    return {"echo": data}


async def _mail(ctx: JobContext, data: Mail) -> None: ...


async def _fail(ctx: JobContext, data: dict[str, Any]) -> None:
    raise ValueError("no\x1b[31m way")


def job_types() -> Sequence[JobType]:
    return (
        job_type("work", _work),
        job_type("mail", _mail),
        job_type("fail", _fail, max_attempts=1),
        job_type("each", _work, identity="none"),
    )


class StepBackend(MemoryBackend):
    """The memory backend; what is enqueued while `ending` is set ends that way a moment later."""

    name = "step"
    """Not ``memory``: this one outlives the command."""
    ending: Settlement | None = None

    async def enqueue(self, jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        receipts = await super().enqueue(jobs, connection)
        if self.ending is not None:
            asyncio.get_running_loop().call_soon(lambda: self.tasks.append(asyncio.ensure_future(self.end_all())))
        return receipts

    def __init__(self) -> None:
        super().__init__(Policy())
        self.tasks: list[asyncio.Future[None]] = []

    async def end_all(
        self, action: Action | None = None, *, result: str | None = None, error: str | None = None
    ) -> None:
        """Claims everything that is ready and settles it the same way."""
        template = self.ending or Settlement(
            NOBODY, action or Action.SUCCEED, result, error, "failed" if error else None
        )
        executor = uuid4()
        types = tuple(TypeRecord(made.name, made.queue, made.identity) for made in job_types())
        await self.join(ExecutorRecord(executor, "by hand", 60.0, ("default",), types))
        claim = await self.claim(ClaimRequest(executor, "default", frozenset(t.name for t in types), 1000))
        ttl = 3600.0 if template.action is Action.SUCCEED else None
        await self.settle(
            [
                Settlement(job.ref, template.action, template.result, template.error, template.reason, key_ttl=ttl)
                for job in claim.jobs
            ]
        )
        await self.leave(executor)


NOBODY: Any = None


@dataclass(slots=True)
class Shell:
    """Calls the command; `backend` is what every call finds."""

    backend: StepBackend = field(default_factory=StepBackend)
    runner: CliRunner = field(default_factory=CliRunner)
    overrides: list[dict[str, str]] = field(default_factory=list)
    directory: OrgDirectory | None = None
    schedules: tuple[Schedule, ...] = ()
    """Those that the application defines in code."""

    def build_host(self, overrides: dict[str, str], **_options: Any) -> Host:
        """Stands in for `jobs_exec.host.build_host`: the same host, on a backend that is not new at every call."""
        self.overrides.append(dict(overrides))
        settings = CoreSettings()
        table, _ = compile_table(job_types())
        return Host(
            settings=settings,
            policy=settings.policy(),
            backend=self.backend,
            store=self.backend.ledger,
            job_types=table,
            schedules=self.schedules,
            directory=self.directory,
        )

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        return self.runner.invoke(main, arguments, input=stdin, catch_exceptions=False)

    def json(self, *arguments: str, stdin: str | bytes | None = None, code: int = 0) -> Any:
        """The object that a call with ``--json`` prints; fails unless it ends with `code`."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.exit_code == code, result.stderr
        return json.loads(result.stdout)

    def enqueue(self, org: str, number: int = 1, type: str = "work") -> UUID:
        """A new job's id."""
        return UUID(self.json("enqueue", type, "--org", org, "--data", json.dumps({"n": number}))["id"])

    def end_all(self, action: Action = Action.SUCCEED, **options: str) -> None:
        """Ends every ready job."""
        asyncio.run(self.backend.end_all(action, **options))
