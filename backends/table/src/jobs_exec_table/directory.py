"""The org directory over the application's own table, `JOB_ORG_TABLE`: columns ``id`` and, if it has one, ``status``.

An org is there or it is unknown. With a ``status`` column (text or an enum) the words below suspend it, in any
case; any other word, and NULL, is active: an application has words of its own for orgs that may work. A soft-deleted
org should leave the table or bear one of those words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from psycopg import sql

from jobs_exec.contracts import OrgStatus
from jobs_exec.errors import ConfigurationError
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement

SUSPENDING = ("suspended", "inactive", "disabled", "blocked", "paused", "deleted", "archived", "closed")
PAGE = 1000
KEY_TYPES = ("uuid", "text", "varchar", "bpchar")


class TableDirectory:
    """`contracts.OrgDirectory`. The table is looked at once, at the first question."""

    def __init__(self, connections: Connections, table: tuple[str, str]) -> None:
        self._connections = connections
        self._table = table
        self._statements: tuple[sql.Composed, sql.Composed] | None = None

    async def check(self, org_ids: AbstractSet[str]) -> Mapping[str, OrgStatus]:
        """The status of every org asked for, in one statement."""
        check, _ = await self._prepared()
        rows = await self._rows(check, {"ids": list(org_ids), "suspending": list(SUSPENDING)}) if org_ids else []
        found = {org_id: _status(suspended) for org_id, suspended in rows}
        return {org_id: found.get(org_id, OrgStatus.UNKNOWN) for org_id in org_ids}

    async def active(self) -> AsyncIterator[str]:
        """All active orgs, read in pages by id, so that no transaction stays open between them."""
        _, page = await self._prepared()
        after: str | None = None
        while True:
            values = {"after": after, "limit": PAGE, "suspending": list(SUSPENDING)}
            rows = await self._rows(page, values)
            for org_id, suspended in rows:
                if not suspended:
                    yield org_id
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def _prepared(self) -> tuple[sql.Composed, sql.Composed]:
        if self._statements is None:
            columns = dict(
                await self._rows(statement("org_columns"), {"schema": self._table[0], "table": self._table[1]})
            )
            self._statements = self._compose(columns)
        return self._statements

    def _compose(self, columns: Mapping[str, str]) -> tuple[sql.Composed, sql.Composed]:
        key = columns.get("id")
        if key not in KEY_TYPES:
            raise ConfigurationError("JOB_ORG_TABLE", _problem(self._table, key))
        parts = {
            "table": sql.Identifier(*self._table),
            "key": sql.SQL("uuid" if key == "uuid" else "text"),
            # Without the column nobody is suspended.
            "status": sql.SQL("o.status::text") if "status" in columns else sql.SQL("null::text"),
        }
        check = "check_orgs_by_uuid" if key == "uuid" else "check_orgs"
        return sql.SQL(statement(check)).format(**parts), sql.SQL(statement("page_of_orgs")).format(**parts)

    async def _rows(self, query: Any, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        async with self._connections.connection() as connection:
            return await (await connection.execute(query, values)).fetchall()


def _status(suspended: bool) -> OrgStatus:
    return OrgStatus.SUSPENDED if suspended else OrgStatus.ACTIVE


def _problem(table: tuple[str, str], key: str | None) -> str:
    name = ".".join(table)
    if key is None:
        return f"names {name}, which is not there, not readable, or has no column id"
    return f"names {name}, whose id is of type {key}; it must be uuid or text"
