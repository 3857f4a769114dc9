"""What a documentation page may need beside its folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from databases import VERSIONS, fresh_database, running_server

# The programs that a page may call in an environment of its own, and the modules behind them.
_PROGRAMS = {"pip": "pip", "pytest": "pytest", "jobs-exec": "jobs_exec"}


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter: for root, a server in it runs as one of them.

    Not pytest's own, which every session that starts closes again, and that it had to be opened would be told in the
    output of a page's commands.
    """
    with tempfile.TemporaryDirectory(prefix="jobs-exec-docs-") as made:
        folder = Path(made).resolve()
        folder.chmod(0o755)
        yield folder


@contextmanager
def provided(need: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """Variables for the page's commands; what they name lives in `folder` until the block ends."""
    if need == "postgres":
        with running_server(VERSIONS[0], folder / "postgres") as server, fresh_database(server) as database:
            yield {"DATABASE_URL": database.url}
    elif need == "environment":
        yield {"PATH": f"{make_environment(folder / 'environment')}{os.pathsep}{os.environ['PATH']}"}
    else:
        yield {}


def make_environment(folder: Path) -> Path:
    """An environment to install into, which sees everything that this one has; returns its folder of programs.

    So a page installs its own distribution with pip, and nothing of it is left in the environment of the tests.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # `addsitedir` and not a plain line: the editable members are .pth files themselves.
    (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name, module in _PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
        program.chmod(0o755)
    return folder / "bin"
