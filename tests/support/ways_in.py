"""Every way in for a job, each taking the same bad jobs and answering with what it said about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from working import Work

from jobs_exec import JobContext, JobType, job_type
from jobs_exec.cli import main
from jobs_exec.client import Client, SyncClient
from jobs_exec.errors import InvalidJob

REFUSED = 6


@dataclass(frozen=True, slots=True)
class BadJob:
    """One broken rule: the envelope's other fields are right.

    `data` is JSON text. `not_by` names the ways by which it cannot even be asked for.
    """

    name: str
    field: str
    says: str
    org: Any = "acme"
    type: Any = "work"
    data: str = '{"note": "geheim"}'
    more: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()

    def envelope(self) -> dict[str, Any]:
        """The fields as JSON has them, without the data."""
        fields = {"orgId": self.org, "type": self.type, **self.more}
        return {name: value for name, value in fields.items() if name not in self.without}

    def arguments(self) -> dict[str, Any]:
        """The fields as Python has them."""
        return {"org_id": self.org, "type": self.type, "data": json.loads(self.data), **self.more}


@dataclass(frozen=True, slots=True)
class World:
    """A database in which the type `work` is known, and a folder for the command to work in."""

    work: Work
    folder: Path


Way = Callable[[World, Sequence[BadJob]], Awaitable[list[str]]]


def _said(call: Callable[[], object]) -> str:
    try:
        return f"accepted: {call()}"
    except InvalidJob as error:
        return str(error)


async def _said_async(call: Callable[[], Awaitable[object]]) -> str:
    try:
        return f"accepted: {await call()}"
    except InvalidJob as error:
        return str(error)


async def by_client(world: World, jobs: Sequence[BadJob]) -> list[str]:
    async with Client.open(host=world.work.host()) as client:
        return [await _said_async(lambda job=job: client.enqueue(**job.arguments())) for job in jobs]  # type: ignore[misc]


async def by_sync_client(world: World, jobs: Sequence[BadJob]) -> list[str]:
    with (
        SyncClient.open(host=world.work.host()) as client,
        psycopg.connect(world.work.database.url) as connection,
    ):
        return [_said(lambda job=job: client.enqueue(connection=connection, **job.arguments())) for job in jobs]  # type: ignore[misc]


async def by_context(world: World, jobs: Sequence[BadJob]) -> list[str]:
    said: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        for job in jobs:
            asked = {name: value for name, value in job.arguments().items() if name != "org_id"}
            said.append(await _said_async(lambda asked=asked: ctx.enqueue(**asked)))  # type: ignore[misc]

    await _from_a_handler(world, job_type("asking", handler))
    return said


async def by_context_in_a_thread(world: World, jobs: Sequence[BadJob]) -> list[str]:
    said: list[str] = []

    def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction():
            for job in jobs:
                asked = {name: value for name, value in job.arguments().items() if name != "org_id"}
                said.append(_said(lambda asked=asked: ctx.enqueue_sync(**asked)))  # type: ignore[misc]

    await _from_a_handler(world, job_type("asking", handler))
    return said


async def _from_a_handler(world: World, asking: JobType) -> None:
    work = Work(world.work.database, (*world.work.types, asking))
    await work.enqueue("acme", "asking")
    report = await work.drained()
    assert (report.counts.claimed, report.counts.succeeded) == (1, 1)


async def by_command(world: World, jobs: Sequence[BadJob]) -> list[str]:
    options = {"maxAttempts": "--max-attempts", "expiresAt": "--expires-at", "runAt": "--at"}

    def call(job: BadJob) -> str:
        arguments = ["enqueue", str(job.type), "--data", job.data]
        if "orgId" not in job.without:
            arguments += ["--org", job.org]
        for name, value in job.more.items():
            arguments += [options.get(name, f"--{name}"), str(value)]
        return _called(arguments)

    return [await asyncio.to_thread(call, job) for job in jobs]


async def by_file(world: World, jobs: Sequence[BadJob]) -> list[str]:
    """All of them in one file, behind a job that is fine."""
    lines = ['{"orgId": "acme", "type": "work", "data": {"fine": true}}']
    for job in jobs:
        envelope = json.dumps(job.envelope())
        lines.append(f'{envelope[:-1]}{", " if len(envelope) > 2 else ""}"data": {job.data}}}')
    (world.folder / "jobs.ndjson").write_text("\n".join(lines))
    said = (await asyncio.to_thread(_called, ["enqueue", "--from", "jobs.ndjson"])).splitlines()
    assert said[-1] == f"{len(jobs)} of {len(lines)} lines are invalid; nothing was enqueued"
    assert [line.split(":")[0] for line in said[:-1]] == [f"line {number}" for number in range(2, len(lines) + 1)]
    return [line.partition(": ")[2] for line in said[:-1]]


def _called(arguments: list[str]) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (REFUSED, ""), (arguments, result.output)
    return result.stderr.strip().removeprefix("jobs-exec: ")


async def by_sql(world: World, jobs: Sequence[BadJob]) -> list[str]:
    return [await asyncio.to_thread(_by_sql, world, job) for job in jobs]


def _by_sql(world: World, job: BadJob) -> str:
    spelled = {"orgId": "org_id", "maxAttempts": "max_attempts", "expiresAt": "expires_at", "runAt": "run_at"}
    values = {spelled.get(name, name): value for name, value in job.envelope().items()}
    values = {"org_id": None, "key": "k", **values, "data": job.data}
    named = ", ".join(f"{name} => %({name})s" + ("::json" if name == "data" else "") for name in values)
    statement = f"select outcome from jobs.enqueue({named})"  # noqa: S608  (names of our own)
    with world.work.database.connect() as connection, pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        connection.execute(statement.encode(), values)
    return str(caught.value.diag.message_primary)


WAYS: dict[str, Way] = {
    "Client": by_client,
    "SyncClient": by_sync_client,
    "ctx.enqueue": by_context,
    "ctx.enqueue_sync": by_context_in_a_thread,
    "jobs-exec enqueue": by_command,
    "jobs-exec enqueue --from": by_file,
    "jobs.enqueue": by_sql,
}
