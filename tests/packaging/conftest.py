"""Distributions as users get them: built once, installed once, both away from the source tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from environments import Environment
from workspace import ROOT, members


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of every member, and the wheel that was built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for member in members():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(member.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of its own with all wheels, installed by plain pip with one command."""
    environment = Environment.create(tmp_path_factory.mktemp("installed") / "venv")
    environment.pip("install", "-c", str(ROOT / "requirements.lock"), *map(str, sorted(dist.glob("*.whl"))))
    return environment
