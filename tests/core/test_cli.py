"""The command as its user calls it: a process of its own, data on stdout, talk on stderr, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("psycopg", "pydantic_settings", "structlog")


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "error", "COLUMNS": "200", **env}
    return subprocess.run(
        [sys.executable, "-m", "jobs_exec", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plugins", "list"]])
def test_listing_and_help_import_neither_driver_nor_settings(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom jobs_exec.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"sys.exit([name for name in {HEAVY!r} if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_plugins_list_shows_what_is_installed_as_json(tmp_path: Path) -> None:
    done = run(tmp_path, "plugins", "list", "--json")
    rows = {(row["group"], row["name"]): row for row in json.loads(done.stdout)}
    assert rows["jobs_exec.backends", "memory"]["distribution"] == "jobs-exec"
    assert rows["jobs_exec.backends", "memory"]["state"] == "available"
    assert done.returncode == 0


def test_config_show_says_where_a_value_came_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JOB_MAX_ATTEMPTS=7\n")
    done = run(tmp_path, "config", "show", "--json", JOB_POLL_INTERVAL_MS="250")
    rows = {row["name"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert rows["JOB_MAX_ATTEMPTS"] == (7, ".env")
    assert rows["JOB_POLL_INTERVAL_MS"] == (250, "environment")
    assert rows["JOB_LEASE_SECONDS"] == ("15s", "default")
    assert rows["JOB_RUNS_RETENTION"] == ("30d", "default")


def test_a_setting_that_cannot_be_used_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "show", JOB_MAX_ATTEMPTS="many")
    assert done.returncode == 2
    assert done.stderr.startswith("jobs-exec: JOB_MAX_ATTEMPTS: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_plugin_that_is_not_installed_is_not_found(tmp_path: Path) -> None:
    done = run(tmp_path, "plugins", "show", "memroy", JOB_PLUGINS_ALLOW="memory")
    assert done.returncode == 7
    assert "Did you mean 'memory'?" in done.stderr


def test_an_unknown_command_is_a_usage_error_with_the_near_match(tmp_path: Path) -> None:
    assert run(tmp_path, "frobnicate").returncode == 2
    done = run(tmp_path, "enqeue")
    assert done.returncode == 2
    assert "No such command 'enqeue'. Did you mean 'enqueue'?" in done.stderr
