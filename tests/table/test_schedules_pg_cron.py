"""`jobs.fire` under a real pg_cron: its expression is the clock, and no process of ours runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from databases import DEBIAN_15, Database, missing, running_server, server_folder

from jobs_exec.identity import Identity, run_hash
from jobs_exec_table.migrating import Migrator

EXTENSION = DEBIAN_15.parent / "lib" / "pg_cron.so"
PATIENCE = 90.0
"""Seconds; pg_cron looks at its list at the beginning of each minute."""

SCHEDULE = (
    "insert into jobs.job_schedules (name, type, every, orgs, tick_as, enabled)"
    " values ('nightly', 'work', 60, null, 'at', false) returning id"
)
FIRE = "select * from jobs.fire('nightly', date_trunc('minute', now()), orgs => array(select id::text from tenants))"
JOBS = "select org_id::text, run_hash, payload ->> 'at' from jobs.jobs_queue order by org_id"
LAST = "select last_tick, fired from jobs.job_schedules"


@pytest.fixture
def with_pg_cron() -> Iterator[Database]:
    """The database of a server that runs pg_cron, with the schema in it."""
    if not EXTENSION.exists():
        missing("pg_cron is not installed (apt-get install postgresql-15-cron)")
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": "postgres",
        # Otherwise it connects over TCP, where these servers do not listen.
        "cron.use_background_workers": "on",
    }
    with server_folder() as folder, running_server(15, folder / "postgres", **settings) as server:
        database = Database("postgres", server)
        with database.connect() as connection:
            Migrator(connection).apply()
        database.execute("create extension pg_cron")
        yield database


def test_pg_cron_fires_a_tick_for_every_tenant_once(with_pg_cron: Database) -> None:
    database = with_pg_cron
    database.execute("create table tenants as select gen_random_uuid() as id from generate_series(1, 3)")
    ((schedule,),) = database.execute(SCHEDULE)
    database.execute("select cron.schedule('nightly', '* * * * *', %s)", FIRE)
    database.execute("select cron.schedule('nightly again', '* * * * *', %s)", FIRE)
    tick = until_fired(database)
    assert timedelta(0) <= datetime.now(UTC) - tick < timedelta(seconds=PATIENCE)
    text = tick.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    orgs = sorted(str(org) for (org,) in database.execute("select id::text from tenants"))
    key = f"schedule:{schedule}@{text}".encode()
    assert database.execute(JOBS) == [(org, run_hash(org, "work", Identity.KEY, key), text) for org in orgs]
    assert database.execute(LAST) == [(tick, 1)]


def until_fired(database: Database) -> datetime:
    """The tick, once pg_cron has run both of its jobs."""
    deadline = time.monotonic() + PATIENCE
    ran = "select status, return_message from cron.job_run_details where status in ('succeeded', 'failed')"
    while len(details := database.execute(ran)) < 2:
        assert time.monotonic() < deadline, f"pg_cron has not fired: {details}"
        time.sleep(0.1)
    database.execute("select cron.unschedule(jobid) from cron.job")
    assert {status for status, _ in details} == {"succeeded"}, details
    ((tick, _),) = database.execute(LAST)
    assert isinstance(tick, datetime)
    return tick
