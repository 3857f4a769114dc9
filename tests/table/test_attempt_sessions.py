"""Sessions of attempts: kept open, cut, lost during COMMIT, and what they may not leave behind."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest
from attempting import SETTLE, World, success, values, waiting_for_a_lock
from databases import Database

from jobs_exec.errors import AttemptLost, BackendUnavailable, TransactionMisuse
from jobs_exec.job import AttemptRef, ClaimedJob
from jobs_exec_table.lending import LentConnection
from jobs_exec_table.resolving import resolve, resolve_sync

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


async def test_a_connection_that_was_cut_while_it_lay_in_the_pool_costs_the_next_attempt_nothing(world: World) -> None:
    jobs = [world.running_job() for _ in range(2)]
    used = [world.attempts.begin(job) for job in jobs]
    for each in used:
        await each.open()
    for each in used:
        await each.rollback()
    threads = world.attempts.begin_sync(jobs[0])
    await asyncio.to_thread(threads.open)
    await asyncio.to_thread(threads.rollback)
    cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"
    ((count,),) = world.database.execute(cut + " and application_name like '%attempt%'")
    assert isinstance(count, int)
    assert count >= 3
    again = world.attempts.begin(jobs[0])
    await (await again.open()).execute("insert into effects values ('async')")
    assert await again.commit(success(jobs[0]))
    sync = world.attempts.begin_sync(jobs[1])
    (await asyncio.to_thread(sync.open)).execute("insert into effects values ('sync')")
    assert await asyncio.to_thread(sync.commit, success(jobs[1]))
    assert (world.effects(), world.runs(jobs[0]), world.runs(jobs[1])) == (2, 1, 1)


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


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_that_waits_through_an_outage_gets_its_connection(world: World, kind: str) -> None:
    cluster = world.database.server.cluster
    job = world.running_job()
    await asyncio.to_thread(cluster.stop, "fast")
    transaction = world.attempts.begin(job) if kind == "async" else world.attempts.begin_sync(job)
    opening = asyncio.ensure_future(transaction.open() if kind == "async" else asyncio.to_thread(transaction.open))
    done, _ = await asyncio.wait([opening], timeout=1.5)  # longer than the pool goes on trying by itself
    assert not done
    await asyncio.to_thread(cluster.start)
    async with asyncio.timeout(20):
        await opening
    committing = transaction.commit
    assert await (committing(success(job)) if kind == "async" else asyncio.to_thread(committing, success(job)))


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


async def test_an_attempt_that_ended_while_it_waited_for_a_connection_gets_none(world: World) -> None:
    holders = [world.attempts.begin(world.running_job()) for _ in range(2)]
    for holder in holders:
        await holder.open()
    late = world.attempts.begin(world.running_job())
    waiting = asyncio.create_task(late.open())
    await asyncio.sleep(0)
    await late.rollback()
    for holder in holders:
        await holder.rollback()
    with pytest.raises(AttemptLost):
        await waiting
    assert world.attempts.open == set()
    for holder in [world.attempts.begin(world.running_job()) for _ in range(2)]:
        await asyncio.wait_for(holder.open(), 10)
        await holder.rollback()


async def test_an_attempt_in_a_thread_that_ended_while_it_waited_gets_none(world: World) -> None:
    holders = [world.attempts.begin_sync(world.running_job()) for _ in range(2)]
    for holder in holders:
        await asyncio.to_thread(holder.open)
    late = world.attempts.begin_sync(world.running_job())
    waiting = asyncio.create_task(asyncio.to_thread(late.open))
    await asyncio.sleep(0)
    await asyncio.to_thread(late.rollback)
    for holder in holders:
        await asyncio.to_thread(holder.rollback)
    with pytest.raises(AttemptLost):
        await waiting
    assert world.attempts.open_sync == set()
    for holder in [world.attempts.begin_sync(world.running_job()) for _ in range(2)]:
        await asyncio.wait_for(asyncio.to_thread(holder.open), 10)
        await asyncio.to_thread(holder.rollback)


async def test_a_row_that_somebody_keeps_locked_ends_the_closing_after_a_lease(world: World) -> None:
    job = world.running_job()
    attempt = world.attempts.begin(job)
    await attempt.open()
    with psycopg.connect(world.database.url) as blocker:
        blocker.execute("select 1 from jobs.jobs_queue where id = %s for update", (job.id,))
        with pytest.raises(BackendUnavailable, match="locked"):
            await asyncio.wait_for(attempt.commit(success(job)), 20)
    assert (world.queued(job), world.runs(job)) == (1, 0)
