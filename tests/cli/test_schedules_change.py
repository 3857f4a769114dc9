"""`schedules remove`, `pause`, `resume` and `run`: what an operator or a clock outside does to one schedule."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command import Shell
from processes import commands

from jobs_exec import schedule
from jobs_exec.book import firing
from jobs_exec.contracts import (
    Due,
    Fired,
    FireOutcome,
    Firing,
    OrgStatus,
    Schedule,
    ScheduleRecord,
    tick_key,
    tick_text,
)
from jobs_exec.identity import Identity, run_hash


class Orgs:
    """A directory of so many orgs, or one that cannot say."""

    def __init__(self, count: int | None) -> None:
        self.count = count

    async def check(self, org_ids: Any) -> Mapping[str, OrgStatus]:
        return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

    async def active(self) -> AsyncIterator[str]:
        if self.count is None:
            raise ConnectionError("secret host is away")
        for number in range(self.count):
            yield f"org-{number}"


def add(shell: Shell, name: str = "hourly", *options: str) -> Any:
    timing = () if "--cron" in options else ("--every", "1h")
    whom = () if {"--all-orgs", "--tenant"} & set(options) else ("--org", "acme")
    return shell.json("schedules", "add", name, "--type", "work", *timing, *whom, *options)[0]


def carried(shell: Shell, made: Schedule) -> None:
    """Puts a schedule of code into the book, as an executor does."""

    async def sync() -> None:
        book = shell.backend.schedules
        await book.sync([ScheduleRecord(made, "{}", await book.now() + timedelta(hours=1))])

    asyncio.run(sync())


def listed(shell: Shell, name: str = "hourly") -> Any:
    return shell.json("schedules", "list", "--name", name)[0]


def due(shell: Shell) -> Due:
    return asyncio.run(shell.backend.schedules.due())


def ahead(shell: Shell, **duration: float) -> None:
    shell.backend.tables.offset += timedelta(**duration)


def hour(shell: Shell, offset: int = 0) -> datetime:
    """The last full hour by the book's clock."""
    return shell.backend.tables.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=offset)


# --- remove ----------------------------------------------------------------------------------------------


def test_a_schedule_is_removed_with_a_yes(shell: Shell) -> None:
    add(shell)
    refused = shell("schedules", "remove", "hourly")
    assert (refused.exit_code, "Remove schedule hourly?" in refused.stderr) == (2, True)
    assert shell("schedules", "remove", "hourly", "--yes").stdout == "removed hourly\n"
    assert shell("schedules", "remove", "hourly", "--yes").exit_code == 7


def test_a_dry_removal_removes_nothing(shell: Shell) -> None:
    add(shell)
    assert shell("schedules", "remove", "hourly", "--dry-run").stdout == "would remove hourly\n"
    assert shell.json("schedules", "remove", "hourly", "--dry-run")["removed"] is False
    assert listed(shell)["state"] == "active"


def test_one_defined_in_code_comes_back_and_the_command_says_so(shell: Shell) -> None:
    carried(shell, _of_code("reports"))
    result = shell("schedules", "remove", "reports", "--yes")
    assert result.exit_code == 0
    assert "reports is defined in the code of shop and comes back with its next executor" in result.stderr
    assert "jobs-exec schedules pause reports" in result.stderr


# --- pause, resume ---------------------------------------------------------------------------------------


def test_a_paused_schedule_is_not_due_until_it_is_resumed(shell: Shell) -> None:
    add(shell)
    assert shell("schedules", "pause", "hourly").stdout == "hourly is paused\n"
    ahead(shell, hours=2)
    assert due(shell).schedules == ()
    assert shell.json("schedules", "resume", "hourly")["state"] == "active"
    assert [view.schedule.name for view in due(shell).schedules] == ["hourly"]


def test_one_that_catches_up_goes_on_where_it_was_stopped(shell: Shell) -> None:
    before = add(shell)["next_tick"]
    shell("schedules", "pause", "hourly")
    ahead(shell, hours=5)
    assert shell("schedules", "resume", "hourly").stdout == f"hourly is active, next tick {before}\n"


@pytest.mark.parametrize(("options", "flags"), [(("--catch-up", "none"), ()), ((), ("--from-now",))])
def test_one_that_does_not_catch_up_goes_on_at_the_next_tick(
    shell: Shell, options: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    add(shell, "hourly", *options)
    shell("schedules", "pause", "hourly")
    ahead(shell, hours=5)
    assert shell.json("schedules", "resume", "hourly", *flags)["next_tick"] == tick_text(hour(shell, 1))


def test_resuming_what_is_not_paused_changes_nothing(shell: Shell) -> None:
    before = add(shell)
    ahead(shell, hours=5)
    assert shell.json("schedules", "resume", "hourly", "--from-now")["next_tick"] == before["next_tick"]


def test_one_that_nobody_carries_stays_orphaned_when_it_is_resumed(shell: Shell) -> None:
    carried(shell, _of_code("reports"))
    shell("schedules", "pause", "reports")
    result = shell("schedules", "resume", "reports")
    assert (result.stdout, "no live executor carries it" in result.stderr) == ("reports of shop is orphaned\n", True)


# --- run -------------------------------------------------------------------------------------------------


def test_a_tick_makes_the_job_of_each_org_once(shell: Shell) -> None:
    added = add(shell, "hourly", "--org", "emca", "--tick-as", "at")
    tick = hour(shell)
    fired = shell.json("schedules", "run", "hourly", "--tick", tick_text(tick))
    assert fired == {
        "schedule": "hourly",
        "tick": tick_text(tick),
        "fired": True,
        "created": 2,
        "skipped": 0,
        "duplicates": 0,
        "orgs": 2,
    }
    jobs = shell.json("list")
    assert {(job["org_id"], job["type"], job["status"]) for job in jobs} == {
        ("acme", "work", "ready"),
        ("emca", "work", "ready"),
    }
    (acme,) = (row for row in shell.backend.tables.queue.values() if row.job.org_id == "acme")
    key = tick_key(added["id"], tick)
    assert acme.job.run_hash == run_hash("acme", "work", Identity.KEY, key.encode())
    assert acme.job.payload == f'{{"at":"{tick_text(tick)}"}}'


def test_a_tick_that_was_fired_before_is_no_error_and_makes_nothing(shell: Shell) -> None:
    add(shell)
    arguments = ("schedules", "run", "hourly", "--tick", f"@{hour(shell).timestamp():.0f}")
    assert shell(*arguments).stdout.endswith("1 created\n")
    again = shell(*arguments)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "nothing to do" in again.stderr
    assert shell.json(*arguments)["fired"] is False
    assert len(shell.json("list")) == 1


def test_what_an_executor_has_fired_is_not_fired_again(shell: Shell) -> None:
    add(shell)
    ahead(shell, hours=1)
    (view,) = due(shell).schedules
    assert view.next_tick is not None
    firing = Firing(view.id, (view.next_tick,), ("acme",), view.next_tick, view.next_tick + timedelta(hours=1))
    assert asyncio.run(shell.backend.schedules.fire(firing)).created == 1
    assert shell.json("schedules", "run", "hourly", "--tick", tick_text(view.next_tick))["fired"] is False
    assert len(shell.json("list")) == 1


def test_now_is_this_minute_and_without_a_tick_it_is_this_second(shell: Shell) -> None:
    add(shell)
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    minute = datetime.fromisoformat(shell.json("schedules", "run", "hourly", "--tick", "now")["tick"])
    assert minute.second == 0
    assert before <= minute <= datetime.now(UTC)
    second = datetime.fromisoformat(shell.json("schedules", "run", "hourly")["tick"])
    assert minute <= second <= datetime.now(UTC)


def test_all_orgs_are_those_of_the_directory_now(shell: Shell) -> None:
    add(shell, "all", "--all-orgs")
    shell.directory = Orgs(3)
    assert shell.json("schedules", "run", "all")["created"] == 3
    assert "for 3 org(s)" in shell("schedules", "run", "all", "--dry-run").stdout


def test_without_a_directory_or_its_answer_nothing_is_fired(shell: Shell) -> None:
    add(shell, "all", "--all-orgs")
    missing = shell("schedules", "run", "all")
    assert (missing.exit_code, "JOB_ORG_TABLE" in missing.stderr) == (2, True)
    shell.directory = Orgs(None)
    assert shell("schedules", "run", "all").exit_code == 3
    assert shell.json("list") == []


def test_a_paused_schedule_is_refused(shell: Shell) -> None:
    add(shell)
    shell("schedules", "pause", "hourly")
    result = shell("schedules", "run", "hourly")
    assert (result.exit_code, "`jobs-exec schedules resume hourly`" in result.stderr) == (6, True)


def test_one_that_is_disabled_or_orphaned_is_fired_by_whoever_is_its_clock(shell: Shell) -> None:
    add(shell, "idle", "--disabled")
    carried(shell, _of_code("reports"))
    assert shell.json("schedules", "run", "idle")["created"] == 1
    assert shell.json("schedules", "run", "reports")["created"] == 1


def test_a_dry_run_fires_nothing(shell: Shell) -> None:
    add(shell)
    assert "would fire hourly at " in shell("schedules", "run", "hourly", "--dry-run").stdout
    assert shell.json("list") == []
    assert listed(shell)["last_tick"] is None


def test_a_slow_clock_fires_the_tick_it_was_started_for(shell: Shell) -> None:
    add(shell)
    tick = hour(shell, -3)
    late = tick_text(tick + timedelta(minutes=2))
    assert shell.json("schedules", "run", "hourly", "--tick", late, "--late", "5m")["tick"] == tick_text(tick)


def test_a_clock_of_another_zone_is_refused(shell: Shell) -> None:
    add(shell, "daily", "--cron", "30 2 * * *", "--zone", "Asia/Kolkata")
    result = shell("schedules", "run", "daily", "--tick", "2026-06-01T02:30:00Z", "--late", "5m")
    assert (result.exit_code, "is no tick of daily" in result.stderr) == (6, True)
    right = shell.json("schedules", "run", "daily", "--tick", "2026-05-31T21:00:00Z", "--late", "5m")
    assert right["tick"] == "2026-05-31T21:00:00Z"


def test_a_tick_far_ahead_is_refused_since_those_before_it_would_never_fire(shell: Shell) -> None:
    add(shell)
    result = shell("schedules", "run", "hourly", "--tick", tick_text(hour(shell, 2)))
    assert (result.exit_code, "has not come" in result.stderr) == (6, True)


def test_a_clock_that_is_a_little_fast_is_waited_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    add(shell)
    tick = shell.backend.tables.now().replace(microsecond=0) + timedelta(seconds=3)
    waited: list[float] = []
    monkeypatch.setattr(firing.asyncio, "sleep", _sleeping(shell, waited))
    assert shell.json("schedules", "run", "hourly", "--tick", tick_text(tick))["fired"] is True
    assert 1 < sum(waited) <= 3


def test_a_schedule_that_somebody_is_firing_is_waited_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    add(shell)
    monkeypatch.setattr(firing.asyncio, "sleep", _sleeping(shell, []))
    book, fire = shell.backend.schedules, shell.backend.schedules.fire
    answers = [Fired(FireOutcome.BUSY), Fired(FireOutcome.BUSY)]

    async def busy_twice(asked: Firing) -> Fired:
        return answers.pop() if answers else await fire(asked)

    monkeypatch.setattr(book, "fire", busy_twice)
    assert shell.json("schedules", "run", "hourly")["created"] == 1

    async def busy(asked: Firing) -> Fired:
        return Fired(FireOutcome.BUSY)

    monkeypatch.setattr(book, "fire", busy)
    ahead(shell, seconds=1)
    result = shell("schedules", "run", "hourly")
    assert (result.exit_code, "somebody else is firing it" in result.stderr) == (3, True)


@pytest.mark.parametrize("tick", ["soon", "2026-01-01", "2026-01-01T00:00:00", "@x", "@1.5", "2026-01-01T00:00:00.5Z"])
def test_what_is_no_time_is_a_usage_error(shell: Shell, tick: str) -> None:
    add(shell)
    assert shell("schedules", "run", "hourly", "--tick", tick).exit_code == 2


def test_help_imports_neither_drivers_nor_the_reader_of_expressions(tmp_path: Any) -> None:
    code = (
        "import sys\nfrom jobs_exec.cli import main\n"
        "try:\n    main(['schedules', 'export', '--help'], prog_name='jobs-exec')\nexcept SystemExit:\n    pass\n"
        "sys.exit([n for n in ('psycopg', 'pydantic_settings', 'cronsim') if n in sys.modules] or 0)"
    )
    environment = commands(tmp_path).environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _of_code(name: str) -> Schedule:
    return replace(schedule(name, "work", every=3600, orgs="acme"), owner="shop")


def _sleeping(shell: Shell, waited: list[float]) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        ahead(shell, seconds=seconds)

    return sleep
