"""Starting one job at once for whoever triggers it: one statement, the same lock as enqueue."""

from __future__ import annotations

from psycopg.rows import TupleRow

from jobs_exec.contracts import Policy, Start, StartOutcome, StartRequest
from jobs_exec.job import NewJob, RunRef
from jobs_exec_table.claiming import claimed_job
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement

_ANSWER = 10
"""Columns before those of the claimed job."""


class Starting:
    """Starts for one process."""

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections = connections
        self._policy = policy

    async def start(self, request: StartRequest) -> Start:
        """See `QueueBackend.start`. Waits up to 3 s for a transaction that has enqueued the same work."""
        async with self._connections.connection() as connection:
            cursor = await connection.execute(statement("start"), self._parameters(request), binary=True)
            rows = await cursor.fetchall()
        return _read(rows[0])

    async def past(self, job: NewJob) -> Start | None:
        """See `QueueBackend.past`."""
        parameters = {"digest": job.digest, "org": job.org_id, "hash": job.run_hash}
        async with self._connections.connection() as connection:
            rows = await (await connection.execute(statement("past"), parameters)).fetchall()
        return _past(rows[0]) if rows else None

    def _parameters(self, request: StartRequest) -> dict[str, object]:
        job = request.job
        return {
            "executor": request.executor,
            "id": job.id,
            "org": job.org_id,
            "type": job.type,
            "queue": job.queue,
            "payload": job.payload,
            "identity": job.identity.value,
            "hash": job.run_hash,
            "payload_digest": job.payload_digest,
            "max_attempts": job.max_attempts,
            "priority": job.priority,
            "expires_at": job.expires_at,
            "trace": job.trace,
            "retention": self._policy.runs_retention,
        }


def _read(row: TupleRow) -> Start:
    outcome, job_id, wait, attempts, max_attempts, conflict, reason, token, finished_at, result = row[:_ANSWER]
    outcome = StartOutcome(outcome)
    return Start(
        outcome,
        job_id,
        job=claimed_job(row[_ANSWER:]) if outcome is StartOutcome.STARTED else None,
        run=RunRef(job_id, token, finished_at, result) if outcome is StartOutcome.SUCCEEDED else None,
        wait=wait or 0.0,
        attempts=attempts or 0,
        max_attempts=max_attempts or 0,
        conflict=conflict,
        reason=reason,
    )


def _past(row: TupleRow) -> Start:
    outcome, job_id, token, finished_at, result, attempts, max_attempts, reason = row
    run = RunRef(job_id, token, finished_at, result) if outcome == StartOutcome.SUCCEEDED else None
    return Start(StartOutcome(outcome), job_id, None, run, 0.0, attempts or 0, max_attempts or 0, reason=reason)
