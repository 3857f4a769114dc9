"""The attempt's transaction: everything or nothing, whoever fails where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from databases import Database

from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable, TransactionMisuse
from jobs_exec.identity import Identity, new_job_id
from jobs_exec.job import Action, AttemptRef, ClaimedJob, Settlement
from jobs_exec_table.attempts import Attempts
from jobs_exec_table.connections import Connections
from jobs_exec_table.faults import StatementRefused
from jobs_exec_table.lending import LentConnection
from jobs_exec_table.resolving import resolve, resolve_sync
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.settling import Settling

SETTLE = (
    "select answer from jobs.jobs_settle_v1(%s, %s, '{succeeded}', 3600, '{0}', '{null}', '{null}', '{null}',"
    " '{null}', '{null}')"
)
RUNNING = (
    "insert into jobs.jobs_queue (id, token, digest, payload_digest, executor, state, identity, attempts, org_id,"
    " type, run_hash) values (%s, 1, %s, %s, gen_random_uuid(), 'running', 'none', 1, %s, 'test', %s)"
)


def values(settlement: Settlement) -> tuple[list[Any], list[int]]:
    return [settlement.ref.job_id], [settlement.ref.token]


@dataclass(frozen=True, slots=True)
class World:
    """A database with the application's table, and the attempts of one process."""

    database: Database
    connections: Connections
    attempts: Attempts

    def running_job(self, org_id: str = "acme") -> ClaimedJob:
        job_id = new_job_id()
        self.database.execute(RUNNING, job_id, job_id, job_id, org_id, bytes(32))
        return ClaimedJob(
            job_id, org_id, "test", "default", "{}", 1, 5, 1, 5, datetime.now(UTC), 0.0, Identity.NONE, bytes(32)
        )

    def effects(self) -> int:
        return self._count("select count(*) from effects")

    def runs(self, job: ClaimedJob) -> int:
        return self._count("select count(*) from jobs.job_runs where job_id = %s", job.id)

    def queued(self, job: ClaimedJob) -> int:
        return self._count("select count(*) from jobs.jobs_queue where id = %s", job.id)

    def _count(self, query: str, *arguments: object) -> int:
        (count,) = self.database.execute(query, *arguments)[0]
        assert isinstance(count, int)
        return count


@pytest.fixture
async def world(migrated: Database) -> AsyncIterator[World]:
    migrated.execute("create table effects (note text, parent int)")
    connections = Connections(TableSettings(JOB_DATABASE_URL=migrated.url, JOB_TABLE_ATTEMPT_POOL_SIZE=2))
    await connections.open()
    settling = Settling(connections, Policy())
    yield World(migrated, connections, Attempts(connections, 2.0, settling.settle_on, settling.settle_on_sync))
    await connections.close()


def success(job: ClaimedJob) -> Settlement:
    return Settlement(job.ref, Action.SUCCEED)


async def test_effects_and_run_are_committed_together(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    await connection.execute("insert into effects values ('done')")
    assert (world.effects(), world.runs(job), world.queued(job)) == (0, 0, 1)
    assert await transaction.commit(success(job))
    assert (world.effects(), world.runs(job), world.queued(job)) == (1, 1, 0)


async def test_the_same_in_a_thread(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin_sync(job)
    connection = await asyncio.to_thread(transaction.open)
    await asyncio.to_thread(connection.execute, "insert into effects values ('done')")
    assert await asyncio.to_thread(transaction.commit, success(job))
    assert (world.effects(), world.runs(job), world.queued(job)) == (1, 1, 0)


async def test_a_rollback_leaves_nothing_and_may_be_called_twice(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    await transaction.rollback()
    connection = await transaction.open()
    await connection.execute("insert into effects values ('done')")
    await transaction.rollback()
    await transaction.rollback()
    assert (world.effects(), world.runs(job), world.queued(job)) == (0, 0, 1)


async def test_a_rollback_in_a_thread_leaves_nothing(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin_sync(job)
    connection = await asyncio.to_thread(transaction.open)
    await asyncio.to_thread(connection.execute, "insert into effects values ('done')")
    for _ in range(2):
        await asyncio.to_thread(transaction.rollback)
    assert (world.effects(), world.queued(job)) == (0, 1)


async def test_an_attempt_whose_token_has_moved_commits_nothing(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    await connection.execute("insert into effects values ('done')")
    world.database.execute("update jobs.jobs_queue set token = token + 1 where id = %s", job.id)
    assert not await transaction.commit(success(job))
    assert (world.effects(), world.runs(job)) == (0, 0)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_row_that_somebody_else_has_locked_is_waited_for(world: World, kind: str) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job) if kind == "async" else world.attempts.begin_sync(job)
    opened = transaction.open() if kind == "async" else asyncio.to_thread(transaction.open)
    await opened
    with world.database.connect() as other:
        other.execute("begin")
        other.execute("select 1 from jobs.jobs_queue where id = %s for update", (job.id,))
        commit = transaction.commit
        committing = asyncio.create_task(
            commit(success(job)) if kind == "async" else asyncio.to_thread(commit, success(job))
        )
        await asyncio.to_thread(waiting_for_a_lock, world.database)
        other.execute("rollback")
    assert await committing is True
    assert world.runs(job) == 1


async def test_the_org_is_set_for_the_transaction_alone(world: World) -> None:
    for org in ("acme", "o'hara; --"):
        transaction = world.attempts.begin(world.running_job(org))
        connection = await transaction.open()
        row = await (await connection.execute("select current_setting('jobs.org_id')")).fetchone()
        assert row == (org,)
        await transaction.rollback()


async def test_no_row_of_the_job_is_locked_while_the_handler_works(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    await transaction.open()
    assert world.database.execute("select 1 from jobs.jobs_queue where id = %s for update nowait", job.id)
    await transaction.rollback()


# --- what the handler may and may not do ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["commit", "rollback", "close", "pipeline", "set_autocommit", "set_isolation_level", "tpc_begin"]
)
async def test_the_transaction_cannot_be_ended_through_the_connection(world: World, name: str) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    async with connection.cursor() as cursor:
        for handle in (connection, cursor.connection):
            with pytest.raises(TransactionMisuse, match=rf"{name}\(\) is the framework's.*savepoints"):
                getattr(handle, name)()
    await transaction.rollback()
    sync = world.attempts.begin_sync(job)
    held = await asyncio.to_thread(sync.open)
    with pytest.raises(TransactionMisuse, match=r"savepoints"):
        getattr(held, name)()
    await asyncio.to_thread(sync.rollback)


async def test_leaving_a_block_of_the_connection_would_commit_so_it_cannot_be_entered(world: World) -> None:
    transaction = world.attempts.begin(world.running_job())
    connection = await transaction.open()
    with pytest.raises(TransactionMisuse):
        async with connection:
            pass
    await transaction.rollback()
    sync = world.attempts.begin_sync(world.running_job())
    held = await asyncio.to_thread(sync.open)
    with pytest.raises(TransactionMisuse), held:
        pass
    with pytest.raises((psycopg.ProgrammingError, TransactionMisuse)):
        held.autocommit = True
    await asyncio.to_thread(sync.rollback)


async def test_savepoints_are_fine(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    async with connection.transaction(force_rollback=True):
        await connection.execute("insert into effects values ('dropped')")
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with connection.transaction():
            await connection.execute("select 1 / 0")
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("insert into effects values ('kept')")
    assert await transaction.commit(success(job))
    assert world.database.execute("select note from effects") == [("kept",)]


@pytest.mark.parametrize("statement", ["commit", "rollback", "commit; begin", "commit and chain"])
async def test_a_transaction_ended_in_sql_fails_the_attempt(world: World, statement: str) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    ended = False
    try:
        await connection.execute(statement.encode())
        await connection.execute("insert into effects values ('after')")
    except TransactionMisuse:
        ended = True
    assert ended == ("begin" not in statement and "chain" not in statement)
    with pytest.raises(TransactionMisuse, match="ended the attempt's transaction in SQL"):
        await transaction.commit(success(job))
    assert (world.effects(), world.runs(job), world.queued(job)) == (0, 0, 1)


async def test_an_error_that_the_handler_ignored_fails_the_attempt(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.execute("select 1 / 0")
    with pytest.raises(TransactionMisuse, match="error was ignored"):
        await transaction.commit(success(job))
    assert world.queued(job) == 1


async def test_a_role_taken_by_the_handler_does_not_hinder_the_settle(world: World) -> None:
    job = world.running_job()
    world.database.execute(f"create role tenant_{world.database.name}")
    world.database.execute(f"grant insert on effects to tenant_{world.database.name}")
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    await connection.execute(f"set role tenant_{world.database.name}".encode())
    await connection.execute("insert into effects values ('as tenant')")
    assert await transaction.commit(success(job))
    assert (world.effects(), world.runs(job)) == (1, 1)
    world.database.execute(f"drop owned by tenant_{world.database.name}")
    world.database.execute(f"drop role tenant_{world.database.name}")


async def test_a_connection_kept_beyond_its_attempt_reaches_nobody_else(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    kept = await transaction.open()
    cursor = kept.cursor()
    await transaction.rollback()
    second = world.attempts.begin(world.running_job("other"))
    await second.open()
    for use in (kept.execute, cursor.execute):
        with pytest.raises(TransactionMisuse, match="attempt is over"):
            await use("select 1")
    await second.rollback()


async def test_nothing_secret_is_shown(world: World) -> None:
    transaction = world.attempts.begin(world.running_job())
    connection = await transaction.open()
    assert "postgres" not in repr(connection) + repr(transaction)
    assert connection.info.password == ""
    assert isinstance(connection, psycopg.AsyncConnection)
    await transaction.rollback()


async def test_a_failing_deferred_constraint_is_the_job_s_failure(world: World) -> None:
    world.database.execute("create table parents (id int primary key)")
    world.database.execute(
        "alter table effects add constraint has_parent foreign key (parent) references parents"
        " deferrable initially deferred"
    )
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    await connection.execute("insert into effects values ('geheim', 7)")
    with pytest.raises(StatementRefused, match="has_parent") as caught:
        await transaction.commit(success(job))
    assert not isinstance(caught.value, BackendUnavailable)
    assert "(parent)" not in str(caught.value)
    assert (world.effects(), world.runs(job), world.queued(job)) == (0, 0, 1)


# --- sessions -------------------------------------------------------------------------------------------


async def test_a_session_idle_beyond_the_lease_is_ended_by_the_server_and_touching_prevents_it(world: World) -> None:
    world.attempts.lease = 0.3
    kept_job, lost_job = world.running_job(), world.running_job()
    kept, lost = world.attempts.begin(kept_job), world.attempts.begin(lost_job)
    await kept.open()
    world.attempts.open.discard(await lost.open())  # a frozen executor touches nothing
    await touching_until(world, "select count(*) = 1 from pg_stat_activity where state = 'idle in transaction'")
    assert await kept.commit(success(kept_job))
    with pytest.raises(BackendUnavailable):
        await lost.commit(success(lost_job))
    assert (world.runs(kept_job), world.queued(lost_job)) == (1, 1)


async def test_touching_keeps_threads_sessions_too(world: World) -> None:
    world.attempts.lease = 0.3
    kept_job, lost_job = world.running_job(), world.running_job()
    kept, lost = world.attempts.begin_sync(kept_job), world.attempts.begin_sync(lost_job)
    await asyncio.to_thread(kept.open)
    world.attempts.discard_sync(await asyncio.to_thread(lost.open))
    await touching_until(world, "select count(*) = 1 from pg_stat_activity where state = 'idle in transaction'")
    assert await asyncio.to_thread(kept.commit, success(kept_job))
    with pytest.raises(BackendUnavailable):
        await asyncio.to_thread(lost.commit, success(lost_job))


async def touching_until(world: World, condition: str) -> None:
    """Touches every few milliseconds until the server agrees."""
    async with asyncio.timeout(20):
        while not (await asyncio.to_thread(world.database.execute, condition))[0][0]:
            await world.attempts.touch()


async def test_touching_does_not_wait_for_a_busy_handler(world: World) -> None:
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    running = asyncio.create_task(connection.execute("select pg_sleep(30)"))
    await asyncio.to_thread(sleeper_runs, world.database)
    async with asyncio.timeout(5):
        await world.attempts.touch()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await transaction.rollback()


def sleeper_runs(database: Database) -> None:
    while not database.execute(
        "select 1 from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'"
    ):
        pass


async def test_a_statement_left_running_by_the_handler_fails_the_attempt(world: World) -> None:
    world.attempts.grace = 0.2
    job = world.running_job()
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    stray = asyncio.create_task(connection.execute("select pg_sleep(30)"))
    await asyncio.to_thread(sleeper_runs, world.database)
    with pytest.raises(TransactionMisuse, match="still running"):
        await transaction.commit(success(job))
    with pytest.raises((psycopg.errors.QueryCanceled, TransactionMisuse)):
        await stray
    assert world.queued(job) == 1


async def test_a_stuck_statement_of_a_thread_is_cancelled_by_the_rollback(world: World) -> None:
    transaction = world.attempts.begin_sync(world.running_job())
    connection = await asyncio.to_thread(transaction.open)
    ended = threading.Event()

    def handler() -> None:
        with pytest.raises((psycopg.errors.QueryCanceled, TransactionMisuse)):
            connection.execute("select pg_sleep(30)")
        with pytest.raises(TransactionMisuse, match="attempt is over"):
            connection.execute("insert into effects values ('too late')")
        ended.set()

    thread = threading.Thread(target=handler)
    thread.start()
    await asyncio.to_thread(sleeper_runs, world.database)
    await asyncio.to_thread(transaction.rollback)
    assert await asyncio.to_thread(ended.wait, 10)
    thread.join()
    assert world.effects() == 0


async def test_handlers_wait_for_a_connection_while_claim_and_settle_do_not(world: World) -> None:
    held = [world.attempts.begin(world.running_job()) for _ in range(2)]
    for each in held:
        await each.open()
    third = world.attempts.begin(world.running_job())
    waiting = asyncio.create_task(third.open())
    async with world.connections.connection() as connection:
        await connection.execute("select 1")
    assert not waiting.done()
    await held[0].rollback()
    assert isinstance(await waiting, LentConnection)
    await third.rollback()
    await held[1].rollback()


async def test_what_a_handler_left_in_the_session_is_gone_for_the_next(world: World) -> None:
    for _ in range(3):
        job = world.running_job()
        transaction = world.attempts.begin(job)
        connection = await transaction.open()
        row = await (await connection.execute("select current_setting('application.secret', true)")).fetchone()
        assert not row[0]
        await connection.execute("select set_config('application.secret', 'x', false)")
        await connection.execute("create temporary table mine (id int)")
        assert await transaction.commit(success(job))


# --- commits whose answer is lost -----------------------------------------------------------------------


async def test_a_commit_that_was_cut_before_it_took_place_wrote_nothing(world: World) -> None:
    world.database.execute(
        "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(30); return null; end'"
    )
    world.database.execute(
        "create constraint trigger slow after insert on effects deferrable initially deferred"
        " for each row execute function slow()"
    )
    job = world.running_job()
    committing = asyncio.create_task(committed_effect(world, job))
    await asyncio.to_thread(cut_commit, world.database)
    with pytest.raises(BackendUnavailable, match="nothing was written"):
        await committing
    assert (world.effects(), world.runs(job), world.queued(job)) == (0, 0, 1)


async def test_a_commit_that_was_cut_after_it_took_place_counts(world: World) -> None:
    # With a standby that is not there the server commits, then waits before it answers.
    world.database.execute(f"alter database {world.database.name} set synchronous_commit = local")
    world.database.execute("alter system set synchronous_standby_names = 'nobody'")
    world.database.execute("select pg_reload_conf()")
    try:
        job = world.running_job()
        committing = asyncio.create_task(committed_effect(world, job, "set local synchronous_commit = on"))
        await asyncio.to_thread(cut_commit, world.database)
        assert await committing is True
        assert (world.effects(), world.runs(job), world.queued(job)) == (1, 1, 0)
    finally:
        world.database.execute("alter system reset synchronous_standby_names")
        world.database.execute("select pg_reload_conf()")


async def committed_effect(world: World, job: ClaimedJob, first: str = "select 1") -> bool:
    transaction = world.attempts.begin(job)
    connection = await transaction.open()
    await connection.execute(first.encode())
    await connection.execute("insert into effects values ('done')")
    return await transaction.commit(success(job))


def cut_commit(database: Database) -> None:
    """Ends the session whose COMMIT is under way, as soon as it waits."""
    statement = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and query = 'COMMIT' and wait_event in ('PgSleep', 'SyncRep')"
    )
    while not database.execute(statement):
        pass


async def test_the_look_up_waits_out_the_other_end(world: World) -> None:
    job = world.running_job()
    with world.database.connect() as other:
        other.execute("begin")
        other.execute(SETTLE.encode(), values(success(job)))
        asking = asyncio.create_task(resolve(world.connections, job.ref, 15.0))
        await asyncio.to_thread(waiting_for_a_lock, world.database)
        assert not asking.done()
        other.execute("commit")
    assert await asking is True


def waiting_for_a_lock(database: Database) -> None:
    while not database.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'"):
        pass


async def test_the_look_up_tells_three_answers_apart(world: World) -> None:
    job = world.running_job()
    stale = AttemptRef(job.id, 0)
    for ref, expected in ((job.ref, None), (stale, False)):
        assert await resolve(world.connections, ref, 1.0) is expected
        assert await asyncio.to_thread(resolve_sync, world.connections, ref, 1.0) is expected
    with world.database.connect() as other:
        other.execute(SETTLE.encode(), values(success(job)))
    assert await resolve(world.connections, job.ref, 1.0) is True
    assert await asyncio.to_thread(resolve_sync, world.connections, job.ref, 1.0) is True


async def test_when_nobody_can_say_it_is_an_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running_job()
    monkeypatch.setattr(world.connections, "_url", "postgresql://app@127.0.0.1:1/app")
    with pytest.raises(BackendUnavailable, match="nobody can say"):
        await resolve(world.connections, job.ref, 0.1)
    with pytest.raises(BackendUnavailable, match="nobody can say"):
        await asyncio.to_thread(resolve_sync, world.connections, job.ref, 0.1)
