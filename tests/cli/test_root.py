"""What every command shares: completion without imports, settings shown, the module as a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import Site
from processes import Commands, commands

from jobs_exec.cli.root import COMMANDS

SETTINGS = """
    from pydantic import Field
    from pydantic_settings import BaseSettings, SettingsConfigDict

    from jobs_exec.contracts import hookimpl

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="JOB_OTHER_")
        url: str = Field("", description="Where it is.")
        size: int = Field(1, description="How large it is.")

    @hookimpl
    def settings_class():
        return Settings
"""


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    made = commands(tmp_path)
    Site(tmp_path / "site").install("other", entry_points={"backends:other": "other"}, module=SETTINGS)
    return made


def test_every_command_of_the_core_can_be_asked_for_help(command: Commands) -> None:
    for name in COMMANDS:
        done = command.call(name, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
        assert "Usage: jobs-exec" in done.stdout


def test_the_names_of_commands_are_completed_without_importing_them(command: Commands) -> None:
    code = (
        "import sys\nfrom jobs_exec.cli import main\n"
        "try:\n    main(prog_name='jobs-exec')\nexcept SystemExit:\n    pass\n"
        "sys.exit([n for n in ('psycopg', 'pydantic_settings', 'jobs_exec.cli.run') if n in sys.modules] or 0)"
    )
    environment = command.environment(_JOBS_EXEC_COMPLETE="bash_complete", COMP_WORDS="jobs-exec en", COMP_CWORD="1")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["plain,enqueue"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(command: Commands, shell: str) -> None:
    done = command.call("completion", shell)
    assert done.returncode == 0
    assert f"_JOBS_EXEC_COMPLETE={shell}_complete" in done.stdout


def test_settings_of_plugins_that_are_not_selected_are_shown_and_known(command: Commands) -> None:
    environment = {"JOB_PLUGINS_ALLOW": "probe,other", "JOB_OTHER_URL": "postgres://me:hunter2@db/app?x=1"}
    done = command.call("config", "show", "--backend", "probe", **environment)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["JOB_OTHER_URL"][1:] == ["postgres://me:********@db/app?x=1", "environment", "-", "other"]
    assert rows["JOB_QUEUE_BACKEND"][1:4] == ["probe", "command", "line"]
    assert (done.returncode, done.stderr) == (0, "")
    listed = command.call("list", **environment)
    assert listed.stderr == "no jobs match\n"


def test_an_unknown_setting_is_a_warning_with_the_near_match(command: Commands) -> None:
    done = command.call("config", "show", JOB_POLL_INTERVALL_MS="5")
    assert done.returncode == 0
    assert "Did you mean JOB_POLL_INTERVAL_MS?" in done.stderr


def test_a_plugin_setting_that_cannot_be_used_leaves_the_others_shown(command: Commands) -> None:
    done = command.call("config", "show", JOB_PLUGINS_ALLOW="probe,other", JOB_OTHER_SIZE="large")
    assert done.returncode == 2
    assert "JOB_QUEUE_BACKEND" in done.stdout
    assert "JOB_OTHER_SIZE" in done.stderr


def test_a_plugin_that_is_denied_is_not_imported_to_read_its_settings(command: Commands) -> None:
    (command.folder / "site" / "other.py").write_text("raise SystemExit('imported')")
    done = command.call("config", "show", JOB_PLUGINS_ALLOW="", JOB_PLUGINS_DENY="other", JOB_UNKNOWN="1")
    assert done.returncode == 0
    assert "imported" not in done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["run", "--drain"]])
def test_what_libraries_log_is_said_without_passwords(command: Commands, arguments: list[str]) -> None:
    text = "import logging\nlogging.getLogger('x').warning('odd: %s', 'postgres://me:hunter2@db')"
    (command.folder / "loud.py").write_text(text)
    done = command.call(*arguments, JOB_MODULES="loud")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == "warning: odd: postgres://me:********@db"


def test_a_reader_that_stops_reading_is_no_error(command: Commands) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "jobs_exec", "config", "show"],
            cwd=command.folder,
            env=command.environment(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in done.stderr


BROKEN = """
'''Says nothing.'''
import click

raise RuntimeError("imported")

@click.command()
def good() -> None:
    \"\"\"Greets the world. And more.\"\"\"

@click.command()
def bare() -> None: ...
"""


def test_the_help_line_of_a_plugin_s_command_is_its_own_and_nothing_is_imported_for_it(tmp_path: Path) -> None:
    command = commands(tmp_path)
    Site(tmp_path / "site").install(
        "greeter",
        entry_points={"commands:good": "greeter:good", "commands:bare": "greeter:bare", "commands:gone": "gone:main"},
        module=BROKEN,
    )
    done = command.call("--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  "))
    assert lines["good"] == "Greets the world."
    assert lines["bare"] == "Says nothing."
    assert lines["gone"].startswith("From greeter")
