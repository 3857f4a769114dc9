"""The recipes of the documentation as their reader has them: files beside the page, and files that the page shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import psycopg
from databases import Database
from markdown_blocks import blocks
from psycopg.rows import dict_row
from serving import SECRET, Served, serving
from workspace import ROOT

PAGE = ROOT / "docs/howto/recipes.md"
FILES = ROOT / "docs/howto/recipes"
STUBS = ROOT / "tests/recipes/supabase.sql"
TYPE = "report.nightly"

REPORTS = """
    from jobs_exec import job

    @job("report.nightly", identity="none")
    async def nightly(ctx, data):
        async with ctx.transaction() as connection:
            await connection.execute("insert into reports (org) values (%s)", (ctx.org_id,))
        return {"report": ctx.org_id}
"""
"""Of a type that is run again by every call: only the tick makes two calls the same work."""


@dataclass(frozen=True, slots=True)
class Setup:
    """An application that writes nightly reports: its folder and its database."""

    folder: Path
    database: Database

    def environment(self, **settings: str) -> dict[str, str]:
        """What a scheduler starts the application's commands with; the tools of this environment come first."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(self.folder),
            "PYTHONWARNINGS": "error",
            "JOB_DATABASE_URL": self.database.url,
            "JOB_MODULES": "reports",
            **settings,
        }

    def shell(self, command: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """`sh -c command`, in the folder."""
        return self.call(["/bin/sh", "-c", command], stdin, **settings)

    def call(self, command: list[str], stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def serving(self) -> AbstractContextManager[Served]:
        """The endpoint, which runs reports and nothing else."""
        return serving(self.folder, self.database, JOB_MODULES="reports", JOB_CRON_TYPES=TYPE)

    def reports(self) -> list[str]:
        """The orgs for which the handler has run."""
        return [str(org) for (org,) in self.database.execute("select org from reports order by id")]

    def runs(self) -> list[tuple[object, ...]]:
        """The recorded runs: org, type, status."""
        return self.database.execute("select org_id, type, status::text from jobs.job_runs order by created_at")


def prepare(folder: Path, database: Database) -> Setup:
    """Writes the application and makes its table."""
    (folder / "reports.py").write_text(dedent(REPORTS))
    database.execute("create table reports (id bigserial primary key, org text not null)")
    return Setup(folder, database)


def shown(name: str) -> str:
    """The file `name` as the page shows it."""
    (found,) = [block.text for block in blocks(PAGE) if block.directive == "file" and block.value == name]
    return found


def recipe(name: str) -> str:
    """The file `name` beside the page."""
    return (FILES / name).read_text()


def with_supabase(database: Database, **secrets: str) -> None:
    """Adds the vault, with `secrets` in it, and pg_net's queue."""
    run_script(database, STUBS.read_text())
    with database.connect() as connection:
        for name, secret in secrets.items():
            connection.execute("insert into vault.decrypted_secrets values (%s, %s)", (name, secret))


def run_script(database: Database, script: str) -> None:
    """Runs all statements of a file in one transaction, as a migration tool does."""
    with database.connect() as connection:
        connection.execute(script.encode())


@dataclass(frozen=True, slots=True)
class Request:
    """One request that pg_net was asked for."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def send(self) -> httpx.Response:
        """Sends it, as pg_net's worker does."""
        return httpx.post(self.url, headers=dict(self.headers), content=self.body, timeout=30)


def requests(database: Database) -> list[Request]:
    """What pg_net would send, oldest first."""
    with psycopg.connect(database.url, row_factory=dict_row) as connection:
        rows = connection.execute("select * from net.http_request_queue order by id").fetchall()
    return [Request(row["url"], row["headers"], bytes(row["body"])) for row in rows]


def answered(done: subprocess.CompletedProcess[str]) -> Any:
    """The answer that a command printed as JSON; fails unless it ended well."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def environment_of(settings: Mapping[str, str]) -> Iterator[None]:
    """This process's environment without other settings of ours, until the end of the block."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("JOB_")]:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


SIGNING_SECRET = SECRET
