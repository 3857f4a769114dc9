"""The members of the workspace as their own `pyproject.toml` files declare them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


@dataclass(frozen=True, slots=True)
class Member:
    """One distribution: its folder, and the table ``[project]``."""

    folder: Path
    project: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def version(self) -> str:
        return str(self.project["version"])

    @property
    def package(self) -> str:
        """The import name."""
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        return self.folder / "src" / self.package

    @property
    def entry_points(self) -> dict[str, dict[str, str]]:
        """Group -> name -> target, scripts included, as a wheel spells them."""
        groups = {group: dict(names) for group, names in self.project.get("entry-points", {}).items()}
        if "scripts" in self.project:
            groups["console_scripts"] = dict(self.project["scripts"])
        return groups

    @property
    def requirements(self) -> list[Requirement]:
        """What it needs, extras included."""
        optional = [text for texts in self.project.get("optional-dependencies", {}).values() for text in texts]
        return [Requirement(text) for text in (*self.project["dependencies"], *optional)]

    @property
    def siblings(self) -> list[Requirement]:
        """Its requirements on other members."""
        return [each for each in self.requirements if canonicalize_name(each.name).startswith("jobs-exec")]


def members() -> list[Member]:
    """All members, in the order of the workspace (the core first)."""
    folders = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    return [Member(ROOT / folder, read_toml(ROOT / folder / "pyproject.toml")["project"]) for folder in folders]


def group_requirements() -> list[Requirement]:
    """What the dependency groups of development need."""
    groups = read_toml(ROOT / "pyproject.toml")["dependency-groups"]
    return [Requirement(entry) for entries in groups.values() for entry in entries if isinstance(entry, str)]
