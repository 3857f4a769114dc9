"""Processes that trigger one piece of work many times at once, as scheduled functions would that were started twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from databases import Database

PATIENCE = 60.0
LEASE = 3.0

JOBS = """
    import asyncio
    import os
    from pathlib import Path

    import psycopg
    from jobs_exec import job

    @job("effect", max_attempts=3, backoff=lambda attempt: 0.0)
    async def effect(ctx, data):
        url = os.environ["JOB_DATABASE_URL"]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as own:
            await own.execute("insert into begun (pid) values (%s)", (os.getpid(),))
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (os.getpid(),))
        while not Path("release").exists():
            await asyncio.sleep(0.01)
        return os.getpid()
"""

CALLER = """
    import asyncio
    import json
    import sys

    from jobs_exec_cron import trigger

    async def call():
        answer = await trigger({"orgId": "acme", "type": "effect", "data": {}, "tick": sys.argv[2]})
        print(json.dumps(answer.to_json()), flush=True)

    async def main():
        await asyncio.gather(*[call() for _ in range(int(sys.argv[1]))])

    asyncio.run(main())
"""

TABLES = """
    create table begun (pid int, at timestamptz default clock_timestamp());
    create table effects (pid int);
"""


@dataclass(slots=True)
class Caller:
    """One process that calls several times at once."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def answers(self) -> list[dict[str, Any]]:
        """Those that have come so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]


@dataclass(slots=True)
class Crowd:
    """Callers of one piece of work on one database."""

    folder: Path
    database: Database
    callers: list[Caller] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "JOB_QUEUE_BACKEND": "cron",
            "JOB_PLUGINS_ALLOW": "cron,table",
            "JOB_DATABASE_URL": self.database.url,
            "JOB_MODULES": "crowd_jobs",
            "JOB_LEASE_SECONDS": str(LEASE),
            "JOB_TABLE_POOL_SIZE": "1",
            "PYTHONPATH": str(self.folder),
            "PYTHONWARNINGS": "error",
            **more,
        }

    def call(self, times: int, tick: str = "2026-11-25T13:00:00Z") -> Caller:
        """Starts a process that calls `times` times at once."""
        out, err = (self.folder / f"{len(self.callers)}.{kind}" for kind in ("out", "err"))
        arguments = [sys.executable, "caller.py", str(times), tick]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(arguments, cwd=self.folder, env=self.environment(), stdout=stdout, stderr=stderr)
        self.callers.append(Caller(process, out, err))
        return self.callers[-1]

    def answers(self) -> list[dict[str, Any]]:
        return [answer for caller in self.callers for answer in caller.answers()]

    def outcomes(self) -> Counter[str]:
        return Counter(answer["outcome"] for answer in self.answers())

    def begun(self) -> list[int]:
        """Processes whose handler was called, in order."""
        return [int(str(pid)) for (pid,) in self.database.execute("select pid from begun order by at")]

    def release(self) -> None:
        (self.folder / "release").touch()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come: {self.outcomes()}, {self.said()}"
            time.sleep(0.02)

    def until_ended(self) -> None:
        for caller in self.callers:
            caller.process.wait(PATIENCE)

    def said(self) -> str:
        return "".join(caller.err.read_text() for caller in self.callers)


@contextmanager
def crowd(folder: Path, database: Database) -> Iterator[Crowd]:
    """Prepares `folder` and the tables; ends every process at the end."""
    for statement in TABLES.split(";")[:-1]:
        database.execute(statement)
    (folder / "crowd_jobs.py").write_text(dedent(JOBS))
    (folder / "caller.py").write_text(dedent(CALLER))
    made = Crowd(folder, database)
    try:
        yield made
    finally:
        for caller in made.callers:
            caller.process.kill()
            caller.process.wait()
