"""The side door that the contract suites use with the table backend, and the logical clock.

`TableHarness.peek` reads the tables with a statement of its own, past the backend. `advance` moves the business clock
of the whole database, by replacing `jobs.clock()`: for databases of tests only.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from jobs_exec.testing.harness import Peek
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.connecting import TextContext
from jobs_exec_table.statements import statement


class TableHarness:
    """A table backend under test, with a connection of its own to `url`."""

    def __init__(self, backend: TableBackend, url: str) -> None:
        self.backend = backend
        self.store = backend.ledger
        self._url = url
        self._offset = 0.0

    async def peek(self, job_id: UUID) -> Peek | None:
        """What is stored of one job; both tables are asked, and no more than one may know it."""
        rows = await self._execute(sql.SQL(statement("test_peek")), {"id": job_id})
        assert len(rows) <= 1, "the job is in the queue and has a run"  # noqa: S101
        return Peek(**rows[0] | {"errors": tuple(json.loads(rows[0]["errors"]))}) if rows else None

    async def advance(self, seconds: float) -> None:
        """Moves the business clock of the database forward."""
        self._offset += seconds
        text = sql.SQL(statement("test_clock")).format(offset=sql.Literal(self._offset))
        await self._execute(text, {})

    async def expire_lease(self, executor: UUID) -> None:
        """Lets the lease of `executor` end now, and a stamp it already has become one lease old."""
        await self._execute(sql.SQL(statement("test_expire")), {"id": executor})

    async def _execute(self, text: sql.SQL | sql.Composed, parameters: dict[str, object]) -> list[dict[str, Any]]:
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, context=TextContext())
        async with connection:
            cursor = await connection.cursor(row_factory=dict_row).execute(text, parameters or None)
            return await cursor.fetchall() if cursor.description else []
