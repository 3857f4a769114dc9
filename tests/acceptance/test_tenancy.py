"""No tenant can starve, read, suppress or crash another, and none runs that the application does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from databases import Database
from psycopg import sql
from working import PATIENCE, Work

from jobs_exec import JobContext, job_type
from jobs_exec.client import Client
from jobs_exec.contracts import Policy
from jobs_exec.errors import InvalidJob

SECRET = "pass-wort"


class Witness:
    """A handler that keeps whose jobs it was called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, UUID]] = []

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.seen.append((ctx.org_id, ctx.job_id))


# --- whom the application knows --------------------------------------------------------------------------


@pytest.fixture
def orgs(migrated: Database) -> Database:
    migrated.execute("create table orgs (id text primary key, status text)")
    migrated.execute("insert into orgs values ('acme', 'active'), ('late', 'suspended')")
    return migrated


async def test_a_row_of_an_org_that_nobody_knows_is_rejected_without_calling_the_handler(orgs: Database) -> None:
    witness = Witness()
    work = Work(orgs, (job_type("work", witness),), org_table="orgs")
    unknown = work.insert("nobody", "work", '{"n": 1}')
    known = (await work.enqueue("acme", "work")).id
    report = await work.drained()
    assert (report.counts.rejected, report.counts.succeeded) == (1, 1)
    assert witness.seen == [("acme", known)]
    assert work.ends()[unknown][0] == "rejected"
    assert orgs.execute("select payload::text from jobs.job_runs where job_id = %s", unknown) == [('{"n": 1}',)]


async def test_jobs_of_a_suspended_org_are_held_and_run_after_the_suspension(orgs: Database) -> None:
    witness = Witness()
    work = Work(orgs, (job_type("work", witness),), Policy(poll_interval=0.05, lease=2.0), org_table="orgs")
    held = await work.enqueue_each("late", "work", 3)
    async with work.at_work() as working:
        await working.until(lambda: set(work.ends().values()) == {("held", "org", 0)})
        await work.enqueue("acme", "work")
        await working.until(lambda: working.progress.succeeded == 1)
        orgs.execute("update orgs set status = 'active' where id = 'late'")
        await working.until(lambda: working.progress.succeeded == 4)
    ends = work.ends()
    assert {ends[job_id] for job_id in held} == {("succeeded", None, 1)}
    assert [org for org, _ in witness.seen] == ["acme", "late", "late", "late"]


# --- one beside the other --------------------------------------------------------------------------------


async def test_the_same_work_of_two_orgs_is_two_pieces_of_work(migrated: Database) -> None:
    witness = Witness()
    work = Work(migrated, (job_type("work", witness),))
    for options in ({"data": {"invoice": 7}}, {"key": "invoice-7"}):
        for _ in range(2):
            receipts = [await work.enqueue(org, "work", **options) for org in ("acme", "emca")]  # type: ignore[arg-type]
        assert all(receipt.duplicate for receipt in receipts)
        assert receipts[0].of != receipts[1].of
        await work.drained()
        again = [await work.enqueue(org, "work", **options) for org in ("acme", "emca")]  # type: ignore[arg-type]
        assert [receipt.of for receipt in again] == [receipt.of for receipt in receipts]
    assert sorted(org for org, _ in witness.seen) == ["acme", "acme", "emca", "emca"]


async def test_slow_jobs_of_one_org_leave_slots_for_the_others(migrated: Database) -> None:
    let_go, running, most = asyncio.Event(), 0, 0

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        nonlocal running, most
        if ctx.org_id == "noisy":
            running += 1
            most = max(most, running)
            await let_go.wait()
            running -= 1

    settings = {"queues": "default:10", "org_max_share": 0.5}
    work = Work(migrated, (job_type("work", handler),), settings=settings)
    await work.enqueue_each("noisy", "work", 40)
    async with work.at_work() as working:
        await working.until(lambda: running == 5)
        await work.enqueue_each("quiet", "work", 20)
        await working.until(lambda: working.progress.succeeded == 20)
        assert running == 5
        let_go.set()
        await working.until(lambda: working.progress.succeeded == 60)
    assert most == 5


async def test_a_handler_adds_jobs_to_its_own_org_only(migrated: Database) -> None:
    witness, refused = Witness(), []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        await ctx.enqueue(type="work")
        try:
            await ctx.enqueue(type="work", org_id="emca")  # type: ignore[call-arg]
        except (InvalidJob, TypeError) as error:
            refused.append(str(error))

    work = Work(migrated, (job_type("parent", handler), job_type("work", witness)))
    await work.enqueue("acme", "parent")
    await work.drained()
    assert [org for org, _ in witness.seen] == ["acme"]
    assert "org_id" in refused[0]


# --- inside the database ---------------------------------------------------------------------------------


@pytest.fixture
def role(migrated: Database) -> Iterator[str]:
    """A role that row-level security binds, with the rights of an executor and on the application's table."""
    name = f"app_{migrated.name}"
    own = sql.Identifier(name)
    migrated.execute("create table notes (org_id text not null, note text not null)")
    migrated.execute("insert into notes values ('acme', 'ours'), ('emca', 'theirs')")
    migrated.execute("alter table notes enable row level security")
    migrated.execute("create policy own on notes using (org_id = current_setting('jobs.org_id', true))")
    with migrated.connect() as connection:
        connection.execute(sql.SQL("create role {} login password {}").format(own, sql.Literal(SECRET)))
        for grant in (
            "usage on schema jobs to {}",
            "all on all tables in schema jobs to {}",
            "all on all sequences in schema jobs to {}",
            "execute on all functions in schema jobs to {}",
            "all on notes to {}",
        ):
            connection.execute(sql.SQL(f"grant {grant}").format(own))
        for (table,) in connection.execute("select tablename from pg_tables where schemaname = 'jobs'").fetchall():
            policy = "create policy executors on jobs.{} to {} using (true) with check (true)"
            connection.execute(sql.SQL(policy).format(sql.Identifier(str(table)), own))
    yield name
    migrated.execute(f"drop owned by {name}")
    migrated.execute(f"drop role {name}")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_s_transaction_sees_the_rows_of_its_own_org_only(
    migrated: Database, role: str, kind: str
) -> None:
    read = "select current_setting('jobs.org_id'), array_agg(note order by note) from notes"
    write = "insert into notes values (%s, 'new')"
    seen: dict[str, Any] = {}

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            seen[ctx.org_id] = await (await connection.execute(read)).fetchone()
            await connection.execute(write, (data["into"],))

    def in_thread(ctx: JobContext, data: dict[str, Any]) -> None:
        with ctx.transaction() as connection:
            seen[ctx.org_id] = connection.execute(read).fetchone()
            connection.execute(write, (data["into"],))

    made = job_type("work", handler if kind == "async" else in_thread, max_attempts=1)
    work = Work(migrated, (made,), url=migrated.url_for(role, SECRET))
    own = (await work.enqueue("acme", "work", {"into": "acme"})).id
    foreign = (await work.enqueue("emca", "work", {"into": "acme"})).id
    await work.drained()
    assert seen == {"acme": ("acme", ["ours"]), "emca": ("emca", ["theirs"])}
    assert (work.ends()[own][0], work.ends()[foreign][0]) == ("succeeded", "dead")
    assert "policy" in work.errors(foreign)[0]["error"]
    assert migrated.execute("select org_id from notes where note = 'new'") == [("acme",)]


async def test_effects_acknowledgement_and_added_jobs_stand_or_fall_together(migrated: Database) -> None:
    migrated.execute("create table effects (n int)")
    let_look, looked = asyncio.Event(), asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (ctx.attempt,))
            await ctx.enqueue(type="child", data={"of": ctx.attempt})
        if ctx.attempt == 1:
            let_look.set()
            await asyncio.wait_for(looked.wait(), PATIENCE)
            raise ValueError("after the writes")

    witness = Witness()
    types = (job_type("work", handler, backoff=lambda attempt: 0.0), job_type("child", witness))
    work = Work(migrated, types)
    parent = (await work.enqueue("acme", "work")).id
    async with work.at_work() as working:
        await asyncio.wait_for(let_look.wait(), PATIENCE)
        assert work.ends() == {parent: ("running", None, 1)}
        looked.set()
        await working.until(lambda: working.progress.succeeded == 2)
    assert migrated.execute("select n from effects") == [(2,)]
    assert len(witness.seen) == 1
    assert len(work.ends()) == 2


async def test_a_caller_s_transaction_takes_its_jobs_with_it(migrated: Database) -> None:
    work = Work(migrated, (job_type("work", Witness()),))

    async def enqueue_and(fail: bool) -> None:
        async with Client.open(host=work.host()) as client, client.transaction() as connection:
            await client.enqueue(org_id="acme", type="work", connection=connection)
            if fail:
                raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        await enqueue_and(fail=True)
    assert work.ends() == {}
    await enqueue_and(fail=False)
    assert len(work.ends()) == 1
