"""A canary in every secret place: it is in the database, and in nothing that anybody says about it."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from databases import Database
from psycopg import sql
from pydantic import BaseModel
from receivers import receiving, reply
from working import PATIENCE, Work

from jobs_exec import Envelope, JobContext, JobType, job_type
from jobs_exec.cli import main
from jobs_exec.client import Client
from jobs_exec.errors import InvalidJob
from jobs_exec.executor import Executor, Mode, logs
from jobs_exec.host import Host, Purpose, build_host

CANARY = "canary-77f3a9"
SIGNING = base64.b64encode(b"canary-of-the-signing-secret").decode()
EVERY_COMMAND = (
    ["list"],
    ["list", "--json"],
    ["orgs", "--json"],
    ["types", "--json"],
    ["executors", "--json"],
    ["config", "show"],
    ["config", "show", "--json"],
    ["plugins", "list", "--json"],
    ["db", "status"],
    ["retry", "--dead", "--dry-run"],
)
"""Everything that lists and reports; only `show` is asked for one job's payload."""


@pytest.fixture
def role(migrated: Database) -> Iterator[str]:
    """A superuser with the canary as its password: no right is missing, only the secret counts."""
    name = f"secret_{migrated.name}"
    own = sql.Identifier(name)
    migrated.server.execute(sql.SQL("create role {} superuser login password {}").format(own, sql.Literal(CANARY)))
    yield name
    migrated.server.execute(sql.SQL("drop role {}").format(own))


@pytest.fixture
def lines() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Everything that is logged from DEBUG on: as JSON, and as for a terminal."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    as_json, pretty = io.StringIO(), io.StringIO()
    logs.configure(pretty, json=False, level=logging.DEBUG)
    shown = [each for each in root.handlers if each not in before]
    logs.configure(as_json, json=True, level=logging.DEBUG)
    for handler in shown:
        root.addHandler(handler)
    yield as_json, pretty
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def settings(migrated: Database, role: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("JOB_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "JOB_PLUGINS_ALLOW": "table,webhooks",
        "JOB_DATABASE_URL": migrated.url_for(role, CANARY),
        "JOB_WEBHOOKS_SECRET": f"whsec_{SIGNING}",
        "JOB_WEBHOOKS_ALLOW_PRIVATE": "1",
        "JOB_WEBHOOKS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


class Strict(BaseModel):
    n: int


async def driver_error(ctx: JobContext, data: dict[str, Any]) -> None:
    """PostgreSQL quotes the row in DETAIL."""
    async with ctx.transaction() as connection:
        await connection.execute("insert into strict values (%s, null)", (data["secret"],))


async def quoting(ctx: JobContext, data: dict[str, Any]) -> None:
    raise ValueError(f"cannot handle {data}")


async def misfit(ctx: JobContext, data: Strict) -> None: ...


def host_of(types: Sequence[JobType]) -> Host:
    """Built from the settings, with the application's types beside those of the plugins."""
    host = build_host(for_=Purpose.EXECUTOR)
    return dataclasses.replace(host, job_types={**host.job_types, **{made.name: made for made in types}})


def silent(text: str, where: str) -> None:
    assert CANARY not in text, where
    assert SIGNING not in text, where


@pytest.mark.usefixtures("settings")
async def test_no_secret_is_in_any_line_any_repr_or_any_listing(
    migrated: Database, lines: tuple[io.StringIO, io.StringIO]
) -> None:
    migrated.execute("create table strict (secret text, n int not null)")
    types = [
        job_type("driver", driver_error, max_attempts=1),
        job_type("quoting", quoting, max_attempts=1),
        job_type("misfit", misfit, backoff=lambda attempt: 3600.0),
    ]
    said: list[str] = []
    async with receiving() as receiver:
        receiver.answer = lambda _request: reply(500, CANARY.encode())
        hook = {"url": receiver.url(), "body": {"secret": CANARY}}
        async with Client.open(host=host_of(types)) as client:
            said.append(repr(client) + repr(client.backend))
            for name, data in (("driver", {"secret": CANARY}), ("quoting", {"a": CANARY}), ("webhook.deliver", hook)):
                job = Envelope("acme", name, data)
                said.append(repr(job) + repr(await client.enqueue_many([job])))
            with pytest.raises(InvalidJob) as caught:
                await client.enqueue(org_id="acme", type="misfit", data={"n": CANARY})
            said.append(str(caught.value))
        Work(migrated, ()).insert("acme", "misfit", f'{{"n": "{CANARY}"}}')
        Work(migrated, ()).insert("acme", "misfit", f'{{"n": "{CANARY}", "b": 1e5000}}')
        host = host_of(types)
        executor = Executor(host, mode=Mode.DRAIN)
        report = await asyncio.wait_for(executor.run(), PATIENCE)
        said.append(repr(executor) + repr(host) + repr(report))
        assert receiver.only.headers["webhook-signature"]
    assert (report.counts.failed, report.counts.succeeded) == (5, 0)
    for text in said:
        silent(text, "a repr or an error")
    for stream in lines:
        assert "executor started" in stream.getvalue()
        silent(stream.getvalue(), "a log")
    silent((migrated.server.cluster.home / "log").read_text(), "the log of the server")
    shown = await asyncio.to_thread(_called, ["show", str(Work(migrated, ()).id_of("quoting"))])
    assert CANARY in shown, "show is where a payload is shown"
    for arguments in EVERY_COMMAND:
        silent(await asyncio.to_thread(_called, arguments), " ".join(arguments))


def _called(arguments: list[str]) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("settings")
async def test_a_lost_server_is_logged_without_its_url(
    migrated: Database, lines: tuple[io.StringIO, io.StringIO]
) -> None:
    """Every session is ended, and the role may not come back: pools, roles and libpq all complain."""
    host = host_of([])
    name = migrated.execute("select rolname from pg_roles where rolname like 'secret_%%'")[0][0]
    executor = Executor(host)
    running = asyncio.ensure_future(executor.run())
    try:
        await said(lines[0], "executor started")
        migrated.execute(f"alter role {name} nologin")
        ended = "select pg_terminate_backend(pid, 3000) from pg_stat_activity where usename = %s and datname = %s"
        await asyncio.to_thread(migrated.execute, ended, name, migrated.name)
        await said(lines[0], "failed, trying again")
        migrated.execute(f"alter role {name} login")
        await said(lines[0], "works again")
        executor.drain()
        await asyncio.wait_for(running, PATIENCE)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for stream in lines:
        silent(stream.getvalue(), "a log")


async def said(stream: io.StringIO, what: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while what not in stream.getvalue():  # noqa: ASYNC110  (a log has no event)
            await asyncio.sleep(0.02)
