"""The application of the recipes, one for all tests of a module and server version; each finds it as it was installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import TEMPLATE, Server, fresh_database
from recipes import Setup, prepare


@pytest.fixture(scope="module")
def installed(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with fresh_database(postgres, TEMPLATE) as database:
        yield prepare(tmp_path_factory.mktemp("recipes"), database)


@pytest.fixture
def setup(installed: Setup) -> Iterator[Setup]:
    """Without jobs, runs and reports; those of the test are forgotten after it."""
    yield installed
    installed.forget()
