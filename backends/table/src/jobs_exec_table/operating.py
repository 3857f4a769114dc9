"""What people ask for: reads over live jobs and runs, cancel and redrive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from jobs_exec import Identity
from jobs_exec.contracts import (
    CancelOutcome,
    ExecutorView,
    JobFilter,
    OrgView,
    Policy,
    RedriveOutcome,
    TypeRecord,
    TypeView,
)
from jobs_exec.errors import JobNotFound
from jobs_exec.job import JobView
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement


class TableOperator:
    """See `jobs_exec.contracts.Operator`."""

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections = connections
        self._policy = policy

    async def jobs(self, where: JobFilter) -> list[JobView]:
        """The jobs that match, newest first; payloads and results are left out."""
        name = "list_jobs" if where.org_id is None else "list_jobs_of_org"
        wanted = {
            "org_id": where.org_id,
            "type": where.type,
            "queue": where.queue,
            "status": where.status,
            "before": where.before,
            "limit": where.limit,
        }
        return [_job_view(row) for row in await self._dicts(name, wanted)]

    async def job(self, job_id: UUID) -> JobView:
        """One job with everything kept about it. Raises `JobNotFound`."""
        rows = await self._dicts("show_job", {"id": job_id})
        if not rows:
            raise JobNotFound(job_id)
        return _job_view(rows[0])

    async def orgs(self, limit: int = 100) -> list[OrgView]:
        """Orgs with live jobs or dead runs, longest waiting first."""
        return [OrgView(*row) for row in await self._rows("list_orgs", {"limit": limit})]

    async def types(self) -> list[TypeView]:
        """All known types by name."""
        return [
            TypeView(TypeRecord(name, queue, Identity(identity), max_attempts, last_seen), *counts)
            for name, queue, identity, max_attempts, last_seen, *counts in await self._rows("list_types", {})
        ]

    async def executors(self) -> list[ExecutorView]:
        """All executor rows, live ones first."""
        return [
            ExecutorView(executor, name, state, tuple(queues), *rest)
            for executor, name, state, queues, *rest in await self._rows("list_executors", {})
        ]

    async def cancel(self, job_ids: Sequence[UUID]) -> list[CancelOutcome]:
        """Ends queued jobs as ``cancelled``."""
        given = {"ids": list(job_ids), "retention": self._policy.runs_retention}
        return [CancelOutcome(outcome) for _, outcome in await self._rows("cancel", given)]

    async def redrive(self, job_ids: Sequence[UUID]) -> list[RedriveOutcome]:
        """Moves runs that did not succeed back into the queue: same id, attempts 0, token continued."""
        return [RedriveOutcome(outcome) for _, outcome in await self._rows("redrive", {"ids": list(job_ids)})]

    async def _rows(self, name: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        async with self._connections.connection() as connection:
            return await (await connection.execute(statement(name), parameters)).fetchall()

    async def _dicts(self, name: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        async with self._connections.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return await (await cursor.execute(statement(name), parameters)).fetchall()


def _job_view(row: dict[str, Any]) -> JobView:
    errors = row.pop("errors", None)
    return JobView(**{"of": row.pop("duplicate_of"), **row}, errors=tuple(json.loads(errors)) if errors else ())
