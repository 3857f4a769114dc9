"""The public surface as a type checker sees it from outside."""

from __future__ import annotations

import subprocess
import sys

from workspace import ROOT


def test_the_typed_examples_hold_under_strict_mypy() -> None:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "tests/typing/examples.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
