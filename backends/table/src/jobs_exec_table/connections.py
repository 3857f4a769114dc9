"""The connections of one process: a small pool for the framework, bounded ones for handlers' transactions.

Claim, settle, heartbeat and upkeep share `main` and never wait for a handler. Attempt connections have pools of
their own, made at their first use: one async, one sync. A pool that lost its server tries again with jittered
pauses of at most a second, and again whenever somebody asks for a connection.

Prepared statements are used where there is no pooler: they save 0.055 of 0.075 ms of a trivial statement and
0.04 of 0.10 ms of one with a plan (PostgreSQL 18, same machine). Through a transaction pooler they would be
prepared on one server session and executed on another. A claim's answer (100 rows of 20 columns) takes 0.20 ms
in binary and 0.26 ms in text: ask for ``binary=True`` there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from jobs_exec.errors import BackendUnavailable, SchemaMismatch
from jobs_exec_table.connecting import TextContext, behind_pooler, server_url, whole_conninfo
from jobs_exec_table.faults import translated
from jobs_exec_table.migrating import needed_version
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.statements import statement

Conn: TypeAlias = AsyncConnection[TupleRow]

RECONNECT_FOR = 1.0
"""Seconds a pool goes on trying by itself; its pauses cannot be longer. Whoever asks makes it try again."""

SLICE = 1.0
"""Seconds after which whoever waits for a connection looks whether the database is there at all."""

IDLE_ATTEMPT = 60.0
"""Seconds after which an unused attempt connection is closed."""

READ_COMMITTED = "read committed"

_VERSION = "select max(version) from jobs.schema_migrations"
_ATTEMPT: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
_CLEAN = "discard all"
"""A handler may have left a role, a setting, a temporary table or a lock in the session; the next one is another org's."""


class Connections:
    """Opens, counts and closes them; see the module's text. Everything raises `JobsError` alone."""

    def __init__(self, settings: TableSettings) -> None:
        self.settings = settings
        self.pooled = False
        """A transaction pooler is in between (known after `open`)."""
        self.schema_version: int | None = None
        """The newest applied migration (known after `open`)."""
        self.may_copy = True
        """Rows may be copied into the queue (known after `open`); under row-level security PostgreSQL refuses COPY."""
        self.isolation = READ_COMMITTED
        """Of a statement outside transactions (known after `open`)."""
        self._url: str | None = None
        self._stack = AsyncExitStack()
        self._main: AsyncConnectionPool[Conn] | None = None
        self._attempts: AsyncConnectionPool[Conn] | None = None
        self._sync_attempts: ConnectionPool[Connection[TupleRow]] | None = None
        self._sync_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Connections(open={self._main is not None}, pooled={self.pooled})"

    # --- open and close --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects and checks the schema. Raises `ConfigurationError`, `BackendUnavailable`, `SchemaMismatch`."""
        if self._main is not None:
            return
        try:
            self._url = await self._start_server()
            async with self.single("start") as connection:
                self.pooled = await behind_pooler(connection)
                await self._check_schema(connection)
            self._main = self._async_pool("main", self.settings.pool_size)
            await self._main.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes every pool and stops using the embedded server; may be called twice."""
        pools = (self._main, self._attempts)
        sync_pool, self._main, self._attempts, self._sync_attempts = self._sync_attempts, None, None, None
        for pool in pools:
            if pool is not None:
                await pool.close()
        if sync_pool is not None:
            await asyncio.to_thread(sync_pool.close)
        stack, self._stack = self._stack, AsyncExitStack()
        self._url = None
        await stack.aclose()

    async def _start_server(self) -> str:
        # Starting the embedded server takes a second, in which the loop must go on.
        server = server_url(self.settings.url)
        url = await asyncio.to_thread(server.__enter__)
        self._stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
        return url

    async def _check_schema(self, connection: Conn) -> None:
        needed = needed_version()
        try:
            row = await (await connection.execute(_VERSION)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            raise SchemaMismatch(None, needed) from None
        await self._check_role(connection)
        self.schema_version = row[0] if row else None
        if self.schema_version is None or self.schema_version < needed:
            raise SchemaMismatch(self.schema_version, needed)

    async def _check_role(self, connection: Conn) -> None:
        """A role whom row-level security hides the jobs from would be told that there are none."""
        row = await (await connection.execute(statement("start_check"))).fetchone()
        role, hidden, self.may_copy, self.isolation = row if row else ("", [], False, READ_COMMITTED)
        if hidden:
            raise BackendUnavailable(
                "table",
                f"row-level security hides the jobs from the role {role!r} although it may read the tables; "
                f"their owner lets it in with `jobs-exec db grant {role} --run`",
            )

    # --- use -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        """A connection of `main` in autocommit mode: JSON comes as text, UUIDs as `UUID`."""
        pool = self._opened()
        with translated(self.schema_version):
            connection = await self._from(pool)
            try:
                async with connection:  # rolls back what an error left open
                    yield connection
            except psycopg.OperationalError:
                # One lost connection is seldom alone: the others are looked at before somebody meets them.
                with contextlib.suppress(psycopg.Error):
                    await pool.check()
                raise
            finally:
                await pool.putconn(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Conn]:
        """A connection of `main` in a transaction that commits at the end of the block."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def single(self, name: str, url: str | None = None) -> AsyncIterator[Conn]:
        """A connection outside the pools, in autocommit mode, closed at the end; `url` goes elsewhere."""
        conninfo = self.conninfo(name, url)
        with translated(self.schema_version):
            connection = await AsyncConnection.connect(
                conninfo, autocommit=True, prepare_threshold=None, context=TextContext()
            )
            async with connection:
                yield connection

    def conninfo(self, name: str, url: str | None = None) -> str:
        """Everything libpq needs to connect. Secret."""
        target = url or self._url
        if target is None:
            raise BackendUnavailable("table", "it is not open")
        return whole_conninfo(target, self.settings.connect_timeout, name)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Conn]:
        """A connection for the application's own statements, in autocommit mode, with the driver's usual types.

        Only getting it is ours to explain: errors of what the application does with it reach the application.
        """
        pool = await self.attempt_pool()
        with translated(self.schema_version):
            connection = await self._from(pool)
        try:
            yield connection
        finally:
            await clean(connection)
            await pool.putconn(connection)

    @asynccontextmanager
    async def lend_transaction(self) -> AsyncIterator[Conn]:
        """`lend` in a transaction that commits at the end of the block."""
        async with self.lend() as connection, connection.transaction():
            yield connection

    async def attempt_pool(self) -> AsyncConnectionPool[Conn]:
        """The pool of async handlers' connections, in autocommit mode; made at first use."""
        if self._attempts is None:
            self._opened()
            self._attempts = AsyncConnectionPool(
                self.conninfo("attempt"),
                min_size=0,
                max_size=self.settings.attempt_pool_size,
                kwargs=_ATTEMPT,
                max_idle=IDLE_ATTEMPT,
                reconnect_timeout=RECONNECT_FOR,
                name="attempts",
                open=False,
            )
        await self._attempts.open()
        return self._attempts

    def sync_attempt_pool(self) -> ConnectionPool[Connection[TupleRow]]:
        """The pool of the connections of handlers in threads; made at first use, from any thread."""
        with self._sync_lock:
            if self._sync_attempts is None:
                self._opened()
                self._sync_attempts = ConnectionPool(
                    self.conninfo("attempt"),
                    min_size=0,
                    max_size=self.settings.attempt_pool_size,
                    kwargs=_ATTEMPT,
                    max_idle=IDLE_ATTEMPT,
                    reconnect_timeout=RECONNECT_FOR,
                    name="sync attempts",
                    open=True,
                )
            return self._sync_attempts

    # --- inside ----------------------------------------------------------------------------------------

    def _opened(self) -> AsyncConnectionPool[Conn]:
        if self._main is None:
            raise BackendUnavailable("table", "it is not open")
        return self._main

    def _async_pool(self, name: str, size: int) -> AsyncConnectionPool[Conn]:
        return AsyncConnectionPool(
            self.conninfo(name),
            min_size=1,
            max_size=size,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None if self.pooled else 1,
                "context": TextContext(),
            },
            timeout=self.settings.connect_timeout,
            reconnect_timeout=RECONNECT_FOR,
            name=name,
            open=False,
        )

    async def _from(self, pool: AsyncConnectionPool[Conn]) -> Conn:
        """A connection of `pool`, within the connect timeout.

        Asked for in slices: each one makes a pool that has given up try again, and once an attempt to connect has
        failed the reason is found out and told at once.
        """
        deadline = monotonic() + self.settings.connect_timeout
        failures = _failures(pool)
        while True:
            try:
                return await pool.getconn(min(SLICE, max(0.0, deadline - monotonic())))
            except PoolTimeout:
                if _failures(pool) > failures:
                    async with self.single("probe"):
                        failures = _failures(pool)
                if monotonic() >= deadline:
                    raise


def _failures(pool: AsyncConnectionPool[Conn]) -> int:
    return pool.get_stats().get("connections_errors", 0)


async def clean(connection: Conn) -> None:
    """Makes a lent session as new, or closes it.

    Before it goes back, not as the pool's `reset`: that one runs later in a worker, and a pool that is closed
    meanwhile forgets the connection instead of closing it.
    """
    try:
        await connection.execute(_CLEAN)
    except psycopg.Error:
        await connection.close()


def clean_sync(connection: Connection[TupleRow]) -> None:
    """As `clean`."""
    try:
        connection.execute(_CLEAN)
    except psycopg.Error:
        connection.close()
