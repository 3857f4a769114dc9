"""Everything through PgBouncer in transaction mode, where a session is nobody's."""

from __future__ import annotations

import asyncio

import psycopg
from poolers import Pooled

from jobs_exec_table.connections import Connections
from jobs_exec_table.migrating import Migration, Migrator, needed_version
from jobs_exec_table.settings import TableSettings


async def test_it_is_noticed_and_no_statement_is_prepared(pooled: Pooled) -> None:
    connections = Connections(TableSettings(JOB_DATABASE_URL=pooled.url))
    await connections.open()
    try:
        assert connections.pooled
        async with asyncio.TaskGroup() as tasks:
            for number in range(60):
                tasks.create_task(doubled(connections, number))
    finally:
        await connections.close()


async def doubled(connections: Connections, number: int) -> None:
    async with connections.connection() as connection:
        row = await (await connection.execute("select %s * 2, pg_sleep(0.001)", (number,))).fetchone()
    assert row is not None
    assert row[0] == number * 2


async def test_a_transaction_keeps_its_org_and_the_next_client_does_not_see_it(pooled: Pooled) -> None:
    connections = Connections(TableSettings(JOB_DATABASE_URL=pooled.url))
    await connections.open()
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(scoped(connections, f"org-{number}"))
    finally:
        await connections.close()


async def scoped(connections: Connections, org_id: str) -> None:
    async with connections.transaction() as connection:
        await connection.execute("select set_config('jobs.org_id', %s, true), pg_sleep(0.001)", (org_id,))
        row = await (await connection.execute("select current_setting('jobs.org_id')")).fetchone()
    assert row == (org_id,)


def test_migrations_run_through_it(pooled: Pooled) -> None:
    later = Migration(needed_version() + 1, "later", "create table jobs.later (id int); select 1;")
    with psycopg.connect(pooled.url, autocommit=True, prepare_threshold=None) as connection:
        migrator = Migrator(connection)
        assert migrator.apply() == ()
        assert migrator.status().version == needed_version()
        with_later = Migrator(connection, [*migrator.known, later])
        assert with_later.apply() == (later,)
        assert with_later.apply() == ()
