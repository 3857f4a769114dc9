"""Taking a lent connection back: no statement of the handler in it, nothing open, and fit to be committed or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeAlias

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from jobs_exec.errors import BackendUnavailable, TransactionMisuse
from jobs_exec.job import AttemptRef
from jobs_exec_table.connections import clean, clean_sync
from jobs_exec_table.lending import BROKEN, IDLE_INSIDE, LentConnection, LentSyncConnection

Conn: TypeAlias = AsyncConnection[TupleRow]
SyncConn: TypeAlias = Connection[TupleRow]

IGNORED = (
    "a statement of the handler failed inside the attempt's transaction and the error was ignored; "
    "put statements that may fail into a savepoint, `conn.transaction()`"
)
BUSY = "a statement was still running in the attempt's transaction when the handler had returned; await it there"


async def quiet(lent: LentConnection, seconds: float) -> bool:
    """Waits until no statement of the handler runs; it is revoked, so that no other begins."""
    try:
        async with asyncio.timeout(seconds), lent.lock:
            return True
    except TimeoutError:
        return False


def quiet_sync(lent: LentSyncConnection, seconds: float) -> bool:
    """As `quiet`."""
    if not lent.lock.acquire(timeout=seconds):
        return False
    lent.lock.release()
    return True


async def release(raw: Conn, lent: LentConnection, grace: float) -> None:
    """Takes a revoked connection back; a statement that a stray task left running is cancelled."""
    if lent.lock.locked():
        with contextlib.suppress(psycopg.Error):
            await raw.cancel_safe(timeout=grace)
        if not await quiet(lent, grace):
            await raw.close()
    await give_back(raw)


async def give_back(raw: Conn) -> None:
    """Rolls back and returns the session to its pool; one that is lost is replaced there."""
    with contextlib.suppress(psycopg.Error):
        if raw.pgconn.transaction_status in IDLE_INSIDE:
            await raw.rollback()
    await clean(raw)
    pool = raw._pool
    if isinstance(pool, AsyncConnectionPool):
        await pool.putconn(raw)


def give_back_sync(raw: SyncConn) -> None:
    """As `give_back`."""
    with contextlib.suppress(psycopg.Error):
        if raw.pgconn.transaction_status in IDLE_INSIDE:
            raw.rollback()
    clean_sync(raw)
    pool = raw._pool
    if isinstance(pool, ConnectionPool):
        pool.putconn(raw)


async def quietly(touching: Awaitable[None]) -> None:
    """A session that is lost is found by whoever uses it next."""
    with contextlib.suppress(psycopg.Error):
        await touching


def mark(ref: AttemptRef) -> str:
    """The transaction-local setting by which a transaction is known to be still the first one."""
    return f"{ref.job_id}/{ref.token}"


def check_usable(lent: LentConnection | LentSyncConnection) -> None:
    """Raises `TransactionMisuse` when the handler ended the transaction or left it failed."""
    if lent.broken_by_handler:
        raise TransactionMisuse(BROKEN)
    if lent.pgconn.transaction_status == TransactionStatus.INERROR:
        raise TransactionMisuse(IGNORED)


def check_mark(row: TupleRow | None, ref: AttemptRef) -> None:
    """Raises `TransactionMisuse` when the handler has begun another transaction."""
    if row is None or row[0] != mark(ref):
        raise TransactionMisuse(BROKEN)


def known(resolved: bool | None) -> bool:
    """What `resolve` found, as the answer of a commit."""
    if resolved is None:
        raise BackendUnavailable("table", "the connection was lost during a commit; nothing was written")
    return resolved
