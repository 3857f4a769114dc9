"""What moves jobs without running them: promotion and holding, rescue, retention. One statement each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs_exec.contracts import Policy, Promoted, PromoteRequest, Rescued, RescueRequest
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement


class Upkeep:
    """Upkeep of one process; remembers where it left the rings of orgs with due and with held jobs."""

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections = connections
        self._policy = policy
        self._cursor = self._held_cursor = ""

    async def promote(self, request: PromoteRequest) -> Promoted:
        """See `QueueBackend.promote`. Due jobs of every queue are moved, not of the caller's alone."""
        row = await self._row(
            "promote",
            {
                "limit": request.limit,
                "cursor": self._cursor,
                "held_cursor": self._held_cursor,
                "suspended": sorted(request.suspended),
                "active": sorted(request.active),
                "retention": self._policy.runs_retention,
            },
        )
        ready, expired, held, released, queues, held_orgs, more, self._cursor, self._held_cursor = row
        missing = await self._missing_types() if request.explain else {}
        return Promoted(ready, expired, held, released, frozenset(queues), frozenset(held_orgs), more, missing)

    async def _missing_types(self) -> dict[str, int]:
        async with self._connections.connection() as connection:
            return dict(await (await connection.execute(statement("missing_types"))).fetchall())

    async def rescue(self, request: RescueRequest) -> Rescued:
        """See `QueueBackend.rescue`."""
        parameters = {
            "limit": request.limit,
            "max_crashes": request.max_crashes,
            "retention": self._policy.runs_retention,
        }
        return Rescued(*await self._row("rescue", parameters))

    async def purge(self, limit: int) -> int:
        """See `QueueBackend.purge`."""
        return int((await self._row("purge", {"limit": limit}))[0])

    async def _row(self, name: str, parameters: Mapping[str, object]) -> tuple[Any, ...]:
        async with self._connections.connection() as connection:
            row = await (await connection.execute(statement(name), parameters)).fetchone()
        assert row is not None  # noqa: S101  (each of them answers one row)
        return row
