"""Migrations: numbered ``.sql`` files, applied in order, recorded in `jobs.schema_migrations`.

Each file runs in one transaction, together with its record, under an advisory *transaction* lock: two runners
that start together apply every file once, a failed one leaves no trace, and all of it works through a
transaction pooler, which would not keep a session's lock or setting. A file that was applied never changes:
its checksum is recorded, and another content under the same number is an error.

An executor needs the files of its own version and accepts more: what a newer schema still offers to it is
told by the versions in the names of the functions, which are dropped one minor version later.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg.rows import class_row

from jobs_exec.errors import SchemaMismatch

LOCK = 5_026_801_842_775_160_683
"""The advisory transaction lock of every runner: an arbitrary number nobody else is likely to use."""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class ChangedMigration(SchemaMismatch):
    """A migration was applied with another content than the file has now; `versions` are those."""

    def __init__(self, versions: Sequence[int]) -> None:
        super().__init__(versions[0], versions[0])
        numbers = ", ".join(map(str, versions))
        self.args = (
            f"migration {numbers} was applied to this database with another content than this version of "
            "jobs-exec-table has; install the version that applied it, or restore the file",
        )
        self.versions = tuple(versions)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name and its SQL."""

    version: int
    name: str
    sql: str = field(repr=False)

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of the text, blind to line endings and trailing space."""
        lines = (line.rstrip() for line in self.sql.strip().splitlines())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of `jobs.schema_migrations`."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What a database has of the migrations of this version.

    `version` is the newest applied one, None when there is none. `newer` were applied by a later version of
    this distribution, `changed` are applied with another content.
    """

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    newer: tuple[Applied, ...]
    changed: tuple[Migration, ...]

    @property
    def version(self) -> int | None:
        """The newest applied migration."""
        return max((row.version for row in self.applied), default=None)

    def check(self) -> None:
        """Raises `ChangedMigration` when applied files were changed since."""
        if self.changed:
            raise ChangedMigration([each.version for each in self.changed])


def read_migrations(folder: Traversable) -> tuple[Migration, ...]:
    """The files of `folder` in order. Raises `ValueError` when a number is missing or used twice."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = []
    for expected, name in enumerate(names, start=1):
        match = _FILE.fullmatch(name)
        if match is None or int(match[1]) != expected:
            raise ValueError(f"migration file {name!r} should be named {expected:04}_name.sql")
        found.append(Migration(expected, match[2], (folder / name).read_text("utf-8")))
    return tuple(found)


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations of this version, in order."""
    return read_migrations(files("jobs_exec_table") / "migrations")


def needed_version() -> int:
    """The number of the newest migration of this version."""
    return len(migrations())


@cache
def record_table() -> str:
    """The SQL that makes `jobs.schema_migrations`; idempotent."""
    return (files("jobs_exec_table") / "sql" / "schema_migrations.sql").read_text("utf-8")


class Migrator:
    """Brings one database up to date through a sync connection in autocommit mode."""

    def __init__(
        self, connection: psycopg.Connection[psycopg.rows.TupleRow], known: Sequence[Migration] | None = None
    ) -> None:
        self._connection = connection
        self.known = tuple(migrations() if known is None else known)

    def status(self) -> Status:
        """What is applied and what is not; changes nothing."""
        applied = tuple(self._applied())
        checksums = {row.version: row.checksum for row in applied}
        return Status(
            applied=applied,
            pending=tuple(each for each in self.known if each.version not in checksums),
            newer=tuple(row for row in applied if row.version > len(self.known)),
            changed=tuple(each for each in self.known if checksums.get(each.version, each.checksum) != each.checksum),
        )

    def apply(self, progress: Callable[[Migration], None] = lambda _: None) -> tuple[Migration, ...]:
        """Applies what is pending and returns it; `progress` is called before each.

        Raises `ChangedMigration` before anything is written. A failing migration is rolled back alone; those
        before it stay applied, and the next run goes on with it.
        """
        status = self.status()
        status.check()
        if not status.pending:
            return ()
        self._prepare()
        return tuple(each for each in status.pending if self._apply_one(each, progress))

    def _applied(self) -> list[Applied]:
        with self._connection.cursor() as cursor:
            found = cursor.execute("select to_regclass('jobs.schema_migrations') is not null").fetchone()
        if not found or not found[0]:
            return []
        with self._connection.cursor(row_factory=class_row(Applied)) as cursor:
            return cursor.execute(
                "select version, name, checksum, applied_at from jobs.schema_migrations order by version"
            ).fetchall()

    def _prepare(self) -> None:
        with self._connection.transaction():
            self._lock()
            self._connection.execute(record_table().encode())

    def _apply_one(self, migration: Migration, progress: Callable[[Migration], None]) -> bool:
        with self._connection.transaction():
            self._lock()
            # Another runner may have been here while this one waited for the lock.
            if any(row.version == migration.version for row in self._applied()):
                return False
            progress(migration)
            # Without parameters the server takes the whole file as one simple query of many statements.
            self._connection.execute(migration.sql.encode(), prepare=False)
            self._connection.execute(
                "insert into jobs.schema_migrations (version, name, checksum) values (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
        return True

    def _lock(self) -> None:
        self._connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
