"""Schedules from SQL: `jobs.fire`, its twins in Python, its rights, and the rules that the tables hold themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from books import MINUTE, TICK, firing, opened_book, record
from databases import Database
from psycopg import sql
from roles import Role, fresh_role

from jobs_exec.contracts import Fired, FireOutcome, jitter_of, tick_key, tick_payload, tick_text
from jobs_exec.identity import Identity, digest, run_hash
from jobs_exec_table.granting import Granting, Right

FIRE = "select outcome, created, skipped, duplicates from jobs.fire(%s, %s)"
FIRE_FOR = "select outcome, created, skipped, duplicates from jobs.fire(%s, %s, %s::text[])"
ROWS = (
    "select org_id::text, type::text, queue::text, payload::text, identity::text, run_hash, digest, max_attempts,"
    " priority, run_at, state::text from jobs.jobs_queue order by org_id, run_at"
)
LIVE = "select count(*) from jobs.jobs_queue"
WAITING = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


# --- jobs.fire ------------------------------------------------------------------------------------------


async def test_a_schedule_is_fired_by_its_name_once_a_tick(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        view = await book.add("nightly", orgs=["acme", "emca"])
        assert migrated.execute(FIRE, "nightly", TICK + timedelta(seconds=0.7)) == [("fired", 2, 0, 0)]
        for late in (TICK, TICK - MINUTE):
            assert migrated.execute(FIRE, "nightly", late) == [("moved", 0, 0, 0)]
        assert migrated.execute(FIRE, "nightly", TICK + MINUTE) == [("fired", 2, 0, 0)]
        after = await book.view("nightly")
    assert (after.last_tick, after.fired, after.next_tick) == (TICK + MINUTE, 2, view.next_tick)


async def test_sql_and_the_book_make_the_same_jobs(migrated: Database) -> None:
    awkward = {"big": 2**53, "e": 1.0, "tiny": 1e-7, "text": 'quo"te \\ ü\u2028', "deep": {"z": [1, {}], "a": None}}
    options: dict[str, Any] = {
        "orgs": ["acme", "ünï/日本"],
        "data": awkward,
        "tick_as": 'at "tick"',
        "jitter": 90.0,
        "priority": 3,
    }
    async with opened_book(migrated) as book:
        view = await book.add(**options)
        assert migrated.execute(FIRE, "report", TICK) == [("fired", 2, 0, 0)]
        by_sql = migrated.execute(ROWS)
        migrated.execute("delete from jobs.jobs_queue")
        migrated.execute("update jobs.job_schedules set last_tick = null")
        assert await book.backend.schedules.fire(firing(view, tuple(view.schedule.orgs))) == Fired(
            FireOutcome.FIRED, created=2
        )
        by_book = migrated.execute(ROWS)
    assert by_sql == by_book
    for org, made_type, queue, payload, identity, full_hash, short, attempts, priority, run_at, _ in by_sql:
        expected = run_hash(str(org), "work", Identity.KEY, tick_key(view.id, TICK).encode())
        assert (full_hash, short) == (expected, digest(expected))
        assert payload == tick_payload(record(**options).payload, 'at "tick"', TICK)
        assert json.loads(str(payload)) == awkward | {'at "tick"': "2025-11-25T13:00:00Z"}
        assert (made_type, queue, identity, attempts, priority) == ("work", "default", "key", 5, 3)
        assert isinstance(run_at, datetime)
        assert abs(run_at - TICK - timedelta(seconds=jitter_of(view.id, str(org), 90.0))) < timedelta(microseconds=2)


async def test_orgs_of_a_schedule_for_all_are_passed_in(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add(orgs="*")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="for all orgs") as caught:
        migrated.execute(FIRE, "report", TICK)
    assert "orgs => array(select id::text from your_orgs)" in str(caught.value.diag.message_hint)
    assert migrated.execute(FIRE_FOR, "report", TICK, ["a", "b", "c"]) == [("fired", 3, 0, 0)]


async def test_a_schedule_for_some_orgs_is_fired_for_no_others(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add(orgs=["acme", "emca"])
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is not for"):
        migrated.execute(FIRE_FOR, "report", TICK, ["acme", "xyz"])
    assert migrated.execute(LIVE) == [(0,)]


async def test_of_several_with_one_name_the_caller_says_which(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add(org_id="acme")
        await book.backend.schedules.sync([record(owner="app"), record(owner="jobs-exec-mail")])
    by_name = "select outcome, created from jobs.fire('report', %s)"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="2 schedules are named 'report'") as caught:
        migrated.execute(by_name, TICK)
    assert "owner =>" in str(caught.value.diag.message_hint)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="0 schedules are named 'reprot'"):
        migrated.execute(FIRE, "reprot", TICK)
    assert migrated.execute("select created from jobs.fire('report', %s, owner => 'app')", TICK) == [(1,)]
    assert migrated.execute("select created from jobs.fire('report', %s, org_id => 'acme')", TICK) == [(1,)]
    assert migrated.execute("select owner, org_id, fired from jobs.all_schedules order by owner") == [
        ("", "acme", 1),
        ("app", None, 1),
        ("jobs-exec-mail", None, 0),
    ]


async def test_a_tick_that_has_not_come_is_refused(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add()
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    for tick in (ahead, None):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be a time that has come"):
            migrated.execute(FIRE, "report", tick)
    assert migrated.execute("select fired, created from jobs.fire('report', now()), jobs.job_schedules") == [(0, 1)]


async def test_a_clock_of_its_own_fires_what_executors_do_not_but_nothing_that_is_paused(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add("disabled", enabled=False)
        await book.backend.schedules.sync([record("orphaned", owner="app")])
        paused = await book.add("paused")
        await book.backend.schedules.pause(paused.id, paused=True)
        outcomes = {name: migrated.execute(FIRE, name, TICK)[0][0] for name in ("disabled", "orphaned", "paused")}
    assert outcomes == {"disabled": "fired", "orphaned": "fired", "paused": "moved"}


async def test_a_clock_waits_for_whoever_changes_its_schedule_instead_of_losing_a_tick(migrated: Database) -> None:
    async with opened_book(migrated) as book:
        await book.add()
    with ThreadPoolExecutor(1) as thread, migrated.connect() as other:
        with other.transaction():
            other.execute("update jobs.job_schedules set priority = 1")
            fired = thread.submit(migrated.execute, FIRE, "report", TICK)
            until_somebody_waits(migrated)
        assert fired.result(10) == [("fired", 1, 0, 0)]
    assert migrated.execute("select priority from jobs.jobs_queue") == [(1,)]


def until_somebody_waits(database: Database) -> None:
    """A session waits for the end of another's transaction."""
    deadline = time.monotonic() + 10
    while not database.execute(WAITING):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- twins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ("{}", "at"),
        ("{ }", "at"),
        ('{"a":{}}', "at"),
        ('{"a":{"b":{}}}', "tab\t, quote\", back\\ and \x7f"),
        ('{"n":1e400,"m":1.10,"o":12345678901234567890}', "日本\u2028\U0001f600"),
    ],
)  # fmt: skip
def test_a_payload_with_its_tick_is_the_same_text_in_sql_and_python(
    migrated: Database, payload: str, field: str
) -> None:
    ((made,),) = migrated.execute("select jobs.tick_payload(%s::json, %s, %s)::text", payload, field, TICK)
    if payload != "{ }":  # written by hand: the twin need only be JSON
        assert made == tick_payload(payload, field, TICK)
    assert json.loads(str(made))[field] == tick_text(TICK)
    assert migrated.execute("select jobs.tick_payload(%s::json, null, now())::text", payload) == [(payload,)]


@pytest.mark.parametrize("schedule", [UUID(int=0), UUID(int=2**128 - 1), uuid4()])
def test_keys_and_shares_are_the_same_in_sql_and_python(migrated: Database, schedule: UUID) -> None:
    zones = ("UTC", "America/New_York", "Australia/Lord_Howe")
    ticks = (TICK, datetime(1970, 1, 2, tzinfo=UTC), datetime(9899, 12, 31, 23, 59, 59, tzinfo=UTC))
    with migrated.connect() as connection:
        for zone in zones:
            connection.execute("select set_config('timezone', %s, false)", (zone,))
            keys = [connection.execute("select jobs.tick_key(%s, %s)", (schedule, tick)).fetchone() for tick in ticks]
            assert keys == [(tick_key(schedule, tick),) for tick in ticks]
    for org in ("acme", "ünï/日本", "\U0001f600", "o" * 255):
        ((share,),) = migrated.execute("select jobs.org_share(%s, %s)", schedule, org)
        assert share == jitter_of(schedule, org, 1.0)


# --- rights ---------------------------------------------------------------------------------------------


@pytest.fixture
def role(migrated: Database) -> Iterator[Role]:
    with fresh_role(migrated, f"clock {migrated.name}") as made:
        yield made


def outcome_as(role: Role) -> str:
    with psycopg.connect(role.url, autocommit=True) as connection:
        return str(connection.execute(FIRE, ("report", TICK)).fetchall()[0][0])


async def test_whoever_may_enqueue_may_not_fire(migrated: Database, role: Role) -> None:
    async with opened_book(migrated) as book:
        await book.add()
    with migrated.connect() as connection:
        Granting(connection).grant(role.name, Right.ENQUEUE)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        outcome_as(role)
    assert migrated.execute(LIVE) == [(0,)]


async def test_whoever_may_run_may_fire_and_read(migrated: Database, role: Role) -> None:
    with migrated.connect() as connection:
        Granting(connection).grant(role.name, Right.RUN)
    async with opened_book(migrated, url=role.url) as book:
        await book.add(overlap="skip")
        assert outcome_as(role) == "fired"
        assert (await book.view()).fired == 1


async def test_a_role_of_a_clock_needs_one_function_and_no_table(migrated: Database, role: Role) -> None:
    async with opened_book(migrated) as book:
        await book.add(overlap="skip")
    migrated.execute(f'grant usage on schema jobs to "{role.name}"')
    migrated.execute(f'grant execute on function jobs.fire to "{role.name}"')
    assert outcome_as(role) == "fired"
    with psycopg.connect(role.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select payload from jobs.job_schedules")


def test_a_role_that_was_granted_the_tables_alone_sees_no_schedule(migrated: Database, role: Role) -> None:
    migrated.execute("insert into jobs.job_schedules (name, type, every, orgs) values ('report', 'work', 60, '{acme}')")
    migrated.execute(f'grant usage on schema jobs to "{role.name}"')
    migrated.execute(f'grant all on all tables in schema jobs to "{role.name}"')
    with psycopg.connect(role.url) as connection:
        for table in ("jobs.job_schedules", "jobs.all_schedules", "jobs.job_schedule_jobs"):
            assert connection.execute(b"table " + table.encode()).fetchall() == []


# --- rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("org_id", "emca", "a_tenants_schedule_is_for_its_own_org_alone"),
        ("owner", "a/b", "owner_is_empty_or_a_distribution"),
        ("name", "no name", "schedule_name_is_a_letter_then_letters_digits_or_punctuation"),
        ("cron", "* * * * *", "either_cron_or_every_is_set"),
        ("every", "0", "every_is_at_least_a_second"),
        ("orgs", "{}", "orgs_are_1_to_10000_or_all"),
        ("orgs", "{acme,null}", "orgs_are_1_to_10000_or_all"),
        ("orgs", '{" acme"}', "org_id_has_no_white_space_around_it"),
        ("catch_up", "some", "catch_up_is_none_last_or_all"),
        ("overlap", "maybe", "overlap_is_allow_or_skip"),
        ("jitter", "NaN", "jitter_is_at_most_a_day"),
        ("end_at", "2020-01-01 00:00+00", "end_is_later_than_start"),
        ("next_tick", "2026-01-01 00:00:00.5+00", "ticks_are_whole_seconds"),
        ("next_tick", "infinity", "times_lie_between_the_years_1970_and_9999"),
        ("payload", "[]", "data_is_a_json_object"),
        ("payload", '{"n":1e999}', "payload_can_be_read"),
        ("payload", '{"n":"\\u0000"}', "payload_can_be_read"),
        ("priority", "10", "priority_is_0_to_9"),
    ],
)  # fmt: skip
def test_a_row_that_breaks_a_rule_is_refused_by_its_name(
    migrated: Database, column: str, value: str, rule: str
) -> None:
    made = {"name": "report", "type": "work", "every": "60", "orgs": "{acme}", "start_at": "2026-01-01 00:00+00"}
    made[column] = value
    insert = sql.SQL("insert into jobs.job_schedules ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, made)), sql.SQL(", ").join(map(sql.Literal, made.values()))
    )
    with pytest.raises(psycopg.errors.CheckViolation) as caught, migrated.connect() as connection:
        connection.execute(insert)
    assert caught.value.diag.constraint_name == rule


@pytest.mark.parametrize("orgs", [None, "{acme,emca}", "{emca}"])
def test_a_tenants_schedule_is_for_its_own_org_alone(migrated: Database, orgs: str | None) -> None:
    insert = "insert into jobs.job_schedules (name, type, every, org_id, orgs) values ('r', 'work', 60, 'acme', %s)"
    with pytest.raises(psycopg.errors.CheckViolation, match="a_tenants_schedule_is_for_its_own_org_alone"):
        migrated.execute(insert, orgs)
    migrated.execute(insert, "{acme}")
