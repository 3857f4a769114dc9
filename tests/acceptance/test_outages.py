"""Outages: killed, frozen and lonely executors, servers that restart or run full; every job ends once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

import pytest
from databases import TEMPLATE, VERSIONS, Database, Server, fresh_database, make_template, running_server, server_folder
from disks import database_on_a_small_disk
from processes import Commands, Running, commands
from working import Work

from jobs_exec import JobContext, job_type
from jobs_exec.client import Client
from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable

HANDLERS = """
    import asyncio
    import os
    from pathlib import Path

    from jobs_exec import job

    async def until_released():
        Path("started").touch()
        while not Path("release").exists():
            await asyncio.sleep(0.01)

    @job("effect", backoff=lambda attempt: 0.0)
    async def effect(ctx, data):
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (os.environ["PROBE_NAME"],))
        await until_released()

    @job("plain", backoff=lambda attempt: 0.0)
    async def plain(ctx, data):
        await until_released()
"""


@dataclass(frozen=True, slots=True)
class Home:
    """Where one executor process lives: what it starts and waits for are files in there."""

    commands: Commands
    settings: dict[str, str]

    def run(self) -> Any:
        return self.commands.running("run", **self.settings)

    def started(self) -> bool:
        return (self.commands.folder / "started").exists()

    def release(self) -> None:
        (self.commands.folder / "release").touch()


@dataclass(frozen=True, slots=True)
class World:
    """A database with one job in it, and homes for executors."""

    folder: Path
    work: Work

    def home(self, name: str) -> Home:
        own = self.folder / name
        own.mkdir()
        made = commands(own)
        (own / "app_jobs.py").write_text(dedent(HANDLERS))
        settings = {
            "JOB_QUEUE_BACKEND": "table",
            "JOB_PLUGINS_ALLOW": "table",
            "JOB_DATABASE_URL": self.work.database.url,
            "JOB_LEASE_SECONDS": "2",
            "JOB_POLL_INTERVAL_MS": "50",
            "PROBE_NAME": name,
        }
        return Home(made, settings)

    def enqueue(self, type_name: str) -> UUID:
        return asyncio.run(self.work.enqueue("acme", type_name, allow_unregistered=True)).id

    def status(self, job_id: UUID) -> str:
        return self.work.ends()[job_id][0]

    def effects(self) -> list[str]:
        return [str(name) for (name,) in self.work.database.execute("select name from effects")]

    def ended_by(self) -> list[tuple[object, ...]]:
        """Who ended each job, and with how many attempts."""
        return self.work.database.execute("select executor, attempts from jobs.job_runs")

    def executor_of(self, job_id: UUID) -> object:
        return self.work.database.execute("select executor from jobs.jobs_queue where id = %s", job_id)[0][0]


@pytest.fixture
def world(tmp_path: Path, migrated: Database) -> World:
    migrated.execute("create table effects (name text)")
    return World(tmp_path, Work(migrated, ()))


def stop(executor: Running) -> None:
    executor.signal(signal.SIGTERM, "draining")
    assert executor.wait() == 0
    assert "Traceback" not in executor.said()


def test_a_job_of_a_killed_executor_runs_again_as_a_suspect_and_takes_effect_once(world: World) -> None:
    job_id, home, other = world.enqueue("effect"), world.home("first"), world.home("second")
    with home.run() as first:
        first.until(home.started, "the handler")
        first.process.send_signal(signal.SIGKILL)
        first.wait()
    assert (world.effects(), world.status(job_id)) == ([], "running")
    with other.run() as second:
        second.until(other.started, "the second run")
        rows = world.work.database.execute("select suspect, attempts from jobs.jobs_queue")
        assert rows == [(True, 1)], "the attempt that was lost is returned"
        other.release()
        second.until(lambda: world.status(job_id) == "succeeded", "the end")
        stop(second)
    assert world.effects() == ["second"]
    assert len(world.work.ends()) == 1


@pytest.mark.parametrize(("type_name", "ended"), [("effect", False), ("plain", True)])
def test_a_frozen_executor_that_wakes_up_ends_nothing_that_is_another_s(
    world: World, type_name: str, ended: bool
) -> None:
    """It wakes while the other one is at it, or when the other one has ended the job."""
    job_id, home, other = world.enqueue(type_name), world.home("first"), world.home("second")
    with home.run() as first:
        first.until(home.started, "the handler")
        first.process.send_signal(signal.SIGSTOP)
        home.release()
        with other.run() as second:
            second.until(other.started, "the second run")
            owner = world.executor_of(job_id)
            if ended:
                other.release()
                second.until(lambda: world.status(job_id) == "succeeded", "the end")
            first.process.send_signal(signal.SIGCONT)
            first.until(lambda: "taken for gone" in first.said(), "the news that it was lost")
            assert world.status(job_id) == ("succeeded" if ended else "running")
            other.release()
            second.until(lambda: world.status(job_id) == "succeeded", "the end")
            stop(second)
        stop(first)
    assert world.effects() == (["second"] if type_name == "effect" else [])
    assert world.ended_by() == [(owner, 1)]


# --- servers ----------------------------------------------------------------------------------------------


@pytest.fixture(params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the test may end."""
    with server_folder() as folder, running_server(request.param, folder / "postgres", fsync="on") as server:
        yield server


async def test_an_executor_outlives_a_crash_of_the_server_and_ends_every_job_once(own_server: Server) -> None:
    make_template(own_server)
    runs = 0

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (data["n"],))

    policy = Policy(poll_interval=0.05, lease=2.0)
    settings = {"queues": "default:10"}
    with fresh_database(own_server, TEMPLATE) as database:
        database.execute("create table effects (n int)")
        work = Work(database, (job_type("work", handler, backoff=lambda attempt: 0.05, max_attempts=20),), policy)
        work.settings = settings
        ids = await work.enqueue_each("acme", "work", 150)
        database.execute("checkpoint")
        async with work.at_work() as working:
            await working.until(lambda: working.progress.succeeded >= 30)
            await asyncio.to_thread(own_server.cluster.stop, "immediate")
            await asyncio.to_thread(own_server.cluster.start)
            await working.until(lambda: all(end[0] == "succeeded" for end in work.ends().values()))
        assert working.report is not None
        assert working.report.exit_code == 0
        rows = database.execute("select count(*), count(distinct n) from effects")
        assert rows == [(len(ids), len(ids))]
        assert len(work.ends()) == len(ids)
        assert runs >= len(ids)


async def test_an_executor_goes_on_when_a_full_disk_has_room_again(
    postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> str:
        if data.get("n", 0) >= 10:
            await let_go.wait()
        return os.urandom(8000).hex()

    made = job_type("work", handler, max_attempts=1)
    with database_on_a_small_disk(postgres) as (database, disk):
        work = Work(database, (made,), Policy(poll_interval=0.05, lease=2.0), settings={"queues": "default:20"})
        ids = await work.enqueue_each("acme", "work", 60)
        async with work.at_work() as working:
            await working.until(lambda: working.progress.succeeded == 10)
            disk.fill()
            let_go.set()
            await working.until(lambda: "the disk of the database server is full" in caplog.text)
            accepted = await enqueued_until_refused(work)
            disk.make_room()
            await working.until(lambda: all(end[0] == "succeeded" for end in work.ends().values()))
        ends = work.ends()
    assert set(ends) == {*ids, *accepted}, "what was refused left nothing, what was accepted is there"
    assert set(ends.values()) == {("succeeded", None, 1)}


async def enqueued_until_refused(work: Work) -> list[UUID]:
    accepted: list[UUID] = []
    async with Client.open(host=work.host()) as client:
        while len(accepted) < 500:
            data = {"text": os.urandom(50_000).hex()}
            try:
                accepted.append((await client.enqueue(org_id="acme", type="work", data=data)).id)
            except BackendUnavailable as error:
                assert "the disk of the database server is full" in str(error)  # noqa: PT017
                return accepted
    raise AssertionError("the disk was never full")


async def test_an_executor_that_finds_the_disk_full_at_its_start_says_so_and_ends(postgres: Server) -> None:
    with database_on_a_small_disk(postgres) as (database, disk):
        work = Work(database, ())
        disk.fill()
        with pytest.raises(BackendUnavailable, match="the disk of the database server is full; free space on it"):
            await work.drained()
