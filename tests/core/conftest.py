"""Distributions that exist for one test, in a process that forgets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions import PROBE_BACKEND, Site

from jobs_exec.registry import isolated


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(folder)
    with isolated():
        made = Site(folder)
        made.install("probe-backend", entry_points={"backends:probe": "probe_backend"}, module=PROBE_BACKEND)
        yield made
    for name in set(sys.modules) - before:
        del sys.modules[name]
