"""Fixtures of the table backend's tests, over those of all tests with a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from attempting import World
from databases import Database
from poolers import Pooled, pgbouncer

from jobs_exec.contracts import Policy
from jobs_exec_table.attempts import Attempts
from jobs_exec_table.connections import Connections
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.settling import Settling


@pytest.fixture
def pooled(migrated: Database) -> Iterator[Pooled]:
    """A database with the schema in it behind PgBouncer in transaction mode."""
    with pgbouncer(migrated) as made:
        yield made


@pytest.fixture
async def world(migrated: Database) -> AsyncIterator[World]:
    """Attempts over a database with a table of the application in it."""
    migrated.execute("create table effects (note text, parent int)")
    connections = Connections(TableSettings(JOB_DATABASE_URL=migrated.url, attempt_pool_size=2))
    await connections.open()
    settling = Settling(connections, Policy())
    yield World(migrated, connections, Attempts(connections, 2.0, settling.settle_on, settling.settle_on_sync))
    await connections.close()
