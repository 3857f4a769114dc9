"""The org directory over the application's own table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from databases import Database

from jobs_exec.contracts import OrgStatus
from jobs_exec.errors import BackendUnavailable, ConfigurationError
from jobs_exec_table import directory as directory_module
from jobs_exec_table.connections import Connections
from jobs_exec_table.directory import TableDirectory
from jobs_exec_table.settings import TableSettings

ONE = "00000000-0000-0000-0000-000000000001"
TWO = "00000000-0000-0000-0000-000000000002"


@pytest.fixture
async def connections(migrated: Database) -> AsyncIterator[Connections]:
    opened = Connections(TableSettings(JOB_DATABASE_URL=migrated.url))
    await opened.open()
    yield opened
    await opened.close()


async def test_orgs_are_active_suspended_or_unknown(migrated: Database, connections: Connections) -> None:
    migrated.execute("create table public.orgs (id text primary key, status text)")
    migrated.execute("insert into orgs values ('a', 'trialing'), ('b', 'Suspended'), ('c', null), ('d', 'blocked')")
    found = await TableDirectory(connections, ("public", "orgs")).check({"a", "b", "c", "d", "e"})
    assert found == {
        "a": OrgStatus.ACTIVE,
        "b": OrgStatus.SUSPENDED,
        "c": OrgStatus.ACTIVE,
        "d": OrgStatus.SUSPENDED,
        "e": OrgStatus.UNKNOWN,
    }


async def test_without_a_status_column_every_org_is_active(migrated: Database, connections: Connections) -> None:
    migrated.execute("create table orgs (id text primary key)")
    migrated.execute("insert into orgs values ('a')")
    directory = TableDirectory(connections, ("public", "orgs"))
    assert await directory.check({"a", "b"}) == {"a": OrgStatus.ACTIVE, "b": OrgStatus.UNKNOWN}
    assert await directory.check(set()) == {}


async def test_ids_may_be_uuids_and_what_is_none_is_unknown(migrated: Database, connections: Connections) -> None:
    migrated.execute("create type org_state as enum ('active', 'suspended')")
    migrated.execute('create table "My Orgs" (id uuid primary key, status org_state not null)')
    migrated.execute("""insert into "My Orgs" values (%s, 'active'), (%s, 'suspended')""", ONE, TWO)
    found = await TableDirectory(connections, ("public", "My Orgs")).check({ONE, TWO, "acme", ONE.replace("1", "9")})
    assert found == {
        ONE: OrgStatus.ACTIVE,
        TWO: OrgStatus.SUSPENDED,
        "acme": OrgStatus.UNKNOWN,
        ONE.replace("1", "9"): OrgStatus.UNKNOWN,
    }


@pytest.mark.parametrize("key", ["text", "uuid"])
async def test_active_orgs_are_listed_page_by_page(
    migrated: Database, connections: Connections, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(directory_module, "PAGE", 3)
    migrated.execute("create table orgs (id text primary key, status text)")
    migrated.execute(f"alter table orgs alter id type {key} using id::{key}")
    made = migrated.execute(
        "insert into orgs select lpad(n::text, 32, '0')::uuid, case n % 2 when 0 then 'suspended' end"
        " from generate_series(1, 12) n returning id::text, status is null"
    )
    listed = [org_id async for org_id in TableDirectory(connections, ("public", "orgs")).active()]
    assert listed == sorted(str(org_id) for org_id, active in made if active)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("select 1", "not there"),
        ("create table orgs (key text)", "no column id"),
        ("create table orgs (id bigint)", "id is of type int8"),
    ],
)
async def test_a_table_that_cannot_serve_is_a_configuration_error(
    migrated: Database, connections: Connections, statement: str, problem: str
) -> None:
    migrated.execute(statement)
    with pytest.raises(ConfigurationError, match=rf"JOB_ORG_TABLE: .*{problem}"):
        await TableDirectory(connections, ("public", "orgs")).check({"a"})


async def test_a_failing_directory_is_an_outage_not_an_answer(migrated: Database, connections: Connections) -> None:
    migrated.execute("create table orgs (id text primary key)")
    directory = TableDirectory(connections, ("public", "orgs"))
    await directory.check({"a"})
    await connections.close()
    with pytest.raises(BackendUnavailable):
        await directory.check({"a"})


async def test_a_batch_probes_the_key_of_a_large_table(migrated: Database, connections: Connections) -> None:
    migrated.execute("create table orgs (id uuid primary key, status text)")
    migrated.execute("insert into orgs select gen_random_uuid(), 'active' from generate_series(1, 20000)")
    migrated.execute("analyze orgs")
    directory = TableDirectory(connections, ("public", "orgs"))
    await directory.check({ONE})
    check, _ = await directory._prepared()
    async with connections.connection() as connection:
        values = {"ids": [ONE, TWO], "suspending": []}
        rows = await (await connection.execute("explain " + check.as_string(connection), values)).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "orgs_pkey" in plan
    assert "Seq Scan" not in plan
