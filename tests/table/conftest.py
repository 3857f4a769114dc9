"""Fixtures of the table backend's tests; every test that uses one runs on PostgreSQL 18 and on 15."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from attempting import World
from databases import TEMPLATE, VERSIONS, Database, Server, fresh_database, make_template, running_server, server_folder
from poolers import Pooled, pgbouncer

from jobs_exec.contracts import Policy
from jobs_exec_table.attempts import Attempts
from jobs_exec_table.connections import Connections
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.settling import Settling


@pytest.fixture(scope="session", params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server of one version, with the template of `migrated` in it."""
    version: int = request.param
    with server_folder() as folder, running_server(version, folder / "postgres") as server:
        make_template(server)
        yield server


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """An empty database."""
    with fresh_database(postgres) as made:
        yield made


@pytest.fixture
def migrated(postgres: Server) -> Iterator[Database]:
    """A database with the schema in it."""
    with fresh_database(postgres, TEMPLATE) as made:
        yield made


@pytest.fixture
def pooled(migrated: Database) -> Iterator[Pooled]:
    """A database with the schema in it behind PgBouncer in transaction mode."""
    with pgbouncer(migrated) as made:
        yield made


@pytest.fixture
async def world(migrated: Database) -> AsyncIterator[World]:
    """Attempts over a database with a table of the application in it."""
    migrated.execute("create table effects (note text, parent int)")
    connections = Connections(TableSettings(JOB_DATABASE_URL=migrated.url, JOB_TABLE_ATTEMPT_POOL_SIZE=2))
    await connections.open()
    settling = Settling(connections, Policy())
    yield World(migrated, connections, Attempts(connections, 2.0, settling.settle_on, settling.settle_on_sync))
    await connections.close()
