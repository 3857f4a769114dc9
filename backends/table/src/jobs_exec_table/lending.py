"""The connection a handler gets: the driver's own class, less everything that would end the transaction.

::

    lent -> revoked            the engine has taken it back: whoever still holds it can do nothing with it
      |
      +---> broken             the handler ended the transaction in SQL: its promise is void, the attempt fails

It is a second connection object over the session of a pooled one. A subclass rather than a wrapper, so that
cursors, copies, savepoints and libraries that ask for the driver's class work, and all of them pass through
`wait`, where a revoked one is refused: a task that outlives its attempt cannot reach the next tenant's transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection, generators
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow

from jobs_exec.errors import TransactionMisuse

RV = TypeVar("RV")

IDLE_INSIDE = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
"""Waiting for the handler with the transaction open."""

REVOKED = "the attempt is over; its transaction and connection cannot be used any more"
BROKEN = (
    "the handler ended the attempt's transaction in SQL; leave COMMIT and ROLLBACK to the framework "
    "and use `conn.transaction()` for savepoints"
)


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(_self: object, *_args: object, **_options: object) -> NoReturn:
        raise TransactionMisuse(
            f"{name}() is the framework's: the transaction commits with the job's success and rolls back otherwise; "
            "use `conn.transaction()` for savepoints"
        )

    refuse.__doc__ = "Raises `TransactionMisuse`."
    return refuse


class _HandlerInfo(psycopg.ConnectionInfo):
    """What a handler may know of its session."""

    @property
    def password(self) -> str:
        """Not shown."""
        return ""


class _Lent:
    """What both kinds share: the state, and the methods that are not the handler's."""

    _pool = None  # the session belongs to the pooled connection, so nobody need close this object
    pgconn: PGconn
    revoked = False
    broken_by_handler = False

    commit = _refused("commit")
    rollback = _refused("rollback")
    close = _refused("close")
    pipeline = _refused("pipeline")
    set_autocommit = _refused("set_autocommit")
    set_isolation_level = _refused("set_isolation_level")
    set_read_only = _refused("set_read_only")
    set_deferrable = _refused("set_deferrable")
    tpc_begin = _refused("tpc_begin")
    tpc_prepare = _refused("tpc_prepare")
    tpc_commit = _refused("tpc_commit")
    tpc_rollback = _refused("tpc_rollback")
    tpc_recover = _refused("tpc_recover")
    notifies = _refused("notifies")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'revoked' if self.revoked else 'of a running attempt'}>"

    @property
    def info(self) -> psycopg.ConnectionInfo:
        """Session facts without the password."""
        return _HandlerInfo(self.pgconn)

    @property
    def idle(self) -> bool:
        """The server waits for the handler, with the transaction open."""
        return not self.revoked and self.pgconn.transaction_status in IDLE_INSIDE

    def check(self) -> None:
        """Raises `TransactionMisuse` when it may not be used any more."""
        if self.revoked:
            raise TransactionMisuse(REVOKED)
        if self.broken_by_handler:
            raise TransactionMisuse(BROKEN)

    def notice(self) -> None:
        """Looks whether the statement that just ended has ended the transaction."""
        if not self.revoked and self.pgconn.transaction_status == TransactionStatus.IDLE:
            self.broken_by_handler = True


class LentConnection(_Lent, AsyncConnection[TupleRow]):  # type: ignore[misc]
    """For async handlers."""

    __aenter__ = _refused("async with conn")  # leaving the block would commit and close

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Every use of the session comes through here."""
        self.check()
        try:
            result = await super().wait(gen, interval, timeout)
        finally:
            self.notice()
        self.check()
        return result

    async def touch(self) -> None:
        """Tells the server that the handler's executor lives; does nothing while a statement runs."""
        if self.lock.locked():
            return
        async with self.lock:
            if self.idle:
                await super().wait(nothing(self.pgconn), 0.1, None)


class LentSyncConnection(_Lent, Connection[TupleRow]):  # type: ignore[misc]
    """For handlers in threads."""

    __enter__ = _refused("with conn")

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Every use of the session comes through here."""
        self.check()
        try:
            result = super().wait(gen, interval, timeout)
        finally:
            self.notice()
        self.check()
        return result

    def touch(self) -> None:
        """As `LentConnection.touch`; from any thread, since the lock is the one the handler's statements take."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self.idle:
                super().wait(nothing(self.pgconn), 0.1, None)
        finally:
            self.lock.release()


def nothing(pgconn: PGconn) -> PQGen[Any]:
    """An empty query: the server's idle timer starts anew, also in a transaction that has failed."""
    pgconn.send_query(b"")
    return (yield from generators.execute(pgconn))
