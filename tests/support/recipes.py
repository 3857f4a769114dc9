"""The recipes of the documentation as their reader has them: files beside the page, and files that the page shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from databases import Database
from markdown_blocks import blocks
from psycopg.rows import dict_row
from serving import Served, serving
from snippets import commands
from workspace import ROOT

PAGE = ROOT / "docs/howto/recipes.md"
FILES = ROOT / "docs/howto/recipes"
STUBS = ROOT / "tests/recipes"
TYPE = "report.nightly"
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Setup:
    """An application that writes nightly reports: its folder and its database."""

    folder: Path
    database: Database

    def environment(self) -> dict[str, str]:
        """The image of the application: its programs, its modules and its settings."""
        return {
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "PYTHONWARNINGS": "error",
            "JOB_DATABASE_URL": self.database.url,
            "JOB_MODULES": "reports",
        }

    def call(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the folder, with exactly this environment, or that of the application."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment() if environment is None else environment,
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

    def forget(self) -> None:
        """Removes what a test has left: reports, jobs, runs, keys."""
        self.database.execute("truncate reports, jobs.jobs_queue, jobs.job_runs, jobs.job_keys")

    def runs(self) -> list[tuple[object, ...]]:
        """The recorded runs: org, type, status."""
        return self.database.execute("select org_id, type, status::text from jobs.job_runs order by created_at")


def prepare(folder: Path, database: Database) -> Setup:
    """Writes the page's application and makes its table."""
    (folder / "reports.py").write_text(shown("reports.py"))
    (table,) = [block.text for block in blocks(PAGE) if block.text.startswith("create table reports")]
    run_script(database, table)
    return Setup(folder, database)


def shown(name: str) -> str:
    """The file `name` as the page shows it."""
    (found,) = [block.text for block in blocks(PAGE) if block.directive == "file" and block.value == name]
    return found


def command_shown(beginning: str) -> str:
    """The one command of the page that begins so."""
    consoles = [block for block in blocks(PAGE) if block.language == "console"]
    (found,) = [each.text for block in consoles for each in commands(block) if each.text.startswith(beginning)]
    return found


def recipe(name: str) -> str:
    """The file `name` beside the page."""
    return (FILES / name).read_text()


def with_supabase(database: Database, **secrets: str) -> None:
    """Adds the vault, with `secrets` in it, and pg_net's queue."""
    run_script(database, (STUBS / "supabase.sql").read_text())
    with database.connect() as connection:
        for name, secret in secrets.items():
            connection.execute("insert into vault.decrypted_secrets values (%s, %s)", (name, secret))


def with_cron(database: Database) -> None:
    """Adds what stands in for pg_cron."""
    run_script(database, (STUBS / "cron.sql").read_text())


def run_scheduled(database: Database, name: str) -> None:
    """Runs the command of one of pg_cron's jobs."""
    ((command,),) = database.execute("select command from cron.job where jobname = %s", name)
    run_script(database, str(command))


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
