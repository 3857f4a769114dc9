"""Plans of the schedules' statements, judged by the rows that the server really read, as in `test_plans`.

100,000 jobs and 10,000 schedules are there: due, not yet due, paused, disabled and orphaned. Three states of statistics:
taken while all tables were empty (and the session's plans were made then), with everything in them, and while no
schedule was due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from books import TICK
from databases import Database
from psycopg.rows import TupleRow

from jobs_exec_table.statements import statement

STATES = ("planned on empty tables", "all there", "nothing due")
TABLES = "jobs.jobs_queue, jobs.job_keys, jobs.job_schedules, jobs.job_schedule_jobs, jobs.job_executors"
ORGS = [f"org-{number:05}" for number in range(200)]

JOBS = """
insert into jobs.jobs_queue (org_id, type, identity, run_hash, digest, state, run_at)
select 'org-' || lpad((i % 500)::text, 5, '0'), 'work', 'key', h, encode(substring(h from 1 for 16), 'hex')::uuid,
    'ready', now() - interval '1 minute'
from (select i, sha256(int4send(i)) as h from generate_series(1, 100000) i) s
"""
KEYS = """
insert into jobs.job_keys (token, finished_at, expires_at, digest, job_id, org_id)
select 1, now(), now() + interval '1 day', gen_random_uuid(), gen_random_uuid(), 'acme' from generate_series(1, 50000)
"""
SCHEDULES = """
insert into jobs.job_schedules (name, owner, type, every, orgs, overlap, next_tick, paused, enabled)
select 's' || i, case when i % 10 in (1, 2) then 'gone' when i % 10 = 3 then 'app' else '' end, 'work', 60, '{acme}',
    'skip', date_trunc('second', now()) + case when i % 10 < 6 then -1 else 1 end * make_interval(secs => i),
    i % 10 = 4, i % 10 <> 5
from generate_series(1, 10000) i
"""
EXECUTORS = """
insert into jobs.job_executors (id, name, lease_seconds, lease_until, queues, types, schedules)
select gen_random_uuid(), 'probe', 3600, now() + interval '1 hour', '{default}', '{work}',
    array(select ref from jobs.job_schedules where owner = 'app' limit 50)
from generate_series(1, 8)
"""
NOTES = """
insert into jobs.job_schedule_jobs (schedule, org_id, job_id, seen_at)
select s.id, 'org-' || lpad(i::text, 5, '0'), q.id, now() - interval '25 hours'
from (select id from jobs.job_schedules where name in ('s6', 's7', 's8', 's9', 's16')) s
cross join generate_series(0, 1999) i
join lateral (select id from jobs.jobs_queue where digest = encode(substring(sha256(int4send(i + 1)) from 1 for 16),
    'hex')::uuid) q on true
"""
WORK = """
select coalesce(sum(seq_scan) filter (where relname <> 'job_executors'), 0),
    coalesce(sum(seq_tup_read + idx_tup_fetch), 0)
from pg_stat_xact_all_tables where schemaname = 'jobs'
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One server session, with the plans it has cached."""

    connection: psycopg.Connection[TupleRow]

    def run(self, name: str, parameters: Mapping[str, object]) -> list[TupleRow]:
        return self.connection.execute(statement(name), parameters).fetchall()

    def fetched(self, name: str, parameters: Mapping[str, object]) -> int:
        """Rows that one call read; a sequential scan fails the test."""
        with self.connection.transaction():
            scans, rows = self.connection.execute(WORK).fetchall()[0]
            self.run(name, parameters)
            scans_after, rows_after = self.connection.execute(WORK).fetchall()[0]
        assert scans_after == scans, f"{name} scanned a table from end to end"
        return int(rows_after - rows)

    def fire(self, name: str = "s6", ticks: int = 1, **options: Any) -> dict[str, Any]:
        """The parameters of a firing out of turn for `ORGS`."""
        found = self.connection.execute("select id from jobs.job_schedules where name = %s", (name,)).fetchall()
        return {
            "schedule": found[0][0] if found else uuid4(),
            "expected": None,
            "ticks": [TICK.replace(minute=minute) for minute in range(ticks)],
            "orgs": ORGS,
            "next": None,
            "missed": 0,
            "max_attempts": 5,
            "more": False,
            **options,
        }

    def fill(self) -> None:
        for text in (JOBS, KEYS, SCHEDULES, EXECUTORS, NOTES):
            self.connection.execute(text)


@pytest.fixture(params=STATES)
def filled(request: pytest.FixtureRequest, migrated: Database) -> Iterator[Session]:
    with migrated.connect() as connection:
        session = Session(connection)
        match request.param:
            case "planned on empty tables":
                connection.execute("analyze " + TABLES)
                for _ in range(8):
                    session.run("schedules_due", {"limit": 100})
                    session.run("schedule_fire", session.fire())
                    session.run("purge", {"limit": 100})
                session.fill()
            case "all there":
                session.fill()
                connection.execute("analyze " + TABLES)
            case "nothing due":
                session.fill()
                connection.execute("update jobs.job_schedules set next_tick = next_tick + interval '1 day'")
                connection.execute("analyze " + TABLES)
                connection.execute("update jobs.job_schedules set next_tick = next_tick - interval '1 day'")
        yield session


def test_what_is_due_is_read_and_little_else_whatever_is_orphaned_paused_and_not_due(filled: Session) -> None:
    filled.connection.execute(
        "update jobs.job_schedules set next_tick = next_tick + interval '2 days' where id not in"
        " (select id from jobs.job_schedules where owner = '' and enabled and not paused"
        " and next_tick <= jobs.clock() order by id limit 60)"
    )
    filled.connection.execute("vacuum jobs.job_schedules")
    assert len(filled.run("schedules_due", {"limit": 100})) == 60
    for _ in range(7):
        assert filled.fetched("schedules_due", {"limit": 100}) < 4 * 100
    filled.connection.execute("update jobs.job_schedules set next_tick = next_tick + interval '2 days'")
    filled.connection.execute("vacuum jobs.job_schedules")
    assert filled.fetched("schedules_due", {"limit": 100}) < 150


def test_of_more_than_is_asked_for_each_is_looked_at_so_that_every_tenant_has_its_turn(filled: Session) -> None:
    ((due,),) = filled.connection.execute(
        "select count(*) from jobs.job_schedules"
        " where owner = '' and enabled and not paused and next_tick <= jobs.clock()"
    ).fetchall()
    assert due > 100
    assert len(filled.run("schedules_due", {"limit": 100})) == 100
    for _ in range(7):
        assert filled.fetched("schedules_due", {"limit": 100}) < 2 * due + 4 * 100


def test_a_firing_reads_a_few_rows_for_each_job_it_makes(filled: Session) -> None:
    names = ("s6", "s7", "s8", "s9", "s16", "s17", "s18")
    for name in names:
        read = filled.fetched("schedule_fire", filled.fire(name, orgs=[f"new-{org}" for org in ORGS]))
        assert read < 8 * len(ORGS)
    (count,) = filled.connection.execute("select count(*) from jobs.jobs_queue where org_id like 'new-%'").fetchall()
    assert count == (len(names) * len(ORGS),)


def test_a_firing_that_skips_reads_a_few_rows_for_each_org(filled: Session) -> None:
    for name in ("s6", "s7", "s8", "s9", "s16"):
        assert filled.fetched("schedule_fire", filled.fire(name, ticks=2)) < 12 * len(ORGS)
    assert filled.connection.execute("select sum(fired) from jobs.job_schedules").fetchall() == [(10,)]


def test_the_retention_of_notes_reads_what_it_looks_at(filled: Session) -> None:
    for _ in range(7):
        assert 100 <= filled.fetched("purge", {"limit": 100}) < 12 * 100


def test_a_list_by_name_reads_what_it_shows(filled: Session) -> None:
    wanted = {"name": "s77", "owner": None, "org_id": None, "limit": 20}
    assert filled.fetched("schedules_list", wanted) < 50
    assert filled.fetched("schedules_list", wanted | {"name": None}) < 400
