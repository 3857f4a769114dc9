"""The command in a process of its own, with a backend that has jobs from the start and handlers beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from distributions import Site

SCRIPT = Path(sys.executable).with_name("jobs-exec")
PATIENCE = 30.0

BACKEND = """
    import os

    from jobs_exec.contracts import hookimpl
    from jobs_exec.envelope import Envelope
    from jobs_exec.memory import MemoryBackend
    from jobs_exec.preparing import prepare

    @hookimpl
    def queue_backend(host):
        backend = MemoryBackend(host.policy)
        for number in range(int(os.environ.get("PROBE_JOBS", "0"))):
            envelope = Envelope("acme", os.environ["PROBE_TYPE"], {"number": number}, max_attempts=1)
            job = prepare(envelope, {}, {}, host.policy, allow_unregistered=True)
            backend.tables.insert(job, backend.tables.now())
        return backend
"""

HANDLERS = """
    import asyncio
    import time
    from pathlib import Path

    from jobs_exec import job

    @job("quick")
    async def quick(ctx, data):
        return data

    @job("failing")
    async def failing(ctx, data):
        raise ValueError("no")

    @job("slow")
    async def slow(ctx, data):
        Path("started").touch()
        while not Path("release").exists():
            await asyncio.sleep(0.01)

    @job("deaf")
    async def deaf(ctx, data):
        Path("started").touch()
        while True:
            time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A process under way; what it said so far is in files."""

    process: subprocess.Popen[bytes]
    folder: Path

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def printed(self) -> str:
        return (self.folder / "stdout").read_text()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for `condition`; fails when it does not come, or when the process ends before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"ended before {what}: {self.said()}"
            assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE} s: {self.said()}"
            time.sleep(0.01)

    def signal(self, number: int, answer: str) -> None:
        """Sends a signal and waits until `answer` was said."""
        self.process.send_signal(number)
        self.until(lambda: answer in self.said(), f"{answer!r} on stderr")

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@dataclass(frozen=True, slots=True)
class Commands:
    """Starts `jobs-exec` in `folder`, where the module `app_jobs` and the backend `probe` are."""

    folder: Path

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "PYTHONWARNINGS": "error",
            "PYTHONPATH": str(self.folder / "site"),
            "JOB_QUEUE_BACKEND": "probe",
            "JOB_PLUGINS_ALLOW": "probe",
            "JOB_MODULES": "app_jobs",
            **settings,
        }

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[Running]:
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [SCRIPT, *arguments], cwd=self.folder, env=self.environment(**settings), stdout=out, stderr=err
            )
        try:
            yield Running(process, self.folder)
        finally:
            process.kill()
            process.wait()

    def call(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def on_terminal(self, *arguments: str, typed: str, **settings: str) -> tuple[int, str]:
        """Exit code and everything shown, on a terminal where `typed` is answered to what is asked."""
        ours, theirs = os.openpty()
        with os.fdopen(ours, "r+b", buffering=0) as terminal:
            process = subprocess.Popen(
                [SCRIPT, *arguments],
                cwd=self.folder,
                env=self.environment(**settings),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
            os.close(theirs)
            terminal.write(typed.encode())
            shown = b"".join(iter(lambda: _read(terminal.fileno()), b""))
            return process.wait(PATIENCE), shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def commands(folder: Path) -> Commands:
    """Prepares `folder`."""
    site = folder / "site"
    site.mkdir()
    Site(site).install("probe", entry_points={"backends:probe": "probe"}, module=BACKEND)
    (folder / "app_jobs.py").write_text(dedent(HANDLERS))
    return Commands(folder)
