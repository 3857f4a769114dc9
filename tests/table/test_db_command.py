"""`jobs-exec db`: what it says, what it does, and the code it ends with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from databases import Database
from poolers import Pooled

from jobs_exec.cli import main
from jobs_exec_table.exporting import ExportDiffers, export, script
from jobs_exec_table.migrating import Migration, Migrator, migrations, needed_version


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def db(url: str | None, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments], env={"JOB_DATABASE_URL": url or ""})


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


def test_migrate_brings_an_empty_database_up_to_date(database: Database) -> None:
    result = db(database.url, "migrate", "--json")
    assert result.exit_code == 0, result.output
    assert [each["version"] for each in as_json(result)["applied"]] == list(range(1, needed_version() + 1))
    assert all(f"applying {each}" in result.stderr for each in migrations())
    again = db(database.url, "migrate")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "up to date" in again.stderr


def test_a_dry_run_says_what_it_would_do_and_does_nothing(database: Database) -> None:
    result = db(database.url, "migrate", "--dry-run", "--json")
    assert result.exit_code == 0
    assert len(as_json(result)["pending"]) == needed_version()
    assert "would apply 0001_tables" in db(database.url, "migrate", "--dry-run").stderr
    assert database.execute("select 1 from pg_namespace where nspname = 'jobs'") == []


def test_migrate_works_through_a_transaction_pooler(pooled: Pooled) -> None:
    pooled.direct.execute("drop schema jobs cascade")
    assert db(pooled.url, "migrate").exit_code == 0
    assert as_json(db(pooled.url, "status", "--json"))["version"] == needed_version()


def test_status_ends_with_4_until_the_schema_is_there(database: Database) -> None:
    missing = db(database.url, "status", "--json")
    assert missing.exit_code == 4
    assert as_json(missing)["version"] is None
    assert {row["state"] for row in as_json(missing)["migrations"]} == {"pending"}
    db(database.url, "migrate")
    there = db(database.url, "status", "--json")
    assert there.exit_code == 0
    assert {row["state"] for row in as_json(there)["migrations"]} == {"applied"}
    assert "tables" in db(database.url, "status").stdout


def test_an_outdated_schema_is_4_and_a_newer_one_is_fine(migrated: Database) -> None:
    migrated.execute("insert into jobs.schema_migrations values (999, 'later', 'x')")
    newer = db(migrated.url, "status", "--json")
    assert newer.exit_code == 0
    assert as_json(newer)["migrations"][-1]["state"] == "newer"
    migrated.execute("delete from jobs.schema_migrations where version >= %s", needed_version())
    assert db(migrated.url, "status").exit_code == 4


def test_a_changed_migration_is_refused_with_4(migrated: Database) -> None:
    migrated.execute("update jobs.schema_migrations set checksum = 'other' where version = 1")
    result = db(migrated.url, "migrate")
    assert result.exit_code == 4
    assert "migration 1 was applied to this database with another content" in result.stderr
    assert as_json(db(migrated.url, "status", "--json"))["migrations"][0]["state"] == "changed"
    assert db(migrated.url, "status").exit_code == 4


def test_an_unreachable_database_is_3_and_no_url_is_2() -> None:
    unreachable = db("postgresql://app:geheim@127.0.0.1:1/app", "status")
    assert unreachable.exit_code == 3
    assert "nothing answers" in unreachable.stderr
    assert "geheim" not in unreachable.output
    unset = db(None, "status")
    assert unset.exit_code == 2
    assert "JOB_DATABASE_URL" in unset.stderr


def test_without_the_right_to_create_a_schema_it_is_said(database: Database) -> None:
    role = f"reader_{database.name}"
    database.execute(f"create role {role} login password 'geheim'")
    result = db(database.url_for(role, "geheim"), "migrate")
    assert result.exit_code == 3
    assert "lacks the rights on database" in result.stderr


def test_sql_can_be_applied_by_any_tool_and_agrees_with_the_runner(database: Database) -> None:
    printed = db(None, "sql")
    assert printed.exit_code == 0
    with database.connect() as connection:
        for _ in range(2):
            connection.execute(printed.stdout.encode())
        assert Migrator(connection).status().pending == ()
        assert Migrator(connection).apply() == ()
    listed = as_json(db(None, "sql", "--json"))
    assert [each["version"] for each in listed] == list(range(1, needed_version() + 1))
    assert "\nbegin;" not in listed[0]["sql"]


def test_supabase_files_come_after_what_is_there_and_a_second_run_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    newest = folder / "29990101000000_the_application_s_own.sql"
    newest.write_text("select 1;")
    first = db(None, "sql", "--supabase", str(folder), "--json")
    assert [each["written"] for each in as_json(first)] == [True] * needed_version()
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == newest.name
    assert names[1] == "29990101000001_jobs_exec_0001_tables.sql"
    assert [name.split("_")[3] for name in names[1:]] == [f"{each.version:04}" for each in migrations()]
    second = db(None, "sql", "--supabase", str(folder), "--json")
    assert not any(each["written"] for each in as_json(second))
    assert sorted(path.name for path in folder.iterdir()) == names


def test_supabase_files_and_the_runner_agree(database: Database, tmp_path: Path) -> None:
    written = [each.path for each in export(migrations(), tmp_path)]
    with database.connect() as connection:
        for path in written:
            with connection.transaction():
                connection.execute(path.read_bytes())
        assert Migrator(connection).apply() == ()
    other = psycopg.connect(database.url, autocommit=True)
    with other:
        for path in written:  # and the other way round: after the runner they change nothing
            other.execute(path.read_bytes())
        assert Migrator(other).status().pending == ()


def test_later_migrations_get_later_dates(tmp_path: Path) -> None:
    first, second = Migration(1, "first", "select 1;"), Migration(2, "second", "select 2;")
    now = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
    list(export([first], tmp_path, now))
    added = [each for each in export([first, second], tmp_path, now) if each.written]
    assert [each.path.name for each in added] == ["20261125120001_jobs_exec_0002_second.sql"]
    assert script(second).count("select 2;") == 1


def test_a_file_that_was_edited_is_not_overwritten(tmp_path: Path) -> None:
    (written,) = export([Migration(1, "first", "select 1;")], tmp_path)
    written.path.write_text("-- mine")
    with pytest.raises(ExportDiffers, match="restore the file"):
        list(export([Migration(1, "first", "select 1;")], tmp_path))
    assert written.path.read_text() == "-- mine"
