"""Many executors on one database and the logical clock: schedules fire for twenty minutes of business time.

Every process sees the same clock, because the test replaces `jobs.clock()` in the database. The test moves it, kills
executors and restarts the server; what should have been fired is computed here, by arithmetic of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
from databases import Database
from processes import SCRIPT

from jobs_exec.contracts import Policy
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings

PATIENCE = 90.0
ORGS = 500

JOBS = """
    import json
    from pathlib import Path

    from jobs_exec import job, register_schedule

    @job("note", identity="none")
    async def note(ctx, data):
        async with ctx.transaction() as connection:
            await connection.execute(
                "insert into notes (schedule, org, tick) values (%s, %s, %s)",
                (data["schedule"], ctx.org_id, data["tick"]),
            )

    @job("doomed", identity="none", max_attempts=1)
    async def doomed(ctx, data):
        raise ValueError("always")

    for each in json.loads(Path("code.json").read_text()):
        register_schedule(each.pop("name"), each.pop("type"), **each)
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule of the campaign: a tick every `period` seconds of the clock, for `orgs`."""

    name: str
    type: str
    period: int
    catch_up: str
    orgs: tuple[str, ...]
    by_cron: bool

    def options(self) -> dict[str, Any]:
        timing = {"cron": f"*/{self.period // 60} * * * *"} if self.by_cron else {"every": self.period}
        return {
            "name": self.name,
            "type": self.type,
            "orgs": list(self.orgs),
            "data": {"schedule": self.name},
            "tick_as": "tick",
            "catch_up": self.catch_up,
            **timing,
        }

    def ticks(self, after: float, until: float) -> list[int]:
        """Unix seconds of the ticks in (after, until]."""
        first = (int(after) // self.period + 1) * self.period
        return list(range(first, int(until) + 1, self.period))


def planned(count: int, chance: random.Random, orgs_each: int) -> list[Planned]:
    """Schedules of every kind, most of which must not lose a tick."""
    made = []
    for number in range(count):
        by_cron = number % 2 == 0
        period = chance.choice([60, 120, 300] if by_cron else [30, 45, 60, 90, 240])
        kind = "doomed" if number % 20 == 7 else "note"
        catch_up = "none" if number % 10 == 3 else "last" if number % 10 == 4 else "all:100"
        orgs = tuple(f"org-{each:03}" for each in sorted(chance.sample(range(ORGS), orgs_each)))
        made.append(Planned(f"s{number:03}", kind, period, catch_up, orgs, by_cron))
    return made


@dataclass(slots=True)
class Campaign:
    """The database, its clock, and the executors of now."""

    folder: Path
    database: Database
    chance: random.Random
    harness: TableHarness = field(init=False)
    executors: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: int = 0
    _logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=self.database.url))
        self.harness = TableHarness(backend, self.database.url)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "JOB_QUEUE_BACKEND": "table",
            "JOB_PLUGINS_ALLOW": "table",
            "JOB_DATABASE_URL": self.database.url,
            "JOB_MODULES": "campaign_jobs",
            "JOB_LEASE_SECONDS": "3",
            "JOB_POLL_INTERVAL_MS": "100",
            "JOB_TABLE_POOL_SIZE": "2",
            "JOB_TABLE_ATTEMPT_POOL_SIZE": "4",
            "PYTHONPATH": str(self.folder),
            "PYTHONWARNINGS": "error",
        }

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [SCRIPT, *arguments], cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_executor(self) -> None:
        log = self.folder / f"executor-{len(self._logs)}.log"
        self._logs.append(log)
        with log.open("wb") as stderr:
            self.executors.append(
                subprocess.Popen([SCRIPT, "run"], cwd=self.folder, env=self.environment(), stderr=stderr)
            )

    def kill_one(self) -> None:
        """Without a word, and another one comes."""
        victim = self.executors.pop(self.chance.randrange(len(self.executors)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.killed += 1
        self.start_executor()

    def clock(self) -> float:
        ((now,),) = self.database.execute("select extract(epoch from jobs.clock())")
        return float(str(now))

    def move(self, seconds: float) -> None:
        asyncio.run(self.harness.advance(seconds))

    def until_joined(self, count: int) -> None:
        """So many executors have a live lease."""
        live = "select count(*) from jobs.job_executors where lease_until > clock_timestamp()"
        self.until(lambda: self.database.execute(live) == [(count,)], "the last executor")

    def until_fired(self) -> None:
        """No tick is due any more."""
        overdue = "select count(*) from jobs.job_schedules where next_tick <= jobs.clock()"
        self.until(lambda: self.database.execute(overdue) == [(0,)], "the last due tick")

    def until_done(self) -> None:
        """No job is left in the queue."""
        self.until(lambda: self.database.execute("select count(*) from jobs.jobs_queue") == [(0,)], "the last job")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not _holds(condition):
            assert time.monotonic() < deadline, f"{what} did not come; {self.said()[-3000:]}"
            time.sleep(0.05)

    def said(self) -> str:
        return "".join(log.read_text() for log in self._logs)

    def stop(self) -> None:
        for each in self.executors:
            each.terminate()
        for each in self.executors:
            assert each.wait(60) == 0


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except psycopg.OperationalError:  # the server is being restarted
        return False


@contextmanager
def campaign(folder: Path, database: Database, code: list[Planned], seed: int) -> Iterator[Campaign]:
    """Prepares the tables and the module with the schedules `code`."""
    database.execute("create table notes (schedule text, org text, tick timestamptz)")
    (folder / "campaign_jobs.py").write_text(dedent(JOBS))
    (folder / "code.json").write_text(json.dumps([each.options() for each in code]))
    made = Campaign(folder, database, random.Random(seed))
    try:
        yield made
    finally:
        for each in made.executors:
            each.kill()
            each.wait()


def seed_of_now() -> int:
    """The seed to reproduce a run with, from the environment or anew."""
    return int(os.environ.get("JOBS_EXEC_SEED") or random.SystemRandom().randrange(1 << 32))
