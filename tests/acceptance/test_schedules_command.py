"""Schedules by the real command on a real PostgreSQL, and what is exported of them executed by other clocks' rules."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from clocks import as_a_container_gets, as_cronie_reads, pod_of
from crontabs import read_crontab
from databases import TEMPLATE, VERSIONS, Database, Server, fresh_database, make_template, running_server, server_folder
from processes import SCRIPT, Commands, commands
from serving import SECRET, serving
from workspace import ROOT

YEARLY = "0 0 1 1 *"
THIS_YEAR = datetime.now(UTC).replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
TICK = f"{THIS_YEAR:%Y-%m-%dT%H:%M:%SZ}"
"""Long past: no executor fires it, and a clock that is told so does."""


@pytest.fixture(scope="module", params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server_folder() as folder, running_server(request.param, folder / "postgres") as running:
        make_template(running)
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    with fresh_database(server, TEMPLATE) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Application:
    """A folder with handlers and a clock that stands at `TICK`, and the database it works on."""

    commands: Commands
    database: Database
    backend: str = "table"

    @property
    def settings(self) -> dict[str, str]:
        bin_ = self.commands.folder / "bin"
        return {
            "PATH": f"{bin_}:{SCRIPT.parent}:/usr/bin:/bin",
            "JOB_QUEUE_BACKEND": self.backend,
            "JOB_PLUGINS_ALLOW": "table,cron",
            "JOB_DATABASE_URL": self.database.url,
            "JOB_ORG_TABLE": "public.orgs",
        }

    def call(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What is printed and what is said."""
        done = self.commands.call("schedules", *arguments, **self.settings)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.call(*arguments, "--json", code=code)[0])

    def define(self) -> None:
        """A schedule `coded` in the application's module."""
        module = self.commands.folder / "app_jobs.py"
        coded = "register_schedule('coded', 'quick', cron='@yearly', orgs='acme')\n"
        module.write_text(module.read_text() + "from jobs_exec import register_schedule\n" + coded)

    def add(self, name: str, *options: str) -> Any:
        return self.json("add", name, "--type", "quick", "--allow-unregistered", *options)[0]

    def exported(self, *arguments: str) -> str:
        (made,) = self.json("export", *arguments)
        return str(made["text"])

    def shell(self, script: str, **environment: str) -> None:
        """Runs a script of somebody else's clock; it succeeds."""
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.commands.folder,
            env=self.commands.environment(**self.settings, **environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def runs(self) -> list[tuple[object, ...]]:
        """Everything that ended: org, status, payload's tick."""
        return self.database.execute("select org_id, status::text, result::text from jobs.job_runs order by org_id")

    def queued(self) -> int:
        ((count,),) = self.database.execute("select count(*) from jobs.jobs_queue")
        assert isinstance(count, int)
        return count


@pytest.fixture
def app(tmp_path: Path, database: Database) -> Application:
    database.execute("create table public.orgs (id text primary key, status text)")
    database.execute("insert into public.orgs values ('acme', 'active'), ('emca', 'active'), ('gone', 'suspended')")
    made = commands(tmp_path)
    date = tmp_path / "bin/date"
    date.parent.mkdir()
    date.write_text(f'#!/bin/sh\ncase "$*" in *-d*) exec /bin/date "$@";; *) echo {TICK};; esac\n')
    date.chmod(0o755)
    return Application(made, database)


def entry_of(text: str) -> str:
    """The command of a crontab's one line, as the shell gets it."""
    (entry,) = read_crontab(text).entries
    assert entry.command == as_cronie_reads(text.splitlines()[-1].split(maxsplit=5)[5])
    return entry.command


def script_of(text: str) -> str:
    (container,) = pod_of(yaml.safe_load(text))["containers"]
    return as_a_container_gets(container["command"][2], {})


def test_a_schedule_is_added_shown_paused_fired_and_removed(app: Application) -> None:
    added = app.add("yearly", "--cron", YEARLY, "--zone", "Europe/Berlin", "--all-orgs", "--tick-as", "at")
    (listed,) = app.json("list")
    assert listed == added
    assert app.json("next", "yearly", "--count", "1")[0]["ticks"][0]["local"].endswith("-01-01T00:00:00+01:00")
    assert app.call("pause", "yearly")[0] == "yearly is paused\n"
    app.call("run", "yearly", code=6)
    assert app.json("resume", "yearly")["state"] == "active"
    fired = app.json("run", "yearly", "--tick", TICK)
    assert (fired["fired"], fired["created"], fired["orgs"]) == (True, 2, 2)
    assert app.json("run", "yearly", "--tick", TICK)["fired"] is False
    payloads = app.database.execute("select org_id, payload::text from jobs.jobs_queue order by org_id")
    assert payloads == [("acme", f'{{"at":"{TICK}"}}'), ("emca", f'{{"at":"{TICK}"}}')]
    assert app.json("list")[0]["last_tick"] == TICK
    app.call("add", "yearly", "--type", "quick", "--every", "60", "--org", "a", "--allow-unregistered", code=6)
    assert app.call("remove", "yearly", "--yes")[0] == "removed yearly\n"
    assert (app.json("list"), app.queued()) == ([], 2)


def test_schedules_of_code_come_into_the_book_without_an_executor_and_another_clock_fires_them(
    app: Application,
) -> None:
    app.define()
    assert app.json("sync") == {"schedules": ["coded of application"]}
    (before,) = app.json("list")
    assert (before["state"], before["owner"]) == ("orphaned", "application")
    app.call("sync")
    assert app.json("list") == [before]
    assert app.json("run", "coded", "--tick", TICK)["created"] == 1


def test_a_schedule_of_code_is_listed_once_an_executor_carries_it_and_comes_back_when_it_is_removed(
    app: Application,
) -> None:
    app.define()
    drain = ("run", "--drain")
    assert app.commands.call(*drain, **app.settings).returncode == 0
    (listed,) = app.json("list")
    assert (listed["owner"], listed["state"]) == ("application", "orphaned")
    assert "comes back with its next executor" in app.call("remove", "coded", "--yes")[1]
    assert app.commands.call(*drain, **app.settings).returncode == 0
    assert [row["schedule"]["name"] for row in app.json("list", "--owner", "application")] == ["coded"]


@pytest.mark.parametrize("format", ["crontab", "kubernetes"])
def test_a_clock_outside_fires_and_drains_a_tick_once_however_often_it_calls(app: Application, format: str) -> None:
    app.add("yearly", "--cron", YEARLY, "--all-orgs", "--tick-as", "at", "--data", '{"it\'s": "100% \\\\ $(id)"}')
    image = ("--image", "app:1") if format == "kubernetes" else ()
    text = app.exported("yearly", "--format", format, *image)
    script = script_of(text) if format == "kubernetes" else entry_of(text)
    job = f"yearly-0-{THIS_YEAR.timestamp() / 60:.0f}"
    for _ in range(2):
        app.shell(script, CRON_JOB_NAME=job)
    result = {"it's": "100% \\ $(id)", "at": TICK}
    assert [(org, status) for org, status, _ in app.runs()] == [("acme", "succeeded"), ("emca", "succeeded")]
    assert all(json.loads(str(text)) == result for _, _, text in app.runs())
    assert app.json("list")[0]["fired"] == 1


def test_calls_and_the_book_make_one_piece_of_work_of_a_tick_whoever_comes_first(app: Application) -> None:
    for name, org in (("first", "acme"), ("second", "emca")):
        app.add(name, "--cron", YEARLY, "--org", org, "--tick-as", "at", "--data", f'{{"n": "{name}"}}')
    first = app.exported("first", "--format", "crontab")
    called = app.exported("first", "--format", "crontab", "--via", "trigger")
    app.shell(entry_of(called))
    app.shell(entry_of(first))
    second = app.exported("second", "--format", "crontab")
    called = app.exported("second", "--format", "kubernetes", "--image", "app:1", "--via", "trigger")
    app.shell(entry_of(second))
    app.shell(script_of(called), CRON_JOB_NAME=f"x-{THIS_YEAR.timestamp() / 60:.0f}")
    assert [(org, status) for org, status, _ in app.runs()] == [("acme", "succeeded"), ("emca", "succeeded")]
    assert app.queued() == 0


def test_a_signed_call_does_the_work_of_the_book_s_own_tick(app: Application) -> None:
    app.add("yearly", "--cron", YEARLY, "--org", "acme")
    command = entry_of(app.exported("yearly", "--format", "crontab", "--via", "http"))
    folder = app.commands.folder / "endpoint"
    folder.mkdir()
    (folder / "our_jobs.py").write_text((app.commands.folder / "app_jobs.py").read_text())
    with serving(folder, app.database, JOB_MODULES="our_jobs", JOB_CRON_TYPES="quick") as served:
        settings = {"JOB_TRIGGER_URL": f"{served.url}/trigger", "JOB_CRON_SECRETS": SECRET, "JOB_MODULES": ""}
        for _ in range(2):
            app.shell(command, **settings)
    assert app.json("run", "yearly", "--tick", TICK)["duplicates"] == 1
    assert [(org, status) for org, status, _ in app.runs()] == [("acme", "succeeded")]


def test_schedules_of_the_cron_backend_stand_in_the_book_of_its_queue(app: Application) -> None:
    cron = replace(app, backend="cron")
    added = cron.add("yearly", "--cron", YEARLY, "--org", "acme")
    assert app.json("list") == [added]
    called = cron.exported("yearly", "--format", "crontab", "--via", "trigger")
    for _ in range(2):
        cron.shell(entry_of(called))
    assert cron.json("run", "yearly", "--tick", TICK)["duplicates"] == 1
    assert [(org, status) for org, status, _ in app.runs()] == [("acme", "succeeded")]


def test_what_pg_cron_is_given_fires_as_the_command_does(app: Application) -> None:
    app.add("all", "--cron", "* * * * *", "--all-orgs")
    app.add("own", "--cron", "@hourly", "--tenant", "it's $jobs$ ours", "--start", "2026-01-01T00:00:00Z")
    app.add("over", "--cron", "@hourly", "--org", "acme", "--end", "2026-01-01T00:00:00Z")
    query = "select id from public.orgs where status = 'active'"
    exported = app.json("export", "--format", "pg_cron", "--orgs-query", query)
    with app.database.connect() as connection:
        connection.execute((ROOT / "tests/recipes/cron.sql").read_bytes())
        for each in exported:
            connection.execute(each["text"].encode())
        jobs = connection.execute("select jobname, schedule, command from cron.job order by jobname").fetchall()
        for _, _, command in [*jobs, *jobs]:
            connection.execute(command.encode())
    assert [(name, when) for name, when, _ in jobs] == [
        ("jobs-exec:all", "* * * * *"),
        ("jobs-exec:over", "0 * * * *"),
        ("jobs-exec:own of org it's $jobs$ ours", "0 * * * *"),
    ]
    rows = {row["schedule"]["name"]: row for row in app.json("list")}
    assert (rows["all"]["fired"] > 0, rows["own"]["fired"] > 0, rows["over"]["fired"]) == (True, True, 0)
    assert app.queued() == 2 * rows["all"]["fired"] + rows["own"]["fired"]
    assert app.json("run", "all", "--tick", rows["all"]["last_tick"])["fired"] is False
