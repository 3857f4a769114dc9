"""The transaction of an attempt: effects, acknowledgement and run record commit together, or none of them.

::

    new -> open (lent to the handler) -> committed            settled by (id, token), then COMMIT
                     |                -> lost                 the token had moved: rolled back
                     |                -> unknown -> committed | not committed
                     +--------------- -> rolled back

*Unknown* is a COMMIT whose answer was lost; it is resolved on another connection (`resolving`). No row of the job
is locked before the settle. While a handler works between two statements the server counts its session as idle in
a transaction and ends it after one lease; `Attempts.touch`, called every third of the lease, keeps those of a
living executor open.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from jobs_exec.contracts import Settled
from jobs_exec.errors import AttemptLost, TransactionMisuse
from jobs_exec.job import ClaimedJob, Settlement
from jobs_exec_table.connections import SLICE, Connections
from jobs_exec_table.faults import translated
from jobs_exec_table.lending import LentConnection, LentSyncConnection
from jobs_exec_table.resolving import lost_commit, parameters, resolve, resolve_sync
from jobs_exec_table.returning import (
    BUSY,
    Conn,
    SyncConn,
    check_mark,
    check_usable,
    give_back,
    give_back_sync,
    known,
    mark,
    quiet,
    quiet_sync,
    quietly,
    release,
)
from jobs_exec_table.statements import statement

Settle: TypeAlias = Callable[[Conn, Settlement], Awaitable[Settled]]
"""Settles one attempt in the connection's open transaction."""
SettleSync: TypeAlias = Callable[[SyncConn, Settlement], Settled]

_BEGIN = sql.SQL(
    "begin; select set_config('jobs.org_id', {org}, true), set_config('jobs.attempt', {attempt}, true),"
    " set_config('idle_in_transaction_session_timeout', {idle}, true)"
)
# The handler may have taken another role; the settle is the framework's. The mark is gone if it has committed. A row that
# somebody keeps locked must not keep the attempt closing for ever: after a lease nothing is written, and it is given back.
_CHECK = sql.SQL(
    "reset role; select current_setting('jobs.attempt', true), set_config('lock_timeout', {patience}, true)"
)


class Attempts:
    """Begins attempt transactions and keeps the open ones alive."""

    def __init__(self, connections: Connections, lease: float, settle: Settle, settle_sync: SettleSync) -> None:
        self.connections = connections
        self.lease = lease
        self.settle = settle
        self.settle_sync = settle_sync
        self.grace = 5.0
        """Seconds for a statement that still runs when its handler has returned, and again after it was cancelled."""
        self.open: set[LentConnection] = set()
        self.open_sync: set[LentSyncConnection] = set()
        self.stuck: list[tuple[SyncConn, LentSyncConnection]] = []
        """Sessions in which a handler's statement goes on although it was cancelled; freed when it has ended."""
        self._lock = threading.Lock()
        self._touching: asyncio.Task[None] | None = None

    def begin(self, job: ClaimedJob) -> AttemptTransaction:
        """For an async handler; not yet open."""
        return AttemptTransaction(self, job)

    def begin_sync(self, job: ClaimedJob) -> SyncAttemptTransaction:
        """For a handler in a thread; not yet open."""
        return SyncAttemptTransaction(self, job)

    def touch_soon(self) -> None:
        """`touch` in the background, unless one is under way: a heartbeat must not wait for it."""
        if self._touching is None or self._touching.done():
            self._touching = asyncio.create_task(self.touch(), name="touch attempts")

    async def close(self) -> None:
        """Ends the background task; attempts that are still open are rolled back when their connections close."""
        touching, self._touching = self._touching, None
        if touching is not None:
            touching.cancel()
            await asyncio.gather(touching, return_exceptions=True)

    async def touch(self) -> None:
        """Keeps every attempt connection that waits for its handler from timing out; call it every third of a lease.

        Never waits for a statement of a handler, and never longer than a third of a lease for the server.
        """
        lent = [quietly(each.touch()) for each in tuple(self.open)]
        if self.open_sync or self.stuck:
            lent.append(asyncio.to_thread(self._touch_sync))
        try:
            async with asyncio.timeout(self.lease / 3):
                await asyncio.gather(*lent)
        except TimeoutError:
            return

    def _touch_sync(self) -> None:
        with self._lock:
            waiting, self.stuck, stuck = tuple(self.open_sync), [], self.stuck
        for lent in waiting:
            with contextlib.suppress(psycopg.Error):
                lent.touch()
        for raw, lent in stuck:
            self.free_sync(raw, lent, 0.0)

    def free_sync(self, raw: SyncConn, lent: LentSyncConnection, seconds: float) -> None:
        """Gives the session back when no statement of the handler runs in it within `seconds`; else remembers it."""
        if lent.lock.acquire(timeout=seconds):
            lent.lock.release()
            give_back_sync(raw)
        else:
            with self._lock:
                self.stuck.append((raw, lent))

    def add_sync(self, lent: LentSyncConnection) -> None:
        """From any thread."""
        with self._lock:
            self.open_sync.add(lent)

    def discard_sync(self, lent: LentSyncConnection) -> None:
        """From any thread."""
        with self._lock:
            self.open_sync.discard(lent)

    def begin_statement(self, job: ClaimedJob) -> sql.Composed:
        """BEGIN and the transaction's settings in one round trip."""
        idle = f"{max(1, int(self.lease * 1000))}ms"
        return _BEGIN.format(org=sql.Literal(job.org_id), attempt=sql.Literal(mark(job.ref)), idle=sql.Literal(idle))

    def check_statement(self) -> sql.Composed:
        """What precedes the settle, in one round trip; the mark is the first column of its second answer."""
        return _CHECK.format(patience=sql.Literal(f"{max(1, int(self.lease * 1000))}ms"))


class AttemptTransaction:
    """`contracts.AttemptTransaction`."""

    def __init__(self, attempts: Attempts, job: ClaimedJob) -> None:
        self._attempts = attempts
        self._job = job
        self._open: tuple[Conn, LentConnection] | None = None
        self._ended = False
        """Rolled back, perhaps before it was open: a task that still waits for a connection must not begin any more."""

    def __repr__(self) -> str:
        return f"AttemptTransaction({self._job.ref!r}, open={self._open is not None})"

    async def open(self) -> LentConnection:
        """Waits for a connection, begins, and lends it. Raises `AttemptLost` when it was rolled back meanwhile."""
        with translated(self._attempts.connections.schema_version):
            raw = await self._begun(await self._attempts.connections.attempt_pool())
        lent = LentConnection(raw.pgconn)
        lent.prepare_threshold = None
        self._open = raw, lent
        self._attempts.open.add(lent)
        return lent

    async def commit(self, settlement: Settlement) -> bool:
        """Settles and commits; False when the attempt was lost.

        Raises `StatementRefused` when the server refuses the effects at the end (a deferred constraint): the job's own
        failure; `TransactionMisuse` when the handler left the transaction unfit; `BackendUnavailable` when nothing
        was written, or nobody can say.
        """
        raw, lent = self._taken()
        try:
            if not await quiet(lent, self._attempts.grace):
                raise TransactionMisuse(BUSY)
            with translated(self._attempts.connections.schema_version):
                return await self._commit(raw, lent, settlement)
        finally:
            await release(raw, lent, self._attempts.grace)

    async def rollback(self) -> None:
        """Drops every effect; whoever still waits in `open` gets no transaction."""
        self._ended = True
        if self._open is not None:
            await release(*self._taken(), self._attempts.grace)

    async def _begun(self, pool: AsyncConnectionPool[Conn]) -> Conn:
        """A connection in a transaction; one that was cut while it lay in the pool costs the attempt nothing."""
        cut = 0
        while True:
            raw = await self._connection(pool)
            try:
                await raw.execute(self._attempts.begin_statement(self._job))
                self._check_wanted()
            except BaseException as error:
                cut += 1
                stale = raw.broken and isinstance(error, psycopg.OperationalError) and cut <= pool.max_size
                await give_back(raw)
                if not stale:
                    raise
            else:
                return raw

    async def _connection(self, pool: AsyncConnectionPool[Conn]) -> Conn:
        """Waits without an end of its own: the handler's timeout is around it, and an outage must not cost an attempt.

        In slices, because each one makes a pool that has given up connect again.
        """
        while True:
            self._check_wanted()
            with contextlib.suppress(PoolTimeout):
                return await pool.getconn(SLICE)

    def _check_wanted(self) -> None:
        if self._ended:
            raise AttemptLost(self._job.id, self._job.token)

    def _taken(self) -> tuple[Conn, LentConnection]:
        if self._open is None:
            raise TransactionMisuse("the attempt's transaction is not open")
        (raw, lent), self._open = self._open, None
        self._attempts.open.discard(lent)
        lent.revoked = True
        return raw, lent

    async def _commit(self, raw: Conn, lent: LentConnection, settlement: Settlement) -> bool:
        check_usable(lent)
        cursor = await raw.execute(self._attempts.check_statement())
        cursor.nextset()
        check_mark(await cursor.fetchone(), self._job.ref)
        if not await self._settled(raw, settlement):
            return False
        try:
            await raw.commit()
        except psycopg.Error as error:
            if not lost_commit(error):
                raise
            return known(await resolve(self._attempts.connections, settlement.ref, self._attempts.lease))
        return True

    async def _settled(self, raw: Conn, settlement: Settlement) -> bool:
        answer = await self._attempts.settle(raw, settlement)
        if settlement.ref in answer.busy:
            # A settle never waits, but this one has no second chance: wait for whoever has the row, then ask again.
            await raw.execute(statement("lock_attempt"), parameters(settlement.ref))
            answer = await self._attempts.settle(raw, settlement)
        return settlement.ref in answer.accepted


class SyncAttemptTransaction:
    """`contracts.SyncAttemptTransaction`; `commit` and `rollback` may be called from another thread than `open`."""

    def __init__(self, attempts: Attempts, job: ClaimedJob) -> None:
        self._attempts = attempts
        self._job = job
        self._open: tuple[SyncConn, LentSyncConnection] | None = None
        self._ended = False
        """As in `AttemptTransaction`; `open` and `rollback` may be in two threads at once, so both hold `_turn`."""
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"SyncAttemptTransaction({self._job.ref!r}, open={self._open is not None})"

    def open(self) -> LentSyncConnection:
        """See `AttemptTransaction.open`."""
        with translated(self._attempts.connections.schema_version):
            raw = self._begun(self._attempts.connections.sync_attempt_pool())
            try:
                return self._lent(raw)
            except BaseException:
                give_back_sync(raw)
                raise

    def commit(self, settlement: Settlement) -> bool:
        """See `AttemptTransaction.commit`."""
        raw, lent = self._taken()
        try:
            if not quiet_sync(lent, self._attempts.grace):
                raise TransactionMisuse(BUSY)
            with translated(self._attempts.connections.schema_version):
                return self._commit(raw, lent, settlement)
        finally:
            self._release(raw, lent)

    def rollback(self) -> None:
        """Drops every effect; a statement of a stuck handler is cancelled first."""
        with self._turn:
            self._ended, taken = True, self._taken() if self._open is not None else None
        if taken is not None:
            self._release(*taken)

    def _begun(self, pool: ConnectionPool[SyncConn]) -> SyncConn:
        """As in `AttemptTransaction`."""
        cut = 0
        while True:
            raw = self._connection(pool)
            try:
                raw.execute(self._attempts.begin_statement(self._job))
            except BaseException as error:
                cut += 1
                stale = raw.broken and isinstance(error, psycopg.OperationalError) and cut <= pool.max_size
                give_back_sync(raw)
                if not stale:
                    raise
            else:
                return raw

    def _connection(self, pool: ConnectionPool[SyncConn]) -> SyncConn:
        while True:
            self._check_wanted()
            with contextlib.suppress(PoolTimeout):
                return pool.getconn(SLICE)

    def _lent(self, raw: SyncConn) -> LentSyncConnection:
        with self._turn:
            self._check_wanted()
            lent = LentSyncConnection(raw.pgconn)
            lent.prepare_threshold = None
            self._open = raw, lent
            self._attempts.add_sync(lent)
        return lent

    def _check_wanted(self) -> None:
        if self._ended:
            raise AttemptLost(self._job.id, self._job.token)

    def _taken(self) -> tuple[SyncConn, LentSyncConnection]:
        if self._open is None:
            raise TransactionMisuse("the attempt's transaction is not open")
        (raw, lent), self._open = self._open, None
        self._attempts.discard_sync(lent)
        lent.revoked = True
        return raw, lent

    def _commit(self, raw: SyncConn, lent: LentSyncConnection, settlement: Settlement) -> bool:
        check_usable(lent)
        cursor = raw.execute(self._attempts.check_statement())
        cursor.nextset()
        check_mark(cursor.fetchone(), self._job.ref)
        if not self._settled(raw, settlement):
            return False
        try:
            raw.commit()
        except psycopg.Error as error:
            if not lost_commit(error):
                raise
            return known(resolve_sync(self._attempts.connections, settlement.ref, self._attempts.lease))
        return True

    def _settled(self, raw: SyncConn, settlement: Settlement) -> bool:
        answer = self._attempts.settle_sync(raw, settlement)
        if settlement.ref in answer.busy:
            raw.execute(statement("lock_attempt"), parameters(settlement.ref))
            answer = self._attempts.settle_sync(raw, settlement)
        return settlement.ref in answer.accepted

    def _release(self, raw: SyncConn, lent: LentSyncConnection) -> None:
        if lent.lock.locked():
            with contextlib.suppress(psycopg.Error):
                raw.cancel_safe(timeout=self._attempts.grace)
        self._attempts.free_sync(raw, lent, self._attempts.grace)
