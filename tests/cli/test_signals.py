"""A signal may arrive anywhere, also while a log line is being written."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from typing import Any

import pytest

from jobs_exec.cli.signals import stopped_by_signals


class Executor:
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.drained = asyncio.Event()
        self.aborted = asyncio.Event()

    def drain(self) -> None:
        self.drained.set()

    def abort(self) -> None:
        self.aborted.set()


class Interrupting(io.RawIOBase):
    """A terminal whose user presses Ctrl-C while the first line is on its way."""

    def __init__(self, past_the_buffer: int) -> None:
        self.written = b""
        self._descriptor = past_the_buffer

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        first = not self.written
        self.written += bytes(data)
        if first:
            os.kill(os.getpid(), signal.SIGINT)
        return len(data)


async def test_a_signal_during_the_write_of_a_log_line_still_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    terminal = Interrupting(writing)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(terminal), write_through=True))
    executor = Executor()
    with stopped_by_signals(executor):
        sys.stderr.write("executor started\n")
        sys.stderr.flush()
        await asyncio.wait_for(executor.drained.wait(), 10)
    said = os.read(reading, 1000)
    os.close(writing)
    os.close(reading)
    assert said.startswith(b"draining: ")
    assert terminal.written == b"executor started\n"
    assert not executor.aborted.is_set()


async def test_the_second_signal_aborts() -> None:
    executor = Executor()
    with stopped_by_signals(executor):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(executor.aborted.wait(), 10)
    assert executor.drained.is_set()
