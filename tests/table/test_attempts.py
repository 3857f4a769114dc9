"""The attempt's transaction: everything or nothing, whoever fails where."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from attempting import World, success, waiting_for_a_lock

from jobs_exec.errors import BackendUnavailable, TransactionMisuse
from jobs_exec_table.faults import StatementRefused


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
