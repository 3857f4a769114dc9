"""The crontab of the recipes, run as cron runs it."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from crontabs import Crontab, Entry, read_crontab
from recipes import PROGRAMS, TYPE, Setup, shown

from jobs_exec.envelope import time_of_tick
from jobs_exec.scheduling.fields import parse_cron


@pytest.fixture
def crontab(setup: Setup) -> Crontab:
    """The page's crontab, for an application in the test's folder with its settings in ``.env``."""
    programs = setup.folder / ".venv/bin"
    if not programs.exists():
        programs.mkdir(parents=True)
        (programs / "jobs-exec").symlink_to(PROGRAMS / "jobs-exec")
    settings = [f"{name}={value}\n" for name, value in setup.environment().items() if name.startswith("JOB_")]
    (setup.folder / ".env").write_text("".join(settings))
    return read_crontab(shown("crontab").replace("/srv/app", str(setup.folder)))


def run(setup: Setup, crontab: Crontab, entry: Entry) -> str:
    """Runs one line as cron does, with next to no environment but the crontab's own; returns what it printed."""
    environment = {"HOME": str(setup.folder), "LOGNAME": "app", **crontab.settings}
    done = setup.call([environment["SHELL"], "-c", entry.command], environment, entry.stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def this_hour() -> datetime:
    return datetime.now().astimezone().replace(minute=0, second=0, microsecond=0)


def test_cron_takes_an_unescaped_percent_sign_for_the_end_of_the_command() -> None:
    line = r"0 3 * * * date +\%H; cat %first%second 100\%"
    assert read_crontab(line).entries == (Entry("0 3 * * *", "date +%H; cat ", "first\nsecond 100%"),)


def test_every_percent_sign_of_the_recipe_reaches_the_shell(crontab: Crontab) -> None:
    assert [entry.stdin for entry in crontab.entries] == ["", ""]
    assert "+%Y-%m-%dT%H:00:00%z" in crontab.entries[0].command


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"])
def test_all_calls_of_a_night_have_one_tick_in_every_zone(setup: Setup, crontab: Crontab, zone: str) -> None:
    trigger, _ = crontab.entries
    minutes, hour, *_ = trigger.schedule.split()
    (shown_date,) = re.findall(r"\$\(date (.*)\)", trigger.command)
    ticks = set()
    for minute in minutes.split(","):
        command = f"date --date '2026-11-25 {hour}:{minute}' {shown_date}"
        done = setup.call(["/bin/sh", "-c", command], {"TZ": zone, "PATH": "/usr/bin:/bin"})
        ticks.add(time_of_tick(done.stdout.strip()))
    assert ticks == {datetime(2026, 11, 25, int(hour), tzinfo=ZoneInfo(zone))}


def test_its_lines_have_expressions_that_are_valid(crontab: Crontab) -> None:
    for entry in crontab.entries:
        parse_cron(entry.schedule)


def test_all_calls_of_an_hour_run_the_handler_once(setup: Setup, crontab: Crontab) -> None:
    trigger, _ = crontab.entries
    before = this_hour()
    run(setup, crontab, trigger)
    run(setup, crontab, trigger)
    assert setup.reports() == ["acme"] or this_hour() != before
    assert setup.runs()[0] == ("acme", TYPE, "succeeded")


def test_its_other_line_runs_what_is_due(setup: Setup, crontab: Crontab) -> None:
    queued = setup.call([PROGRAMS / "jobs-exec", "enqueue", TYPE, "--org", "globex"])
    assert queued.returncode == 0, queued.stderr
    _, drain = crontab.entries
    run(setup, crontab, drain)
    assert setup.reports() == ["globex"]
