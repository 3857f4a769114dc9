"""Real PostgreSQL servers for tests: one a version and session, a fresh database for every test.

The servers run without fsync (a test that needs durability brings its own) and listen on a socket only.
The role ``postgres`` is known by the kernel, every other role needs its password, so that tests of refused
passwords meet the real thing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from jobs_exec_table.cluster import SUPERUSER, Cluster, ServerUser
from jobs_exec_table.embedded import find_programs
from jobs_exec_table.migrating import Migrator

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
VERSIONS = (18, 15)
TEMPLATE = "migrated_template"
HBA = f"local all {SUPERUSER} peer map=owner\nlocal all all scram-sha-256\n"
_SETTINGS = {
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "autovacuum_naptime": "3600",
}
_names = count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server of one major version."""

    version: int
    cluster: Cluster

    def url(self, database: str, user: str = SUPERUSER, password: str = "") -> str:
        """A URL of `database` over the server's socket."""
        secret = f":{quote(password, safe='')}" if password else ""
        return self.cluster.url.replace(f"//{SUPERUSER}@/postgres", f"//{user}{secret}@/{database}")

    def execute(self, *statements: sql.Composed) -> None:
        """Runs administrative statements, each in a transaction of its own."""
        with psycopg.connect(self.cluster.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@dataclass(frozen=True, slots=True)
class Database:
    """One database that lives as long as its test."""

    name: str
    server: Server

    @property
    def url(self) -> str:
        """Connects as the superuser."""
        return self.server.url(self.name)

    @property
    def version(self) -> int:
        """The server's major version."""
        return self.server.version

    def url_for(self, user: str, password: str) -> str:
        """Connects as another role."""
        return self.server.url(self.name, user, password)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[psycopg.rows.TupleRow]]:
        """A superuser's connection in autocommit mode."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Runs one statement and returns its rows, if it has any."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def sessions(self) -> list[str]:
        """What is connected, by application name and last statement."""
        with psycopg.connect(self.server.cluster.url, autocommit=True) as connection:
            rows = connection.execute(
                "select application_name, state, left(query, 80) from pg_stat_activity"
                " where datname = %s and backend_type = 'client backend'",
                (self.name,),
            ).fetchall()
        return [" | ".join(str(part) for part in row) for row in rows]


def programs_of(version: int) -> Path:
    """The server's programs; without them the test is skipped, and fails under ``CI=true``."""
    if version == VERSIONS[0]:
        return find_programs()
    if not (DEBIAN_15 / "postgres").exists():
        missing(f"PostgreSQL {version} is not installed (apt-get install postgresql-15)")
    return DEBIAN_15


def missing(what: str) -> None:
    """Skips the test, or fails it where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def server_folder() -> Iterator[Path]:
    """A new folder that another user may pass through, removed at the end.

    Not below pytest's own, which every starting test run closes to other users, under the feet of a server there.
    """
    folder = Path(tempfile.mkdtemp(prefix="jobs-exec-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_server(version: int, home: Path, **settings: str) -> Iterator[Server]:
    """A new server in `home` until the block ends; `settings` are added to those of all test servers."""
    user = ServerUser.for_folder(home / "data")
    cluster = Cluster(home, programs_of(version), user, settings=_SETTINGS | settings, hba=HBA)
    cluster.create()
    cluster.start()
    try:
        yield Server(version, cluster)
    finally:
        cluster.stop("immediate")


def make_template(server: Server) -> None:
    """A database with the schema in it, from which others are copied in a few milliseconds."""
    server.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    with psycopg.connect(server.url(TEMPLATE), autocommit=True) as connection:
        Migrator(connection).apply()


@contextmanager
def fresh_database(server: Server, template: str = "template1") -> Iterator[Database]:
    """A new database; connections that are still open at the end fail the test that made them."""
    database = Database(f"test_{next(_names)}", server)
    name = sql.Identifier(database.name)
    server.execute(
        # Copying files beats logging every page: these servers are never recovered.
        sql.SQL("create database {} template {} strategy file_copy").format(name, sql.Identifier(template))
    )
    try:
        yield database
        leaked = remaining_sessions(database)
        assert not leaked, f"the test left connections open: {leaked}"
    finally:
        server.execute(sql.SQL("drop database {} with (force)").format(name))


def remaining_sessions(database: Database, seconds: float = 3.0) -> list[str]:
    """Sessions that do not end within `seconds`: a server process outlives its client by a moment."""
    deadline = time.monotonic() + seconds
    while (sessions := database.sessions()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return sessions
