"""A world for tests of attempt transactions: a database, the attempts of one process, and jobs that are running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from databases import Database

from jobs_exec.identity import Identity, new_job_id
from jobs_exec.job import Action, ClaimedJob, Settlement
from jobs_exec_table.attempts import Attempts
from jobs_exec_table.connections import Connections

SETTLE = (
    "select answer from jobs.jobs_settle_v1(%s, %s, '{succeeded}', 3600, '{0}', '{null}', '{null}', '{null}',"
    " '{null}', '{null}')"
)
RUNNING = (
    "insert into jobs.jobs_queue (id, token, digest, payload_digest, executor, state, identity, attempts, org_id,"
    " type, run_hash) values (%s, 1, %s, %s, gen_random_uuid(), 'running', 'none', 1, %s, 'test', %s)"
)


def values(settlement: Settlement) -> tuple[list[Any], list[int]]:
    return [settlement.ref.job_id], [settlement.ref.token]


@dataclass(frozen=True, slots=True)
class World:
    """A database with the application's table, and the attempts of one process."""

    database: Database
    connections: Connections
    attempts: Attempts

    def running_job(self, org_id: str = "acme") -> ClaimedJob:
        job_id = new_job_id()
        self.database.execute(RUNNING, job_id, job_id, job_id, org_id, bytes(32))
        return ClaimedJob(
            job_id, org_id, "test", "default", "{}", 1, 5, 1, 5, datetime.now(UTC), 0.0, Identity.NONE, bytes(32)
        )

    def effects(self) -> int:
        return self._count("select count(*) from effects")

    def runs(self, job: ClaimedJob) -> int:
        return self._count("select count(*) from jobs.job_runs where job_id = %s", job.id)

    def queued(self, job: ClaimedJob) -> int:
        return self._count("select count(*) from jobs.jobs_queue where id = %s", job.id)

    def _count(self, query: str, *arguments: object) -> int:
        (count,) = self.database.execute(query, *arguments)[0]
        assert isinstance(count, int)
        return count


def success(job: ClaimedJob) -> Settlement:
    return Settlement(job.ref, Action.SUCCEED)


def waiting_for_a_lock(database: Database) -> None:
    """Returns when a session waits for a lock."""
    while not database.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'"):
        pass
