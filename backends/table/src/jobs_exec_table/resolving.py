"""What became of an attempt whose COMMIT was sent and whose answer was lost.

On a new connection the attempt's row is locked, which waits until the other end has committed or rolled back:
found means not committed; not found, the run of exactly this attempt tells whether it was this one that ended the
job. While the database is away the question is repeated with growing, jittered pauses, for one lease at most.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import psycopg
from psycopg.rows import TupleRow

from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import AttemptRef
from jobs_exec_table.connections import Connections
from jobs_exec_table.faults import is_outage, translated
from jobs_exec_table.statements import statement

_BOUND = "select set_config('lock_timeout', %(lock)s, true)"
"""The other end is gone after one lease at the latest: its session times out idle in the transaction."""


async def resolve(connections: Connections, ref: AttemptRef, lease: float) -> bool | None:
    """True: committed. False: somebody else has the job. None: not committed, the job is still this attempt's.

    Raises `BackendUnavailable` when nobody could tell within `lease` seconds.
    """
    for pause in _pauses(lease):
        try:
            async with connections.single("resolve") as connection:
                return await _ask(connection, ref, lease)
        except BackendUnavailable:
            await asyncio.sleep(pause)
    raise _unknown()


def resolve_sync(connections: Connections, ref: AttemptRef, lease: float) -> bool | None:
    """`resolve` for threads."""
    for pause in _pauses(lease):
        try:
            with (
                translated(),
                psycopg.connect(connections.conninfo("resolve"), autocommit=True, prepare_threshold=None) as connection,
            ):
                return _ask_sync(connection, ref, lease)
        except BackendUnavailable:
            time.sleep(pause)
    raise _unknown()


async def _ask(connection: psycopg.AsyncConnection[TupleRow], ref: AttemptRef, lease: float) -> bool | None:
    values = parameters(ref) | {"lock": f"{int(lease * 2000)}ms"}
    async with connection.transaction():
        await connection.execute(_BOUND, values)
        if await (await connection.execute(statement("lock_attempt"), values)).fetchone():
            return None
        return bool(await (await connection.execute(statement("run_of_attempt"), values)).fetchone())


def _ask_sync(connection: psycopg.Connection[TupleRow], ref: AttemptRef, lease: float) -> bool | None:
    values = parameters(ref) | {"lock": f"{int(lease * 2000)}ms"}
    with connection.transaction():
        connection.execute(_BOUND, values)
        if connection.execute(statement("lock_attempt"), values).fetchone():
            return None
        return bool(connection.execute(statement("run_of_attempt"), values).fetchone())


def parameters(ref: AttemptRef) -> dict[str, object]:
    """Of the statements about one attempt."""
    return {"job_id": ref.job_id, "token": ref.token}


def _pauses(seconds: float) -> Iterator[float]:
    """Jittered pauses of at most a second, until `seconds` have passed."""
    end = time.monotonic() + seconds
    bound = 0.05
    while True:
        yield random.uniform(bound / 2, bound)  # noqa: S311  (spreads load, guards no secret)
        if time.monotonic() >= end:
            return
        bound = min(1.0, bound * 2)


def _unknown() -> BackendUnavailable:
    return BackendUnavailable("table", "the connection was lost during a commit and nobody can say what became of it")


def lost_commit(error: psycopg.Error) -> bool:
    """True when a failed COMMIT may have been carried out all the same."""
    return is_outage(error) and error.sqlstate not in ("40001", "40P01")
