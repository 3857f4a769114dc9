"""Connections: every way a database can refuse has its own sentence, and none of them shows a secret."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
import pytest
from databases import Database

from jobs_exec.errors import BackendUnavailable, EnqueueConflict, SchemaMismatch
from jobs_exec_table.connections import Connections
from jobs_exec_table.faults import StatementRefused, translated_enqueue
from jobs_exec_table.settings import TableSettings

SECRET = "geh@im/wort"


def settings(url: str, **values: object) -> TableSettings:
    return TableSettings(JOB_DATABASE_URL=url, connect_timeout=3, **values)


async def refusal(url: str) -> str:
    connections = Connections(settings(url))
    with pytest.raises(BackendUnavailable) as caught:
        await connections.open()
    text = str(caught.value)
    assert SECRET not in text
    assert "geh" not in text
    assert url not in text
    return text


@pytest.fixture
def role(migrated: Database) -> str:
    name = f"app_{migrated.name}"
    migrated.execute(f"create role {name} login password '{SECRET}'")
    return name


# --- refusals -------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_told(migrated: Database, role: str) -> None:
    assert "password or the user name is wrong" in await refusal(migrated.url_for(role, "geh"))


async def test_an_unreachable_server_is_told() -> None:
    text = await refusal("postgresql://app:geheim@127.0.0.1:1/app")
    assert "nothing answers at the address of the database URL (127.0.0.1:1)" in text


async def test_a_socket_that_is_not_there_is_told() -> None:
    assert "(/nowhere/.s.PGSQL.5432); is the server running there?" in await refusal("host=/nowhere user=app")


async def test_a_password_that_was_read_as_a_host_is_not_shown() -> None:
    text = await refusal("postgresql://app:geh@im.invalid@127.0.0.1/app")
    assert "cannot be resolved" in text
    assert "im.invalid" not in text


async def test_a_missing_database_is_told(migrated: Database) -> None:
    assert "database does not exist" in await refusal(migrated.server.url("nowhere"))


async def test_too_many_connections_are_told(migrated: Database, role: str) -> None:
    migrated.execute(f"alter role {role} connection limit 0")
    assert "too many connections" in await refusal(migrated.url_for(role, SECRET))


async def test_a_role_without_rights_is_told_what_it_lacks(migrated: Database, role: str) -> None:
    text = await refusal(migrated.url_for(role, SECRET))
    assert "lacks the rights on schema jobs" in text
    assert "grant" in text


async def test_a_read_only_database_is_told_at_the_first_write(migrated: Database) -> None:
    migrated.execute(f"alter database {migrated.name} set default_transaction_read_only = on")
    connections = Connections(settings(migrated.url))
    await connections.open()
    try:
        with pytest.raises(BackendUnavailable, match="read-only"):
            async with connections.connection() as connection:
                await connection.execute("update jobs.schema_migrations set name = name")
    finally:
        await connections.close()


async def test_a_missing_schema_is_a_mismatch(database: Database) -> None:
    with pytest.raises(SchemaMismatch, match=r"is missing, .*jobs-exec db migrate"):
        await Connections(settings(database.url)).open()


async def test_an_outdated_schema_is_a_mismatch(migrated: Database) -> None:
    last = migrated.execute("delete from jobs.schema_migrations where version > 1 returning version")
    assert last, "the test needs more than one migration"
    with pytest.raises(SchemaMismatch, match=r"is at version 1, .*jobs-exec db migrate"):
        await Connections(settings(migrated.url)).open()


async def test_a_newer_schema_is_accepted(migrated: Database) -> None:
    migrated.execute("insert into jobs.schema_migrations values (9999, 'later', 'x')")
    connections = Connections(settings(migrated.url))
    await connections.open()
    assert connections.schema_version == 9999
    try:
        with pytest.raises(SchemaMismatch, match="upgrade jobs-exec-table"):
            async with connections.connection() as connection:
                await connection.execute("select jobs.jobs_dropped_v0()")
    finally:
        await connections.close()


async def test_a_closed_one_says_so(migrated: Database) -> None:
    connections = Connections(settings(migrated.url))
    with pytest.raises(BackendUnavailable, match="not open"):
        async with connections.connection():
            pass
    await connections.close()


# --- use ------------------------------------------------------------------------------------------------


@pytest.fixture
async def connections(migrated: Database):
    opened = Connections(settings(migrated.url))
    await opened.open()
    yield opened
    await opened.close()
    await opened.close()


@pytest.mark.parametrize("binary", [False, True])
async def test_json_arrives_as_text_and_uuids_as_values(connections: Connections, binary: bool) -> None:
    query = """select '{"a": 1e5000}'::json, '{"a": 1}'::jsonb, '00000000-0000-0000-0000-000000000007'::uuid"""
    async with connections.connection() as connection:
        row = await (await connection.execute(query, binary=binary)).fetchone()
    assert row == ('{"a": 1e5000}', '{"a": 1}', UUID(int=7))


async def test_values_never_reach_the_text_of_an_error(connections: Connections) -> None:
    statement = "insert into jobs.schema_migrations values (1, %s, 'x')"
    with pytest.raises(StatementRefused, match=r"UniqueViolation .*a_migration_is_applied_once") as caught:
        async with connections.connection() as connection:
            await connection.execute(statement, ("geheim",))
    assert caught.value.blames_data
    assert caught.value.sqlstate == "23505"
    with pytest.raises(StatementRefused) as caught:
        async with connections.connection() as connection:
            await connection.execute("select %s::text::uuid", ("geheim",))
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_a_conflict_is_an_enqueue_conflict_only_at_enqueue(connections: Connections) -> None:
    failing = "do $$ begin raise exception using errcode = '40001'; end $$"
    async with connections.connection() as connection:
        with pytest.raises(EnqueueConflict, match="40001"), translated_enqueue():
            await connection.execute(failing)
    with pytest.raises(BackendUnavailable, match="can be repeated"):
        async with connections.connection() as connection:
            await connection.execute(failing)


@pytest.mark.parametrize(
    ("code", "sentence"), [("53100", "disk .* full"), ("53200", "out of memory"), ("57P03", "starting up")]
)
async def test_the_server_s_own_troubles_are_told(connections: Connections, code: str, sentence: str) -> None:
    with pytest.raises(BackendUnavailable, match=sentence):
        async with connections.connection() as connection:
            await connection.execute(f"do $$ begin raise exception using errcode = '{code}'; end $$".encode())


async def test_after_the_server_ended_all_sessions_only_one_call_fails(
    connections: Connections, migrated: Database
) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(sleeping(connections))
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'jobs-exec main'"
    assert len(migrated.execute(kill)) == 3
    with pytest.raises(BackendUnavailable, match=r"ended the session|was lost"):
        await sleeping(connections)
    for _ in range(4):
        await sleeping(connections)


async def test_it_comes_back_by_itself_after_the_server_was_restarted(
    connections: Connections, migrated: Database
) -> None:
    await sleeping(connections)
    cluster = migrated.server.cluster
    await asyncio.to_thread(cluster.stop, "immediate")
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await sleeping(connections)
    await asyncio.to_thread(cluster.start)
    async with asyncio.timeout(20):
        while not await works(connections):
            pass
    assert await works(connections)


async def works(connections: Connections) -> bool:
    try:
        await sleeping(connections)
    except BackendUnavailable:
        return False
    return True


async def sleeping(connections: Connections) -> None:
    async with connections.connection() as connection:
        await connection.execute("select pg_sleep(0.05)")


async def test_the_pool_is_bounded_and_named(connections: Connections, migrated: Database) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(sleeping(connections))
    assert len(migrated.sessions()) <= 3
    assert all(each.startswith("jobs-exec main") for each in migrated.sessions())


async def test_the_application_gets_the_driver_s_own_types_and_errors(connections: Connections) -> None:
    async with connections.lend() as connection:
        row = await (await connection.execute("""select '{"a": 1}'::jsonb""")).fetchone()
        assert row == ({"a": 1},)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("select 1 / 0")


async def test_what_one_borrower_left_in_the_session_the_next_one_does_not_meet(connections: Connections) -> None:
    for _ in range(2):
        async with connections.lend() as connection:
            row = await (await connection.execute("select current_setting('jobs.org_id', true)")).fetchone()
            assert row is not None
            assert not row[0]
            await connection.execute("select set_config('jobs.org_id', 'acme', false)")


async def test_a_direct_connection_is_told_from_a_pooled_one(connections: Connections) -> None:
    assert not connections.pooled


def test_nothing_secret_is_shown(migrated: Database) -> None:
    assert "postgresql" not in repr(Connections(settings(migrated.url)))
