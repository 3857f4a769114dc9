"""Other roles than the owner: executors do everything, enqueuers nothing but enqueue, and nobody is told of emptiness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from databases import Database
from roles import Role, fresh_role
from working import Work

from jobs_exec import Envelope, JobContext, job_type
from jobs_exec.cli import main
from jobs_exec.client import Client, SyncClient
from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import ReceiptOutcome
from jobs_exec.testing.backend_contract import QueueBackendContract
from jobs_exec.testing.store_contract import IdempotencyStoreContract
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.granting import TABLES, Granting, Right
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings

CLOSED = (*TABLES, "all_jobs", "all_schedules")


async def work(ctx: JobContext, data: dict[str, Any]) -> None:
    """Does nothing."""


MADE = job_type("work", work)


@pytest.fixture
def role(migrated: Database) -> Iterator[Role]:
    with fresh_role(migrated, f"app {migrated.name}") as made:
        yield made


def grant(database: Database, role: Role, right: Right) -> list[str]:
    with database.connect() as connection:
        return Granting(connection).grant(role.name, right)


def jobs_exec(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"JOB_DATABASE_URL": url})


def refused(url: str, statement: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())
    return True


# --- executors ------------------------------------------------------------------------------------------


@pytest.fixture
async def harness(migrated: Database, role: Role) -> AsyncIterator[TableHarness]:
    grant(migrated, role, Right.RUN)
    backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=role.url))
    await backend.open()
    yield TableHarness(backend, migrated.url)
    await backend.close()


class TestTableBackendAsAnotherRole(QueueBackendContract):
    """The whole contract by a role that was granted `--run`."""


class TestTableStoreAsAnotherRole(IdempotencyStoreContract):
    """See `TestTableBackendAsAnotherRole`."""


async def test_an_executor_of_another_role_runs_what_was_enqueued_in_bulk(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.RUN)
    running = Work(migrated, (job_type("work", work, identity="none"),), url=role.url)
    async with Client.open(host=running.host()) as client:
        await client.enqueue_many([Envelope("acme", "work") for _ in range(600)])  # owners would copy so many
    assert (await running.drained()).counts.succeeded == 600
    listed = await asyncio.to_thread(jobs_exec, role.url, "list", "--org", "acme", "--json")
    assert len(json.loads(listed.stdout)) == 50


async def test_an_executor_of_another_role_may_not_change_the_schema(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.RUN)
    assert refused(role.url, "select jobs.close_to_strangers()")
    assert refused(role.url, "create table jobs.mine (n int)")
    assert refused(role.url, "insert into jobs.schema_migrations values (99, 'x', 'x')")


# --- enqueuers ------------------------------------------------------------------------------------------


async def test_an_enqueuer_enqueues_in_its_own_transaction_and_sees_its_duplicates(
    migrated: Database, role: Role
) -> None:
    grant(migrated, role, Right.ENQUEUE)
    owner = Work(migrated, (MADE,))
    await owner.drained()  # announces the type
    async with Client.open(host=Work(migrated, (), url=role.url).host()) as client:
        async with client.transaction() as connection:
            first = await client.enqueue(org_id="acme", type="work", data={"n": 1}, connection=connection)
        again = await client.enqueue(org_id="acme", type="work", data={"n": 1})
        async with client.transaction() as connection:
            await client.enqueue(org_id="acme", type="work", data={"n": 2}, connection=connection)
            raise psycopg.Rollback
    assert (again.outcome, again.of) == (ReceiptOutcome.DUPLICATE, first.id)
    assert migrated.execute("select id from jobs.jobs_queue") == [(first.id,)]
    assert (await owner.drained()).counts.succeeded == 1


def test_an_enqueuer_enqueues_from_sync_code_and_from_sql(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.ENQUEUE)
    with (
        SyncClient.open(host=Work(migrated, (), url=role.url).host()) as client,
        psycopg.connect(role.url) as connection,
    ):
        client.enqueue(org_id="acme", type="work", allow_unregistered=True, connection=connection)
        row = connection.execute(
            "select outcome from jobs.enqueue('acme', 'mail', key => 'k', allow_unregistered => true)"
        ).fetchone()
    assert row == ("created",)
    assert migrated.execute("select count(*) from jobs.jobs_queue") == [(2,)]


async def test_an_enqueuer_can_neither_read_nor_change_nor_run_jobs(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.ENQUEUE)
    await Work(migrated, (MADE,)).enqueue("acme", "work")
    for table in CLOSED:
        assert refused(role.url, "table jobs." + table)
    assert refused(role.url, "insert into jobs.jobs_queue default values")
    assert refused(role.url, "delete from jobs.jobs_queue")
    others = migrated.execute(
        "select p.oid::regprocedure::text from pg_proc p where pronamespace = 'jobs'::regnamespace"
        " and has_function_privilege(%s, p.oid, 'execute')",
        role.name,
    )
    assert sorted(str(name).split("(")[0] for (name,) in others) == [
        "jobs.enqueue",
        "jobs.enqueue_seqs_v1",
        "jobs.jobs_enqueue_v1",
        "jobs.known_types_v1",
    ]
    listed = await asyncio.to_thread(jobs_exec, role.url, "list")
    assert listed.exit_code == 3
    assert "jobs-exec db grant ROLE --run" in listed.stderr


def test_functions_with_the_owner_s_rights_look_names_up_nowhere(migrated: Database) -> None:
    definers = migrated.execute(
        "select proname::text, proconfig::text from pg_proc where pronamespace = 'jobs'::regnamespace and prosecdef"
    )
    expected = {"enqueue", "enqueue_seqs_v1", "fire", "jobs_enqueue_v1", "known_types_v1"}
    assert {name for name, _ in definers} == expected
    assert all('search_path=\\"\\"' in str(settings) for _, settings in definers)


# --- those who have no right, or half of one ------------------------------------------------------------


async def test_a_role_that_row_level_security_hides_all_from_is_told_so(migrated: Database, role: Role) -> None:
    for what in ("usage on schema", "all on all tables in schema", "all on all functions in schema"):
        migrated.execute(f'grant {what} jobs to "{role.name}"')
    with pytest.raises(BackendUnavailable, match=f"hides the jobs from .* `jobs-exec db grant {role.name} --run`"):
        await Work(migrated, (), url=role.url).enqueue("acme", "work", allow_unregistered=True)
    listed = await asyncio.to_thread(jobs_exec, role.url, "list")
    assert (listed.exit_code, listed.stdout) == (3, "")
    grant(migrated, role, Right.RUN)
    assert (await asyncio.to_thread(jobs_exec, role.url, "list")).exit_code == 0


def test_members_of_a_role_have_its_rights(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.RUN)
    with fresh_role(migrated, f"member_{migrated.name}") as member:
        migrated.execute(f'grant "{role.name}" to {member.name}')
        assert jobs_exec(member.url, "list").exit_code == 0


# --- the command ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", Right)
def test_granting_may_be_repeated_and_revoking_leaves_nothing(migrated: Database, role: Role, right: Right) -> None:
    for _ in range(2):
        result = jobs_exec(migrated.url, "db", "grant", role.name, f"--{right}")
        assert result.exit_code == 0, result.output
    with migrated.connect() as connection:
        assert Granting(connection).granted() == {role.name: right}
    for _ in range(2):
        assert jobs_exec(migrated.url, "db", "revoke", role.name).exit_code == 0
    left = "select 1 from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = %s::regrole"
    assert migrated.execute(left, f'"{role.name}"') == []
    assert refused(role.url, "select * from jobs.known_types_v1()")


def test_more_rights_may_be_added(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.ENQUEUE)
    grant(migrated, role, Right.RUN)
    grant(migrated, role, Right.ENQUEUE)
    with migrated.connect() as connection:
        assert Granting(connection).granted() == {role.name: Right.RUN}


def test_a_dry_run_prints_sql_that_does_the_same(migrated: Database, role: Role) -> None:
    printed = jobs_exec(migrated.url, "db", "grant", role.name, "--run", "--dry-run")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert refused(role.url, "select 1 from jobs.jobs_queue")
    migrated.execute(printed.stdout)
    listed = json.loads(jobs_exec(migrated.url, "db", "grant", role.name, "--run", "--dry-run", "--json").stdout)
    assert listed["executed"] is False
    assert not any(each.startswith("create policy") for each in listed["statements"])
    assert jobs_exec(role.url, "list").exit_code == 0


@pytest.mark.parametrize("name", ['we"ird; drop schema jobs', "x" * 63, "naïve role"])
def test_any_name_of_a_role_is_taken_as_a_name(migrated: Database, name: str) -> None:
    with fresh_role(migrated, name) as role:
        grant(migrated, role, Right.RUN)
        assert jobs_exec(role.url, "list").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("grant", "nobody", "--run"), 2, "'nobody' is no role of this server"),
        (("revoke", "nobody"), 2, "'nobody' is no role of this server"),
        (("grant", "public", "--enqueue"), 2, "'public' is no role of this server"),
        (("grant", "postgres"), 2, "--enqueue or --run"),
    ],
)
def test_what_cannot_be_granted_is_said(
    migrated: Database, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    result = jobs_exec(migrated.url, "db", *arguments)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.output


def test_only_the_owner_grants(migrated: Database, role: Role) -> None:
    result = jobs_exec(role.url, "db", "grant", role.name, "--run")
    assert result.exit_code == 3
    assert "only the owner of the schema jobs grants rights on it; connect as postgres" in result.stderr


def test_without_a_schema_there_is_nothing_to_grant(database: Database) -> None:
    assert jobs_exec(database.url, "db", "grant", "postgres", "--run").exit_code == 4


def test_a_migration_grants_anew_what_roles_had(migrated: Database, role: Role) -> None:
    grant(migrated, role, Right.RUN)
    migrated.execute(
        "delete from jobs.schema_migrations where version = (select max(version) from jobs.schema_migrations)"
    )
    migrated.execute(f'revoke execute on function jobs.jobs_redrive_v1 from "{role.name}"')
    migrated_again = jobs_exec(migrated.url, "db", "migrate")
    assert f"granted anew: {role.name}" in migrated_again.stderr
    assert migrated.execute(
        "select has_function_privilege(%s, 'jobs.jobs_redrive_v1(uuid[])', 'execute')", role.name
    ) == [(True,)]
