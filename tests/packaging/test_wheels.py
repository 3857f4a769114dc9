"""What is inside the built distributions: only they show files that a build backend has dropped."""

from __future__ import annotations

import configparser
import tarfile
from email.parser import Parser
from email.policy import default
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from workspace import Member, members

MEMBERS = pytest.mark.parametrize("member", members(), ids=lambda member: member.name)


def open_wheel(dist: Path, member: Member) -> ZipFile:
    (path,) = dist.glob(f"{member.package}-{member.version}-py3-none-any.whl")
    return ZipFile(path)


def info_file(wheel: ZipFile, member: Member, name: str) -> str:
    return wheel.read(f"{member.package}-{member.version}.dist-info/{name}").decode()


@MEMBERS
def test_every_file_of_the_package_is_in_the_wheel(dist: Path, member: Member) -> None:
    source = {
        path.relative_to(member.source.parent).as_posix()
        for path in member.source.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }
    with open_wheel(dist, member) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == source
    assert f"{member.package}/py.typed" in packed


def test_the_migrations_are_in_the_wheel(dist: Path) -> None:
    (table,) = [member for member in members() if member.name == "jobs-exec-table"]
    written = {path.name for path in table.source.rglob("*.sql")}
    with open_wheel(dist, table) as wheel:
        packed = {Path(name).name for name in wheel.namelist() if name.endswith(".sql")}
    assert written
    assert packed == written


@MEMBERS
def test_the_wheel_carries_licence_readme_and_typing(dist: Path, member: Member) -> None:
    with open_wheel(dist, member) as wheel:
        metadata = Parser(policy=default).parsestr(info_file(wheel, member, "METADATA"))
        assert "Apache License" in info_file(wheel, member, "licenses/LICENSE")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_content().strip() == (member.folder / "README.md").read_text().strip()
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


@MEMBERS
def test_the_wheel_declares_the_entry_points_of_its_pyproject(dist: Path, member: Member) -> None:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    with open_wheel(dist, member) as wheel:
        parser.read_string(info_file(wheel, member, "entry_points.txt"))
    assert {group: dict(parser[group]) for group in parser.sections()} == member.entry_points


@MEMBERS
def test_the_wheel_requires_what_its_pyproject_says(dist: Path, member: Member) -> None:
    with open_wheel(dist, member) as wheel:
        metadata = Parser(policy=default).parsestr(info_file(wheel, member, "METADATA"))
    packed = {(each.name, str(each.specifier)) for each in map(Requirement, metadata.get_all("Requires-Dist", []))}
    assert packed == {(each.name, str(each.specifier)) for each in member.requirements}


@MEMBERS
def test_the_sdist_has_what_a_packager_needs(dist: Path, member: Member) -> None:
    with tarfile.open(dist / f"{member.package}-{member.version}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", f"src/{member.package}/py.typed"} <= names
