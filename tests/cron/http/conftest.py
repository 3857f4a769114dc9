"""The endpoint under way, one for all tests of a module and server version: starting it takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import TEMPLATE, Database, Server, fresh_database
from serving import Served, serving


@pytest.fixture(scope="module")
def shared_database(postgres: Server) -> Iterator[Database]:
    """A database with the schema in it, for all tests of a module."""
    with fresh_database(postgres, TEMPLATE) as made:
        yield made


@pytest.fixture(scope="module")
def served(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running endpoint; a slow body has a second, which no test waits out but the one about it."""
    with serving(tmp_path_factory.mktemp("served"), shared_database, JOB_CRON_BODY_SECONDS="1") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an endpoint of the test's own works."""
    return tmp_path
