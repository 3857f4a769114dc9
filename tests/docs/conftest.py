"""A folder, a loop and a clean registry for each page."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from snippets import Page, page_environment

from jobs_exec.registry import isolated


@pytest.fixture
def folder() -> Iterator[Path]:
    """A page's folder. Not pytest's own, which is closed to others: the embedded server of root runs as another
    user, and that its way had to be opened would be told in the page's output."""
    with tempfile.TemporaryDirectory(prefix="jobs-exec-page-") as made:
        path = Path(made).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Where a page is executed; its modules and job types are forgotten afterwards."""
    environment = page_environment(folder)
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    with isolated(), asyncio.Runner() as runner:
        yield Page(folder, runner, environment)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
