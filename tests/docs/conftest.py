"""A folder, a loop and a clean registry for each page."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from provisions import open_folder
from snippets import Page, page_environment

from jobs_exec.registry import isolated


@pytest.fixture
def folder() -> Iterator[Path]:
    """A page's folder."""
    with open_folder() as made:
        yield made


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
