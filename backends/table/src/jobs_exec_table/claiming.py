"""Claims: one statement, its rows read into values. Payloads stay text; the executor decodes them one by one."""

from __future__ import annotations

import json
import logging
import time
from uuid import UUID

from psycopg.rows import TupleRow

from jobs_exec import Identity
from jobs_exec.contracts import Claim, ClaimKind, ClaimRequest, Ended, Policy, Position
from jobs_exec.errors import JobsError
from jobs_exec.job import ClaimedJob, RunStatus
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement

log = logging.getLogger(__name__)

CURSOR_EVERY = 2.0
"""Seconds between two writes of a queue's cursor: it is a hint for those who start without one."""

_MODES = {mode.value: mode for mode in Identity}


class Claiming:
    """Claims for one process; remembers where it left the ring of each queue."""

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections = connections
        self._policy = policy
        self._cursors: dict[str, str] = {}
        self._saved: dict[str, float] = {}

    async def claim(self, request: ClaimRequest) -> Claim:
        """See `QueueBackend.claim`."""
        if request.limit < 1:
            return Claim(cursor=request.cursor)
        if request.kind is ClaimKind.SUSPECT:
            return _read(await self._suspect(request), request)
        claim = _read(await self._ordinary(request), request)
        # Also when it found nothing: executors that start anew would walk past the same orgs again and again.
        if claim.cursor != request.cursor:
            await self._left_at(request.queue, claim.cursor)
        return claim

    async def save_cursors(self) -> None:
        """Keeps where every ring was left."""
        for queue, cursor in list(self._cursors.items()):
            await self._save(queue, cursor)

    async def _ordinary(self, request: ClaimRequest) -> list[TupleRow]:
        async with self._connections.connection() as connection:
            cursor = await connection.execute(
                statement("claim"),
                {
                    "executor": request.executor,
                    "queue": request.queue,
                    "types": list(request.types),
                    "limit": request.limit,
                    "max_bytes": request.max_bytes,
                    "cursor": request.cursor,
                    "org_slots": request.org_slots,
                    "busy_orgs": list(request.org_running),
                    "busy": list(request.org_running.values()),
                    "retention": self._policy.runs_retention,
                },
                binary=True,
            )
            return await cursor.fetchall()

    async def _suspect(self, request: ClaimRequest) -> list[TupleRow]:
        async with self._connections.connection() as connection:
            cursor = await connection.execute(
                statement("claim_suspect"),
                {
                    "executor": request.executor,
                    "queue": request.queue,
                    "types": list(request.types),
                    "retention": self._policy.runs_retention,
                },
                binary=True,
            )
            return await cursor.fetchall()

    async def _left_at(self, queue: str, cursor: str) -> None:
        self._cursors[queue] = cursor
        now = time.monotonic()
        if now - self._saved.setdefault(queue, now) >= CURSOR_EVERY:
            await self._save(queue, cursor)

    async def _save(self, queue: str, cursor: str) -> None:
        self._saved[queue] = time.monotonic()
        try:
            async with self._connections.connection() as connection:
                await connection.execute(statement("save_cursor"), {"queue": queue, "cursor": cursor})
        except JobsError as error:
            # A hint: the claim before it has committed, and its jobs must not be lost for this.
            log.debug("where the ring of queue %r was left could not be kept: %s", queue, error)


def _read(rows: list[TupleRow], request: ClaimRequest) -> Claim:
    """The answer of a claim: jobs in their order, what ended instead, and where the walk stopped."""
    # An answer without any row was refused for want of a lease; a suspect claim answers so too when there is none.
    refused = not rows and request.kind is ClaimKind.ORDINARY
    position = Position.NO_LEASE if refused else Position.EMPTY
    cursor, foreign, suspects = request.cursor, "[]", False
    jobs: list[ClaimedJob] = []
    ended: list[Ended] = []
    for row in rows:
        match row[0]:
            case "job":
                jobs.append(claimed_job(row))
            case "ended":
                ended.append(_ended(row))
            case _:
                cursor, foreign, suspects = row[2], row[5], row[16]
                position = Position.WALKED if row[18] == "walked" else Position.EMPTY
    return Claim(tuple(jobs), tuple(ended), position, cursor, frozenset(json.loads(foreign)), suspects)


def claimed_job(row: TupleRow) -> ClaimedJob:
    """The job of a row of the kind ``job`` (`claim_row_v1`)."""
    (_, job_id, org_id, type_name, queue, payload, attempt, max_attempts, token, priority, created_at, age) = row[:12]
    return ClaimedJob(
        job_id,
        org_id,
        type_name,
        queue,
        payload,
        attempt,
        max_attempts,
        token,
        priority,
        created_at,
        age,
        _MODES[row[12]],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
    )


def _ended(row: TupleRow) -> Ended:
    job_id: UUID = row[1]
    return Ended(job_id, row[2], row[3], RunStatus(row[18]), row[19])
