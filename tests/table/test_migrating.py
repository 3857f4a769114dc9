"""Migrations: once, in order, in one transaction each, and never with another content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from databases import Database

from jobs_exec_table.migrating import ChangedMigration, Migration, Migrator, migrations, read_migrations

FIRST = Migration(1, "first", "create table jobs.one (id int);\ncreate table jobs.two (id int);\n")
SECOND = Migration(2, "second", "alter table jobs.one add note text default 'a % sign';")


def tables(database: Database) -> set[object]:
    rows = database.execute("select relname from pg_class where relnamespace = 'jobs'::regnamespace and relkind = 'r'")
    return {row[0] for row in rows}


def test_all_pending_files_are_applied_in_order_and_recorded(database: Database) -> None:
    seen: list[str] = []
    with database.connect() as connection:
        done = Migrator(connection, [FIRST, SECOND]).apply(lambda each: seen.append(str(each)))
    assert done == (FIRST, SECOND)
    assert seen == ["0001_first", "0002_second"]
    assert {"one", "two"} < tables(database)
    rows = database.execute("select version, name, checksum from jobs.schema_migrations order by version")
    assert rows == [(1, "first", FIRST.checksum), (2, "second", SECOND.checksum)]


def test_a_second_run_does_nothing(database: Database) -> None:
    with database.connect() as connection:
        Migrator(connection, [FIRST]).apply()
        assert Migrator(connection, [FIRST]).apply() == ()


def test_a_later_version_adds_only_what_is_new(database: Database) -> None:
    with database.connect() as connection:
        Migrator(connection, [FIRST]).apply()
        assert Migrator(connection, [FIRST, SECOND]).status().pending == (SECOND,)
        assert Migrator(connection, [FIRST, SECOND]).apply() == (SECOND,)


def test_a_failing_migration_leaves_no_trace_and_the_earlier_ones_stay(database: Database) -> None:
    broken = Migration(2, "broken", "create table jobs.half (id int); select 1 / 0;")
    with database.connect() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            Migrator(connection, [FIRST, broken]).apply()
        assert Migrator(connection, [FIRST, SECOND]).apply() == (SECOND,)
    assert "half" not in tables(database)


def test_another_content_under_an_applied_number_is_an_error(database: Database) -> None:
    changed = Migration(1, "first", "create table jobs.other (id int);")
    with database.connect() as connection:
        Migrator(connection, [FIRST]).apply()
        with pytest.raises(ChangedMigration, match="migration 1 was applied"):
            Migrator(connection, [changed, SECOND]).apply()
    assert "note" not in {row[0] for row in database.execute("select attname from pg_attribute")}


def test_line_endings_do_not_change_the_checksum() -> None:
    assert Migration(1, "first", FIRST.sql.replace("\n", "\r\n")).checksum == FIRST.checksum
    assert Migration(1, "first", FIRST.sql + "-- more").checksum != FIRST.checksum


def test_a_newer_schema_is_told_apart(database: Database) -> None:
    with database.connect() as connection:
        Migrator(connection, [FIRST, SECOND]).apply()
        status = Migrator(connection, [FIRST]).status()
    assert [row.version for row in status.newer] == [2]
    assert status.version == 2
    assert status.pending == ()


def test_status_changes_nothing(database: Database) -> None:
    with database.connect() as connection:
        status = Migrator(connection, [FIRST]).status()
    assert (status.version, status.pending) == (None, (FIRST,))
    assert database.execute("select 1 from pg_namespace where nspname = 'jobs'") == []


def test_runners_that_start_together_apply_every_file_once(database: Database) -> None:
    code = (
        "import sys, psycopg\nfrom jobs_exec_table.migrating import Migration, Migrator\n"
        "known = [Migration(n, 'step', f'create table jobs.t{n} (id int); select pg_sleep(0.02);') for n in range(1, 8)]\n"
        "with psycopg.connect(sys.argv[1], autocommit=True) as c: print(len(Migrator(c, known).apply()))\n"
    )
    runners = [
        subprocess.Popen([sys.executable, "-c", code, database.url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    counts = [int(runner.communicate(timeout=60)[0]) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0]
    assert sum(counts) == 7
    assert database.execute("select count(*) from jobs.schema_migrations") == [(7,)]


def test_the_shipped_migrations_are_numbered_and_apply_to_an_empty_database(database: Database) -> None:
    with database.connect() as connection:
        assert Migrator(connection).apply() == migrations()
        assert Migrator(connection).status().pending == ()


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("select 1")
    (tmp_path / "0003_third.sql").write_text("select 1")
    with pytest.raises(ValueError, match=r"0002_name\.sql"):
        read_migrations(tmp_path)


def test_a_file_without_a_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "first.sql").write_text("select 1")
    with pytest.raises(ValueError, match=r"0001_name\.sql"):
        read_migrations(tmp_path)
