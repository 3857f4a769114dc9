"""Real PostgreSQL servers, one a version and session; every test that uses one runs on PostgreSQL 18 and on 15."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import TEMPLATE, VERSIONS, Database, Server, fresh_database, make_template, running_server, server_folder


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
