"""The schedules of the recipes in a real pg_cron, which runs each of them itself: the one test that waits for a minute."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import TEMPLATE, Database, make_template, missing, running_server, server_folder
from recipes import PROGRAMS, Setup, command_shown, prepare, recipe, requests, run_scheduled, run_script, shown
from recipes import with_supabase as with_supabase_in
from serving import SECRET

EXTENSION = Path("/usr/share/postgresql/15/extension/pg_cron.control")
PATIENCE = 150.0
"""Seconds until pg_cron has run everything: it wakes at the beginning of a minute."""


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """All schedules in one database, which is the one that pg_cron works in."""
    if not EXTENSION.exists():
        missing("pg_cron is not installed (apt-get install postgresql-15-cron)")
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": TEMPLATE,
        "cron.use_background_workers": "on",
        "max_worker_processes": "20",
    }
    with server_folder() as folder, running_server(15, folder / "postgres", **settings) as server:
        make_template(server)
        made = prepare(tmp_path_factory.mktemp("pg_cron"), Database(TEMPLATE, server))
        schedule_all(made)
        yield made


def schedule_all(setup: Setup) -> None:
    """What the page says, for all three recipes that pg_cron drives."""
    database = setup.database
    database.execute("create extension pg_cron")
    with_supabase_in(
        database,
        jobs_url="http://127.0.0.1:9",
        jobs_secret=SECRET,
        project_url="http://127.0.0.1:9",
        anon_key="anon",
        scheduler_token="token",
    )
    database.execute("create table public.orgs (id text primary key, status text)")
    database.execute(
        "insert into public.orgs values ('acme', 'active'), ('globex', 'active'), ('initech', 'suspended')"
    )
    done = setup.call(["/bin/sh", "-c", command_shown("jobs-exec schedules add")])
    assert done.returncode == 0, done.stderr
    edge_function = recipe("edge_function.sql").replace("nightly report of acme", "through the function")
    for script in (shown("pg_cron.sql"), recipe("pg_net_calls.sql"), recipe("pg_net_schedule.sql"), edge_function):
        run_script(database, script)


def runs(database: Database) -> dict[str, str]:
    """How the last run of each job ended, by pg_cron's own record."""
    rows = database.execute(
        "select j.jobname, d.status from cron.job j join cron.job_run_details d using (jobid) order by d.runid"
    )
    return {str(name): str(status) for name, status in rows}


def test_pg_cron_runs_every_schedule_of_the_recipes(setup: Setup) -> None:
    database = setup.database
    names = {str(name) for (name,) in database.execute("select jobname from cron.job")}
    assert len(names) == 4
    database.execute("select cron.alter_job(jobid, schedule => '* * * * *') from cron.job")
    deadline = time.monotonic() + PATIENCE
    while set(ended := runs(database)) != names or set(ended.values()) & {"starting", "running"}:
        assert time.monotonic() < deadline, ended
        time.sleep(0.2)
    details = database.execute("select command, return_message from cron.job_run_details")
    assert set(ended.values()) == {"succeeded"}, details
    database.execute("select cron.unschedule(jobid) from cron.job where jobname <> 'nightly'")
    sent = Counter(request.url.removeprefix("http://127.0.0.1:9") for request in requests(database))
    assert set(sent) == {"/trigger", "/tick", "/functions/v1/trigger-report"}


def test_a_tick_that_pg_cron_has_fired_is_not_fired_again(setup: Setup) -> None:
    database = setup.database
    run_scheduled(database, "nightly")
    run_scheduled(database, "nightly")
    ((fired,),) = database.execute("select fired from jobs.all_schedules where name = 'nightly'")
    jobs = database.execute("select org_id, count(*) from jobs.jobs_queue group by org_id order by org_id")
    assert jobs == [("acme", fired), ("globex", fired)]


def test_an_executor_runs_what_pg_cron_has_fired(setup: Setup) -> None:
    drained = setup.call([PROGRAMS / "jobs-exec", "run", "--drain"])
    assert drained.returncode == 0, drained.stderr
    assert set(setup.reports()) == {"acme", "globex"}
