"""One handler plugin, installed as a distribution and unchanged, under both backends; only JOB_QUEUE_BACKEND differs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from databases import Database
from distributions import Site
from serving import PATIENCE, SCRIPT, SECRET, environment, serving

PLUGIN = """
    from collections.abc import Sequence

    from pydantic import BaseModel

    from jobs_exec import JobContext, JobType, job_type
    from jobs_exec.contracts import CallNext, Event, JobSettled, Middleware, Observer, PluginHost, hookimpl

    class Booking(BaseModel):
        amount: int
        currency: str = "EUR"

    async def book(ctx: JobContext, data: Booking) -> dict:
        async with ctx.transaction() as connection:
            await connection.execute(
                "insert into bookings values (current_setting('jobs.org_id'), %s, %s)", (data.amount, data.currency)
            )
        return {"booked": data.amount, "for": ctx.org_id}

    def book_in_a_thread(ctx: JobContext, data: Booking) -> dict:
        with ctx.transaction() as connection:
            connection.execute("insert into bookings values (%s, %s, 'sync')", (ctx.org_id, data.amount))
        return {"booked": data.amount}

    async def flaky(ctx: JobContext, data: dict) -> int:
        async with ctx.transaction() as connection:
            await connection.execute("insert into bookings values (%s, 0, 'flaky')", (ctx.org_id,))
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return ctx.attempt

    async def hopeless(ctx: JobContext, data: dict) -> dict:
        return {"success": False, "error": "no"}

    @hookimpl
    def job_types() -> Sequence[JobType]:
        return [
            job_type("ledger.book", book),
            job_type("ledger.book_sync", book_in_a_thread, queue="threads"),
            job_type("ledger.flaky", flaky, backoff=lambda attempt: 0.0),
            job_type("ledger.hopeless", hopeless, max_attempts=1),
        ]

    @hookimpl
    def middleware() -> Sequence[Middleware]:
        async def noted(ctx: JobContext, call_next: CallNext) -> object:
            result = await call_next(ctx)
            return {**result, "noted": True} if isinstance(result, dict) and "booked" in result else result

        return [noted]

    @hookimpl
    def observers() -> Sequence[Observer]:
        def observe(event: Event) -> None:
            if isinstance(event, JobSettled):
                with open("observed", "a") as file:
                    file.write(f"{event.type} {event.attempt} {event.action.value}\\n")

        return [observe]
"""

RUNS = "select org_id, type, status::text, attempts, result::text from jobs.job_runs order by type, org_id"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with the plugin installed beside it, and settings that are the same for both backends but for one."""

    folder: Path
    database: Database
    settings: dict[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SCRIPT, *arguments],
            cwd=self.folder,
            env=environment(self.database, **self.settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def enqueue(self, type_name: str, org: str, **data: object) -> int:
        return self.command("enqueue", type_name, "--org", org, "--data", json.dumps(data)).returncode


@contextmanager
def deployed(folder: Path, database: Database, backend: str) -> Iterator[Deployment]:
    """Under ``cron`` the endpoint runs; under ``table`` nothing does, until `jobs-exec run`."""
    site = folder / "site"
    site.mkdir()
    Site(site).install("jobs-exec-ledger", entry_points={"plugins:ledger": "jobs_exec_ledger"}, module=PLUGIN)
    settings = {
        "PYTHONPATH": str(site),
        "JOB_PLUGINS_ALLOW": "cron,table,ledger",
        "JOB_MODULES": "",
        "JOB_QUEUES": "default:10,threads:2",
        "JOB_CRON_TYPES": "*",
        "JOB_CRON_SECRETS": SECRET,
    }
    with ExitStack() as stack:
        if backend == "cron":
            served = stack.enter_context(serving(folder, database, **settings))
            settings["JOB_TRIGGER_URL"] = f"{served.url}/trigger"
        yield Deployment(folder, database, {**settings, "JOB_QUEUE_BACKEND": backend})


@pytest.mark.parametrize("backend", ["table", "cron"])
def test_the_same_plugin_does_the_same_under_either_backend(backend: str, migrated: Database, tmp_path: Path) -> None:
    migrated.execute("create table bookings (org text, amount int, note text)")
    with deployed(tmp_path, migrated, backend) as deployment:
        for org in ("acme", "emca", "acme"):
            assert deployment.enqueue("ledger.book", org, amount=5) == 0
        assert deployment.enqueue("ledger.book_sync", "acme", amount=7) == 0
        for _ in range(2):  # the second time it is the retry under cron, and a duplicate under table
            assert deployment.enqueue("ledger.flaky", "acme") == 0
        # Only an endpoint that runs jobs knows by then that this one is dead.
        assert deployment.enqueue("ledger.hopeless", "acme") == (1 if backend == "cron" else 0)
        refused = deployment.command("enqueue", "ledger.book", "--org", "acme", "--data", '{"amount": "canary"}')
        if backend == "table":
            assert deployment.command("run", "--drain").returncode == 0
    assert migrated.execute(RUNS) == [
        ("acme", "ledger.book", "succeeded", 1, '{"booked":5,"for":"acme","noted":true}'),
        ("emca", "ledger.book", "succeeded", 1, '{"booked":5,"for":"emca","noted":true}'),
        ("acme", "ledger.book_sync", "succeeded", 1, '{"booked":7,"noted":true}'),
        ("acme", "ledger.flaky", "succeeded", 2, "2"),
        ("acme", "ledger.hopeless", "dead", 1, None),
    ]
    assert migrated.execute("select org, amount, note from bookings order by note, org") == [
        ("acme", 5, "EUR"),
        ("emca", 5, "EUR"),
        ("acme", 0, "flaky"),
        ("acme", 7, "sync"),
    ]
    assert sorted((tmp_path / "observed").read_text().splitlines()) == [
        "ledger.book 1 succeeded",
        "ledger.book 1 succeeded",
        "ledger.book_sync 1 succeeded",
        "ledger.flaky 1 retry",
        "ledger.flaky 2 succeeded",
        "ledger.hopeless 1 dead",
    ]
    assert refused.returncode == 6
    assert "data.amount: " in refused.stderr
    assert "canary" not in refused.stderr
    assert migrated.execute("select from jobs.jobs_queue union all select from jobs.job_executors") == []
