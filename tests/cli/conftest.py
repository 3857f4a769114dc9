from __future__ import annotations

from pathlib import Path

import pytest
from command import Shell

from jobs_exec import host


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    made = Shell()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "build_host", made.build_host)
    return made
