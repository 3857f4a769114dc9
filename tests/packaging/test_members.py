"""The members among each other: one version, pins that admit it, and a lock that covers all they need."""

from __future__ import annotations

import configparser
import re

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from workspace import ROOT, Member, group_requirements, members

import jobs_exec

MEMBERS = pytest.mark.parametrize("member", members(), ids=lambda member: member.name)
PUBLIC = {"contracts", "inline", "job", "errors"}
"""What a plugin may import of the core, beside the package itself."""


def locked() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


def test_all_members_have_the_version_of_the_core() -> None:
    assert {member.name: member.version for member in members()} == dict.fromkeys(
        ["jobs-exec", "jobs-exec-table", "jobs-exec-cron", "jobs-exec-webhooks"], jobs_exec.__version__
    )


@MEMBERS
def test_sibling_pins_admit_the_current_minor_and_nothing_else(member: Member) -> None:
    now = Version(jobs_exec.__version__)
    expected = SpecifierSet(f">={now.major}.{now.minor}.0,<{now.major}.{now.minor + 1}")
    assert (member.name == "jobs-exec") == (member.siblings == [])
    for sibling in member.siblings:
        assert sibling.specifier == expected, str(sibling)
        assert jobs_exec.__version__ in sibling.specifier


def test_the_lock_covers_every_declared_dependency_with_a_version_it_admits() -> None:
    pins = locked()
    wanted = [each for member in members() for each in member.requirements] + group_requirements()
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if not name.startswith("jobs-exec"):
            assert name in pins, f"{requirement} is not locked; run .ci/lock"
            assert pins[name] in requirement.specifier, f"{requirement} excludes the locked {pins[name]}"


def test_the_lock_holds_no_address_and_no_member() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"\w+://|@ |--(index|extra|find)", text)
    assert not [name for name in locked() if name.startswith("jobs-exec")]


def test_every_dependency_has_a_lower_bound() -> None:
    for requirement in [each for member in members() for each in member.requirements] + group_requirements():
        assert any(spec.operator in {">=", "=="} for spec in requirement.specifier), str(requirement)


def test_the_walls_protect_every_room_of_the_core_that_is_not_public() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    protected = {
        name.removeprefix("jobs_exec.")
        for section in ("engine", "commands", "testing")
        for name in config[f"importlinter:contract:{section}"]["protected_modules"].split()
    }
    core = ROOT / "core/src/jobs_exec"
    rooms = {path.stem for path in core.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert protected == rooms - PUBLIC - {"__init__"}
