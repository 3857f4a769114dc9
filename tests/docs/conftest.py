"""A folder, a loop and a clean registry for each page."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from snippets import Page, page_environment

from jobs_exec.registry import isolated


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Where a page is executed; its modules and job types are forgotten afterwards."""
    environment = page_environment(tmp_path)
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    with isolated(), asyncio.Runner() as runner:
        yield Page(tmp_path, runner, environment)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
