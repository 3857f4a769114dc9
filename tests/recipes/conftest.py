"""The application of the recipes on a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import Database
from recipes import Setup, prepare


@pytest.fixture
def setup(tmp_path: Path, migrated: Database) -> Setup:
    return prepare(tmp_path, migrated)
