"""The liveness file, in this process: what the disk does to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from executing import come_true

from jobs_exec.cli import liveness as liveness_module
from jobs_exec.cli.liveness import liveness


async def test_a_file_that_could_not_be_touched_for_a_while_is_fresh_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(liveness_module, "TOUCH_SECONDS", 0.001)
    folder, away = tmp_path / "run", tmp_path / "away"
    folder.mkdir()
    file = folder / "alive"
    async with asyncio.timeout(10), liveness(str(file)):
        folder.rename(away)
        await come_true(lambda: "no sign of life" in caplog.text)
        (away / "alive").unlink()
        away.rename(folder)
        await come_true(file.exists)
        assert caplog.text.count("no sign of life") == 1
    assert not file.exists()
