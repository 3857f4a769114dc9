"""Who runs here and what they carry: executor rows, announced job types and schedules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from psycopg.rows import TupleRow, tuple_row

from jobs_exec import Identity
from jobs_exec.contracts import ExecutorRecord, TypeRecord
from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import AttemptRef
from jobs_exec_table.caller import async_connection, sync_connection
from jobs_exec_table.connections import READ_COMMITTED, Connections
from jobs_exec_table.faults import translated
from jobs_exec_table.schedule_rows import schedule_key
from jobs_exec_table.statements import statement

LEAVE_BATCH = 1000
"""Jobs given back by one statement of a leaving executor."""


class Membership:
    """Joins, renews and leaves for the executors of one process."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def join(self, executor: ExecutorRecord) -> None:
        """See `QueueBackend.join`. Raises `BackendUnavailable` where a transaction sees nothing but its beginning.

        What ends while a start waits for it, or while a reaper looks, is read in a later statement: under ``repeatable
        read`` it is not seen there, and work that has just been done was run again (tried); ``serializable`` fails
        instead, at every meeting of two callers.
        """
        if self._connections.isolation != READ_COMMITTED:
            raise BackendUnavailable(
                "table",
                f"transactions are {self._connections.isolation} by default, and jobs would run twice; "
                f"`alter role ... set default_transaction_isolation = '{READ_COMMITTED}'` for its user",
            )
        parameters = {
            "id": executor.id,
            "name": executor.name,
            "lease": executor.lease,
            "queues": list(executor.queues),
            "types": [each.name for each in executor.types],
            "type_queues": [each.queue for each in executor.types],
            "identities": [each.identity.value for each in executor.types],
            "max_attempts": [each.max_attempts for each in executor.types],
            "schedules": [schedule_key(each) for each in executor.schedules],
        }
        await self._value("join", parameters)

    async def heartbeat(self, executor: UUID) -> bool:
        """See `QueueBackend.heartbeat`."""
        return bool(await self._value("heartbeat", {"id": executor}))

    async def leave(self, executor: UUID) -> None:
        """See `QueueBackend.leave`. A job that somebody has locked is left to rescue."""
        left, gone = -1, False
        while not gone and left != (left := await self._running(executor)):
            gone = bool(await self._value("leave", {"id": executor, "limit": LEAVE_BATCH}))

    async def give_back_unknown(self, executor: UUID, known: Collection[AttemptRef]) -> int:
        """See `QueueBackend.give_back_unknown`. A job that somebody has locked is left to the next call."""
        ids, tokens = [each.job_id for each in known], [each.token for each in known]
        return int(await self._value("give_back_unknown", {"id": executor, "ids": ids, "tokens": tokens}))

    async def known_types(self, connection: object | None) -> Mapping[str, TypeRecord]:
        """See `QueueBackend.known_types`."""
        if connection is None:
            async with self._connections.connection() as own:
                return _types(await (await own.execute(statement("known_types"))).fetchall())
        with translated():
            cursor = async_connection(connection).cursor(row_factory=tuple_row)
            return _types(await (await cursor.execute(statement("known_types"))).fetchall())

    def known_types_sync(self, connection: object) -> Mapping[str, TypeRecord]:
        """See `QueueBackend.known_types_sync`."""
        with translated():
            cursor = sync_connection(connection).cursor(row_factory=tuple_row)
            return _types(cursor.execute(statement("known_types")).fetchall())

    async def _running(self, executor: UUID) -> int:
        return int(await self._value("count_running", {"id": executor}))

    async def _value(self, name: str, parameters: Mapping[str, object]) -> Any:
        async with self._connections.connection() as connection:
            row = await (await connection.execute(statement(name), parameters)).fetchone()
        return row[0] if row else None


def _types(rows: list[TupleRow]) -> dict[str, TypeRecord]:
    return {
        name: TypeRecord(name, queue, Identity(identity), max_attempts, last_seen)
        for name, queue, identity, max_attempts, last_seen in rows
    }
