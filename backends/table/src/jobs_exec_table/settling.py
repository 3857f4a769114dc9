"""Settles: one statement a batch. A value the server refuses costs its own job and nobody else's.

The refused batch is halved until the culprit stands alone; that one then ends as dead with reason ``result`` and a
text of ours. Any other error leaves the whole batch unwritten, to be sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from jobs_exec.contracts import Policy, Settled
from jobs_exec.job import Action, AttemptRef, Settlement
from jobs_exec_table.connections import Connections
from jobs_exec_table.faults import StatementRefused
from jobs_exec_table.statements import statement

log = logging.getLogger(__name__)

UNSTORABLE = "the database refused to store how this attempt ended"


class Settling:
    """Settles for one process."""

    def __init__(self, connections: Connections, policy: Policy) -> None:
        self._connections = connections
        self._policy = policy

    async def settle(self, batch: Sequence[Settlement]) -> Settled:
        """See `QueueBackend.settle`."""
        # Of two settlements of one attempt the first counts, as it would in two batches.
        wanted = {each.ref: each for each in reversed(batch)}
        return await self._settle([each for each in batch if wanted[each.ref] is each])

    async def settle_on(self, connection: AsyncConnection[TupleRow], settlement: Settlement) -> Settled:
        """One settle inside the transaction of an attempt."""
        cursor = await connection.execute(statement("settle"), self._parameters([settlement]))
        return _answer([settlement], await cursor.fetchall())

    def settle_on_sync(self, connection: Connection[TupleRow], settlement: Settlement) -> Settled:
        """The same on a sync connection."""
        cursor = connection.execute(statement("settle"), self._parameters([settlement]))
        return _answer([settlement], cursor.fetchall())

    async def _settle(self, batch: list[Settlement]) -> Settled:
        if not batch:
            return Settled(frozenset())
        try:
            return await self._write(batch)
        except StatementRefused as error:
            if not error.blames_data and error.sqlstate is not None:
                raise
            return await self._without_culprit(batch, error)

    async def _write(self, batch: list[Settlement]) -> Settled:
        async with self._connections.connection() as connection:
            cursor = await connection.execute(statement("settle"), self._parameters(batch))
            return _answer(batch, await cursor.fetchall())

    async def _without_culprit(self, batch: list[Settlement], error: StatementRefused) -> Settled:
        if len(batch) > 1:
            middle = len(batch) // 2
            first, second = await self._settle(batch[:middle]), await self._settle(batch[middle:])
            changed = {**first.changed, **second.changed}
            return Settled(first.accepted | second.accepted, first.busy | second.busy, changed)
        (culprit,) = batch
        log.warning(
            "a settlement was refused by the database",
            extra={"job_id": str(culprit.ref.job_id), "sqlstate": error.sqlstate, "rule": error.rule},
        )
        if culprit.reason == "result" and culprit.error == UNSTORABLE:
            raise error
        instead = Settlement(culprit.ref, Action.DEAD, error=UNSTORABLE, reason="result")
        settled = await self._settle([instead])
        return replace(settled, changed=dict.fromkeys(settled.accepted, instead))

    def _parameters(self, batch: Sequence[Settlement]) -> dict[str, object]:
        return {
            "ids": [each.ref.job_id for each in batch],
            "tokens": [each.ref.token for each in batch],
            "actions": [each.action.value for each in batch],
            "retention": self._policy.runs_retention,
            "delays": [each.delay for each in batch],
            "ttls": [each.key_ttl for each in batch],
            "results": [each.result for each in batch],
            "reasons": [each.reason for each in batch],
            "errors": [each.error for each in batch],
            "ofs": [each.of for each in batch],
        }


def _answer(batch: Sequence[Settlement], rows: Sequence[TupleRow]) -> Settled:
    """The server mentions only what it did not write."""
    asked = {each.ref for each in batch}
    if not rows:
        return Settled(frozenset(asked))
    refused = {AttemptRef(job_id, token): answer for job_id, token, answer in rows}
    busy = frozenset(ref for ref, answer in refused.items() if answer == "busy")
    return Settled(frozenset(asked - refused.keys()), busy)
