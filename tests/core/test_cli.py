"""The command as its user calls it: a process of its own, data on stdout, talk on stderr, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import Site

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


PLUGIN = """
    from jobs_exec import job_type
    from jobs_exec.contracts import hookimpl

    async def handler(ctx, data): ...

    @hookimpl
    def {hook}(host):
        return [job_type("mail.send", handler)]
"""


@pytest.mark.parametrize(("hook", "code"), [("job_types", 0), ("observers", 1), ("job_tpyes", 1)])
def test_a_check_fails_when_an_executor_would_not_start(tmp_path: Path, hook: str, code: int) -> None:
    Site(tmp_path).install("mail", entry_points={"plugins:mail": "mail"}, module=PLUGIN.format(hook=hook))
    settings = {"PYTHONPATH": str(tmp_path), "JOB_QUEUE_BACKEND": "memory"}
    checked = run(tmp_path, "plugins", "check", **settings)
    started = run(tmp_path, "run", "--drain", **settings)
    assert (checked.returncode, started.returncode) == (code, 5 if code else 0), started.stderr
    assert "Traceback" not in checked.stderr + started.stderr
    assert (
        f"mail (mail 1.2, jobs_exec.plugins) is broken: it{'s hook' if hook == 'observers' else ''}" in checked.stderr
    ) == bool(code)
    assert len(checked.stderr.splitlines()) == code


def test_a_plugin_is_shown_with_what_it_brings(tmp_path: Path) -> None:
    Site(tmp_path).install("mail", entry_points={"plugins:mail": "mail"}, module=PLUGIN.format(hook="job_types"))
    done = run(tmp_path, "plugins", "show", "mail", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        r"job_types +mail\.send",
        "implements +job_types",
        r"requires +jobs-exec>=0\.1\.0",
        r"file +\S+mail\.py",
    ):
        assert re.search(rf"^{line}$", done.stdout, re.MULTILINE), done.stdout
    (row,) = json.loads(run(tmp_path, "plugins", "show", "mail", "--json", PYTHONPATH=str(tmp_path)).stdout)
    assert (row["state"], row["job_types"], row["module"]) == ("loaded", ["mail.send"], "mail")


def test_a_broken_plugin_is_shown_with_its_reason_and_exit_code_1(tmp_path: Path) -> None:
    Site(tmp_path).install("mail", entry_points={"plugins:mail": "mail"}, module="import not_there_at_all")
    done = run(tmp_path, "plugins", "show", "mail", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "No module named 'not_there_at_all'" in done.stdout
