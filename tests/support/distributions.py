"""Real distributions on `sys.path`: a module and a dist-info folder, as pip would have left them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

PROBE_BACKEND = """
    from jobs_exec.contracts import hookimpl

    class Backend:
        name = "probe"
        capabilities = frozenset()
        ledger = object()

    @hookimpl
    def queue_backend(host):
        return Backend()
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder that is on `sys.path`."""

    folder: Path

    def install(
        self, distribution: str, *, entry_points: dict[str, str], module: str = "", requires: str = "jobs-exec>=0.1.0"
    ) -> None:
        """Writes `distribution`; `entry_points` maps ``group:name`` to its target, `module` is the code behind it."""
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\nRequires-Dist: {requires}\n"
        )
        groups: dict[str, list[str]] = {}
        for name, target in entry_points.items():
            group, _, entry = name.partition(":")
            groups.setdefault(f"jobs_exec.{group}", []).append(f"{entry} = {target}")
        text = "\n".join(f"[{group}]\n" + "\n".join(lines) for group, lines in groups.items())
        (info / "entry_points.txt").write_text(text)
        if module:
            (self.folder / f"{distribution.replace('-', '_')}.py").write_text(dedent(module))
