"""`jobs-exec db`: the schema in the database, brought up to date, looked at, or handed to another tool as SQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from psycopg import Connection
from psycopg.rows import TupleRow

from jobs_exec.cli.errors import exit_code
from jobs_exec.cli.output import emit_json, emit_table, json_option, say
from jobs_exec.cli.session import load_settings
from jobs_exec.errors import SchemaMismatch
from jobs_exec_table.cli.rights import MEANING, grant, revoke
from jobs_exec_table.connecting import sync_connection
from jobs_exec_table.exporting import export, script
from jobs_exec_table.faults import translated
from jobs_exec_table.granting import Granting
from jobs_exec_table.migrating import Migration, Migrator, Status, migrations, needed_version
from jobs_exec_table.settings import TableSettings

COLUMNS = ("version", "name", "state", "applied_at")


@click.group()
def db() -> None:
    """Migrate and inspect the database schema, and grant rights on it."""


db.add_command(grant)
db.add_command(revoke)


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would be applied, and apply nothing.")
@json_option
def migrate(dry_run: bool, as_json: bool) -> None:
    """Applies the migrations that the database does not have yet, each in one transaction.

    May run on several machines at once and while executors run. Executors of the previous minor version go on.
    """
    with _connection() as connection:
        if dry_run:
            status = Migrator(connection).status()
            status.check()
            done = status.pending
        else:
            done = _apply(connection)
    if as_json:
        key = "pending" if dry_run else "applied"
        emit_json({"version": needed_version(), key: [_as_object(each) for each in done]})
    else:
        say(_summary(done, dry_run))


@db.command()
@json_option
def status(as_json: bool) -> None:
    """Shows every migration and whether it is applied; exits 4 when one is missing or was changed."""
    with _connection() as connection:
        found = Migrator(connection).status()
    rows = list(_rows(found))
    if as_json:
        emit_json({"version": found.version, "needed": needed_version(), "migrations": rows})
    else:
        emit_table(rows, COLUMNS, "this version has no migrations")
        say(_verdict(found))
    sys.exit(0 if not found.pending and not found.changed else _outdated(found))


@db.command("sql")
@click.option(
    "--supabase",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write them into DIR (supabase/migrations) instead, named as Supabase wants them.",
)
@json_option
def sql_(folder: Path | None, as_json: bool) -> None:
    """Prints the migrations as SQL for other tools; they write the same record as `migrate`."""
    if folder is not None:
        _export(folder, as_json)
    elif as_json:
        emit_json([_as_object(each) | {"sql": script(each)} for each in migrations()])
    else:
        for each in migrations():
            click.echo(f"begin;\n{script(each)}commit;\n")


def _export(folder: Path, as_json: bool) -> None:
    written = []
    for each in export(migrations(), folder):
        written.append({"file": str(each.path), "version": each.migration.version, "written": each.written})
        if not as_json:
            say(f"{'wrote' if each.written else 'kept'} {each.path}")
    if as_json:
        emit_json(written)


@contextmanager
def _connection() -> Iterator[Connection[TupleRow]]:
    with sync_connection(load_settings(TableSettings), "db") as connection, translated():
        yield connection


def _apply(connection: Connection[TupleRow]) -> tuple[Migration, ...]:
    """Applies what is pending; roles keep what they had, on what is new as well."""
    granting = Granting(connection)
    # Before, because migrations close everything to the roles that Supabase grants to by default.
    granted = granting.granted()
    done = Migrator(connection).apply(lambda each: say(f"applying {each}"))
    if done:
        for role, right in granted.items():
            granting.grant(role, right)
            say(f"granted anew: {role} {MEANING[right]}")
    return done


def _rows(status: Status) -> Iterator[dict[str, Any]]:
    applied: dict[int, datetime] = {row.version: row.applied_at for row in status.applied}
    for each in migrations():
        state = "changed" if each in status.changed else "pending" if each in status.pending else "applied"
        yield {"version": each.version, "name": each.name, "state": state, "applied_at": applied.get(each.version)}
    for row in status.newer:
        yield {"version": row.version, "name": row.name, "state": "newer", "applied_at": row.applied_at}


def _verdict(status: Status) -> str:
    if status.changed:
        pending = f", and {len(status.pending)} to apply" if status.pending else ""
        return f"applied migrations differ from this version's{pending}; see `jobs-exec db migrate`"
    if status.pending:
        return f"{len(status.pending)} to apply: run `jobs-exec db migrate`"
    return "up to date" + (", and newer than this version of jobs-exec-table" if status.newer else "")


def _outdated(status: Status) -> int:
    return exit_code(SchemaMismatch(status.version, needed_version()))


def _summary(done: tuple[Migration, ...], dry_run: bool) -> str:
    if not done:
        return f"up to date at version {needed_version()}"
    names = ", ".join(map(str, done))
    return f"would apply {names}" if dry_run else f"applied {len(done)}; the schema is at version {needed_version()}"


def _as_object(migration: Migration) -> dict[str, Any]:
    return {"version": migration.version, "name": migration.name, "checksum": migration.checksum}
