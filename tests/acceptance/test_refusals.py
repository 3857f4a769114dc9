"""What stops an executor or an enqueue before its first job: one sentence, the right exit code, nothing written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from databases import Database
from distributions import Site
from processes import Commands, commands
from psycopg import sql

from jobs_exec.cli import main

SECRET = "geheim-4711"
RUN = ("run", "--drain")
ENQUEUE = ("enqueue", "quick", "--org", "acme", "--allow-unregistered")
HANDLER = """
    from jobs_exec import job_type
    from jobs_exec.contracts import hookimpl

    async def handler(ctx, data): ...

    @hookimpl
    def job_types(host):
        return [job_type("mail.send", handler)]
"""


# --- plugins and backends ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Commands:
    return commands(tmp_path)


def said_by(folder: Commands, arguments: tuple[str, ...], code: int, **settings: str) -> str:
    done = folder.call(*arguments, **settings)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [RUN, ENQUEUE])
def test_an_unknown_backend_is_answered_with_those_there_are(folder: Commands, arguments: tuple[str, ...]) -> None:
    said = said_by(folder, arguments, 5, JOB_QUEUE_BACKEND="tabel", JOB_PLUGINS_ALLOW="")
    assert "no queue backend 'tabel' is installed (asked for by JOB_QUEUE_BACKEND from" in said
    assert "Did you mean 'table'?" in said
    assert len(said.splitlines()) == 1


def test_an_executor_does_not_start_with_broken_plugins_and_names_them_all(folder: Commands) -> None:
    site = Site(folder.folder / "site")
    site.install("mail-one", entry_points={"plugins:mail-one": "mail_one"}, module=HANDLER)
    site.install("mail-two", entry_points={"plugins:mail-two": "mail_two"}, module=HANDLER)
    site.install("lost", entry_points={"plugins:lost": "lost"}, module="import no_such_module\n")
    allowed = {"JOB_PLUGINS_ALLOW": "probe,mail-one,mail-two,lost"}
    said = said_by(folder, RUN, 5, **allowed)
    assert "2 plugin problem(s)" in said
    (twice,) = [line for line in said.splitlines() if "'mail.send' is registered by" in line]
    assert "mail-one" in twice
    assert "mail-two" in twice
    assert "No module named 'no_such_module'" in said
    assert "JOB_PLUGINS_DENY" in said
    kept_out = folder.call(*RUN, **allowed, JOB_PLUGINS_DENY="mail-two,lost")
    assert kept_out.returncode == 0, kept_out.stderr


def test_a_client_enqueues_although_a_handler_plugin_is_broken(folder: Commands) -> None:
    site = Site(folder.folder / "site")
    site.install("lost", entry_points={"plugins:lost": "lost"}, module="import no_such_module\n")
    done = folder.call(*ENQUEUE, JOB_PLUGINS_ALLOW="probe,lost")
    assert done.returncode == 0
    assert "warning: lost" in done.stderr
    assert "Traceback" not in done.stderr


# --- databases --------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("JOB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOB_PLUGINS_ALLOW", "table")
    return monkeypatch


def refusal(here: pytest.MonkeyPatch, url: str, arguments: tuple[str, ...], code: int) -> str:
    here.setenv("JOB_DATABASE_URL", url)
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]  # an executor's log is JSON
    assert len(lines) == 1, result.stderr
    assert SECRET not in result.stderr
    assert "postgresql://" not in result.stderr
    return lines[0]


@pytest.fixture
def role(migrated: Database) -> Iterator[str]:
    name = f"app_{migrated.name}"
    migrated.execute(f"create role {name} login password '{SECRET}'")
    yield name
    migrated.server.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("arguments", [RUN, ENQUEUE])
def test_a_database_that_refuses_is_one_sentence_and_an_exit_code(
    here: pytest.MonkeyPatch, migrated: Database, role: str, arguments: tuple[str, ...]
) -> None:
    unreachable = f"postgresql://app:{SECRET}@127.0.0.1:1/app"
    assert "nothing answers at the address" in refusal(here, unreachable, arguments, 3)
    wrong = migrated.url_for(role, f"{SECRET}-not")
    assert "password or the user name is wrong" in refusal(here, wrong, arguments, 3)
    assert "database does not exist" in refusal(here, migrated.server.url("nowhere"), arguments, 3)
    lacking = migrated.url_for(role, SECRET)
    assert "lacks the rights on schema jobs" in refusal(here, lacking, arguments, 3)
    migrated.execute(f"alter database {migrated.name} set default_transaction_read_only = on")
    assert "the database is read-only" in refusal(here, migrated.url, arguments, 3)


@pytest.mark.parametrize("arguments", [RUN, ENQUEUE])
def test_a_schema_that_is_missing_or_outdated_is_told_with_the_command_that_mends_it(
    here: pytest.MonkeyPatch, database: Database, migrated: Database, arguments: tuple[str, ...]
) -> None:
    assert "the jobs schema is missing" in refusal(here, database.url, arguments, 4)
    migrated.execute("delete from jobs.schema_migrations where version > 1")
    said = refusal(here, migrated.url, arguments, 4)
    assert "the jobs schema is at version 1" in said
    assert "jobs-exec db migrate" in said
