"""The run ledger as an idempotency store: the table backend's own, and a store for any other backend.

With the table backend, claim and settle reserve and record by themselves, in one transaction; only `get` and `purge`
are then of use here. For another backend a reservation is a lease in `job_reservations`, a success a row of
`job_keys` with its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs_exec.contracts import Record, Reservation, ReserveAnswer, Reserved, digest
from jobs_exec.job import AttemptRef, RunRef
from jobs_exec_table.connections import Connections
from jobs_exec_table.statements import statement


class TableStore:
    """See `jobs_exec.contracts.IdempotencyStore`. It opens and closes the connections it is given."""

    name = "table"

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def open(self) -> None:
        """Connects. Raises `BackendUnavailable` or `SchemaMismatch`."""
        await self._connections.open()

    async def close(self) -> None:
        """Releases every connection; may be called twice."""
        await self._connections.close()

    async def reserve(self, batch: Sequence[Reservation], lease: float) -> list[ReserveAnswer]:
        """Takes each free piece of work for `lease` seconds; a lapsed reservation is free."""
        parameters = {
            "digests": [digest(each.run_hash) for each in batch],
            **_owners([each.owner for each in batch]),
            "orgs": [each.org_id for each in batch],
            "lease": lease,
        }
        rows = await self._rows("reserve", parameters) if batch else []
        return [ReserveAnswer(Reserved(row[0]), RunRef(*row[1:]) if row[1] else None) for row in rows]

    async def renew(self, owners: Sequence[AttemptRef], lease: float) -> frozenset[AttemptRef]:
        """Extends the leases of those that still own theirs, and returns them."""
        rows = await self._rows("renew", {**_owners(owners), "lease": lease})
        return frozenset(AttemptRef(*row) for row in rows)

    async def record(self, batch: Sequence[Record]) -> frozenset[AttemptRef]:
        """Stores successes; refused unless still the owner."""
        parameters = {
            "digests": [digest(each.run_hash) for each in batch],
            **_owners([each.owner for each in batch]),
            "orgs": [each.org_id for each in batch],
            "ttls": [each.ttl for each in batch],
            "results": [each.result for each in batch],
        }
        return frozenset(AttemptRef(*row) for row in await self._rows("record", parameters))

    async def release(self, owners: Sequence[AttemptRef]) -> None:
        """Gives reservations up; those of others are left alone."""
        async with self._connections.connection() as connection:
            await connection.execute(statement("release"), _owners(owners))

    async def get(self, run_hashes: Sequence[bytes]) -> Mapping[bytes, RunRef]:
        """The unexpired successes among `run_hashes`."""
        wanted = {digest(run_hash): run_hash for run_hash in run_hashes}
        rows = await self._rows("get_runs", {"digests": list(wanted)})
        return {wanted[found]: RunRef(*ref) for found, *ref in rows}

    async def purge(self, limit: int) -> int:
        """Deletes up to `limit` expired successes and lapsed reservations; returns how many."""
        ((count,),) = await self._rows("purge_store", {"limit": limit})
        return int(count)

    async def _rows(self, name: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        async with self._connections.connection() as connection:
            return await (await connection.execute(statement(name), parameters)).fetchall()


def _owners(owners: Sequence[AttemptRef]) -> dict[str, object]:
    return {"job_ids": [owner.job_id for owner in owners], "tokens": [owner.token for owner in owners]}
