"""Plans, judged by the work the server really did: no sequential scan, and no more rows than the batch asks for.

Counted inside one transaction (`pg_stat_xact_all_tables`), so it holds for statements inside functions too, which
EXPLAIN does not show. Three states of statistics: taken while the queue was empty (and the session's plans were made
then), while all jobs were ready, while all were running.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import psycopg
import pytest
from databases import Database
from psycopg.rows import TupleRow

from jobs_exec_table.statements import statement

JOBS = 20_000
ORGS = 500
BATCH = 100
RETENTION = 30 * 86_400.0
STATES = ("planned on an empty queue", "all ready", "all running")

FILL = """
insert into jobs.jobs_queue (org_id, type, identity, run_hash, digest, payload_digest, state, run_at, payload)
select 'org-' || lpad((i %% %(orgs)s)::text, 5, '0'), 'work', 'payload', h,
    encode(substring(h from 1 for 16), 'hex')::uuid, gen_random_uuid(), %(state)s::jobs.job_state,
    now() - interval '1 minute', json_build_object('n', i)
from (select i, sha256(int4send(i)) as h from generate_series(1, %(jobs)s) i) s
"""
WORK = """
select coalesce(sum(seq_scan), 0), coalesce(sum(seq_tup_read + idx_tup_fetch), 0)
from pg_stat_xact_all_tables
where schemaname = 'jobs' and relname in ('jobs_queue', 'job_runs', 'job_keys')
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One server session, with the plans it has cached."""

    connection: psycopg.Connection[TupleRow]
    executor: UUID

    def run(self, name: str, parameters: Mapping[str, object]) -> list[TupleRow]:
        cursor = self.connection.execute(statement(name), parameters)
        return cursor.fetchall() if cursor.description else []

    def claim(self) -> list[TupleRow]:
        return self.run("claim", self.claim_parameters())[1:]

    def claim_parameters(self) -> dict[str, object]:
        return {
            "executor": self.executor,
            "queue": "default",
            "types": ["work"],
            "limit": BATCH,
            "max_bytes": 1 << 23,
            "cursor": "org-00250",
            "org_slots": 1_000_000,
            "busy_orgs": [],
            "busy": [],
            "retention": RETENTION,
        }

    def promote_parameters(self, limit: int = BATCH) -> dict[str, object]:
        return {
            "limit": limit,
            "cursor": "",
            "held_cursor": "",
            "suspended": [],
            "active": [],
            "retention": RETENTION,
        }

    def start_parameters(self, number: int) -> dict[str, object]:
        """Of the job with that number (see `FILL`)."""
        run_hash = sha256(number.to_bytes(4, "big")).digest()
        return {
            "executor": self.executor,
            "id": uuid4(),
            "org": f"org-{number:05}",
            "type": "work",
            "queue": "default",
            "payload": "{}",
            "identity": "payload",
            "hash": run_hash,
            "digest": UUID(bytes=run_hash[:16]),
            "payload_digest": uuid4(),
            "max_attempts": 5,
            "priority": 5,
            "expires_at": None,
            "trace": None,
            "retention": RETENTION,
        }

    def end(self, start: Mapping[str, object], action: str) -> None:
        """Starts the job and ends it."""
        row = self.run("start", start)[0]
        assert row[0] == "started"
        self.run("settle", self.settle_parameters([row[10:]], action))

    def settle_parameters(self, jobs: list[TupleRow], action: str) -> dict[str, object]:
        count = len(jobs)
        return {
            "ids": [job[1] for job in jobs],
            "tokens": [job[8] for job in jobs],
            "actions": [action] * count,
            "retention": RETENTION,
            "delays": [60.0] * count,
            "ttls": [RETENTION] * count,
            "results": ["1"] * count,
            "reasons": ["why"] * count,
            "errors": ["boom"] * count,
            "ofs": [None] * count,
        }

    def fill(self, state: str = "ready") -> None:
        self.connection.execute(FILL, {"orgs": ORGS, "jobs": JOBS, "state": state})

    def fetched(self, name: str, parameters: Mapping[str, object]) -> int:
        """Rows that one call read; a sequential scan fails the test."""
        with self.connection.transaction():
            # The counters include what earlier transactions of the session have not reported yet.
            scans, rows = self.connection.execute(WORK).fetchall()[0]
            self.run(name, parameters)
            scans_after, rows_after = self.connection.execute(WORK).fetchall()[0]
        assert scans_after == scans, f"{name} scanned a table from end to end"
        return int(rows_after - rows)


@pytest.fixture
def session(migrated: Database) -> Iterator[Session]:
    with migrated.connect() as connection:
        made = Session(connection, uuid4())
        made.run(
            "join",
            {
                "id": made.executor,
                "name": "plans",
                "lease": 3600.0,
                "queues": ["default"],
                "types": ["work"],
                "type_queues": ["default"],
                "identities": ["payload"],
                "max_attempts": [None],
                "schedules": [],
            },
        )
        yield made


@pytest.fixture(params=STATES)
def filled(request: pytest.FixtureRequest, session: Session) -> Session:
    """All jobs ready, under one state of statistics."""
    match request.param:
        case "planned on an empty queue":
            session.connection.execute("analyze jobs.jobs_queue, jobs.job_runs, jobs.job_keys")
            for _ in range(8):
                assert session.claim() == []
                session.run("promote", session.promote_parameters())
                session.run("settle", session.settle_parameters([], "succeeded"))
                session.run("rescue", {"limit": BATCH, "max_crashes": 3, "retention": RETENTION})
                session.run("purge", {"limit": BATCH})
            session.fill()
        case "all ready":
            session.fill()
            session.connection.execute("analyze jobs.jobs_queue")
        case "all running":
            session.fill()
            session.connection.execute("update jobs.jobs_queue set state = 'running', executor = gen_random_uuid()")
            session.connection.execute("analyze jobs.jobs_queue")
            session.connection.execute("update jobs.jobs_queue set state = 'ready', executor = null")
    return session


def test_a_claim_reads_a_few_rows_for_each_job_it_takes(filled: Session) -> None:
    for _ in range(7):
        assert filled.fetched("claim", filled.claim_parameters()) < 12 * BATCH


@pytest.mark.parametrize("action", ["succeeded", "retry", "dead", "give_back"])
def test_a_settle_reads_a_few_rows_for_each_job_it_ends(filled: Session, action: str) -> None:
    for _ in range(7):
        jobs = filled.claim()
        assert len(jobs) == BATCH
        assert filled.fetched("settle", filled.settle_parameters(jobs, action)) < 6 * BATCH


@pytest.mark.parametrize("past", ["nothing", "a live job", "a success", "a dead run"])
def test_a_start_reads_a_few_rows(filled: Session, past: str) -> None:
    for number in range(7):
        parameters = filled.start_parameters(number + 1)
        match past:
            case "nothing":
                filled.connection.execute("delete from jobs.jobs_queue where digest = %(digest)s", parameters)
            case "a success":
                filled.end(parameters, "succeeded")
            case "a dead run":
                filled.end(parameters, "dead")
        assert filled.fetched("start", parameters) < 25


def test_a_promotion_reads_a_few_rows_for_each_org_it_passes(filled: Session) -> None:
    filled.connection.execute("update jobs.jobs_queue set state = 'scheduled'")
    for _ in range(7):
        assert filled.fetched("promote", filled.promote_parameters()) < 4 * ORGS + 12 * BATCH


def test_a_promotion_with_nothing_due_reads_next_to_nothing(filled: Session) -> None:
    filled.connection.execute("update jobs.jobs_queue set state = 'scheduled', run_at = now() + interval '1 day'")
    filled.connection.execute("vacuum jobs.jobs_queue")
    assert filled.fetched("promote", filled.promote_parameters()) < 20


def test_a_rescue_reads_a_few_rows_for_each_job_it_takes_back(filled: Session) -> None:
    assert len(filled.claim()) == BATCH
    filled.connection.execute("delete from jobs.job_executors")
    rescued = filled.fetched("rescue", {"limit": BATCH, "max_crashes": 3, "retention": RETENTION})
    assert BATCH <= rescued < 12 * BATCH


def test_retention_reads_what_it_deletes(filled: Session) -> None:
    for _ in range(5):
        filled.run("settle", filled.settle_parameters(filled.claim(), "succeeded"))
    filled.connection.execute("update jobs.job_runs set keep_until = now()")
    filled.connection.execute("update jobs.job_keys set expires_at = now()")
    assert BATCH <= filled.fetched("purge", {"limit": BATCH}) < 12 * BATCH


@pytest.mark.parametrize("name", ["list_jobs", "list_jobs_of_org", "show_job", "get_runs", "count_running"])
def test_a_look_up_reads_what_it_shows(filled: Session, name: str) -> None:
    for _ in range(5):
        jobs = filled.claim()
        filled.run("settle", filled.settle_parameters(jobs, "succeeded"))
    parameters = {
        "org_id": "org-00251",
        "type": None,
        "queue": None,
        "status": None,
        "before": None,
        "limit": 20,
        "id": jobs[0][1],
        "digests": [uuid4()],
    }
    assert filled.fetched(name, parameters) < 100


def test_a_claim_walks_past_a_million_foreign_jobs_of_one_org_in_bounded_steps(session: Session) -> None:
    session.fill()
    session.connection.execute("update jobs.jobs_queue set type = 'foreign' where org_id < 'org-00400'")
    session.connection.execute("update jobs.jobs_queue set org_id = 'org-00000' where type = 'foreign'")
    session.connection.execute("analyze jobs.jobs_queue")
    assert session.fetched("claim", session.claim_parameters()) < 12 * BATCH + 250 * 2 + BATCH * 40
