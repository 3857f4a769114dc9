"""A place that nobody's settings reach: the demonstration must come out the same in every folder."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg

from jobs_exec.cli.signals import STOPPING
from jobs_exec.errors import PluginError
from jobs_exec_table import embedded
from jobs_exec_table.migrating import Migrator

_DATABASE_NAMES = frozenset({"DATABASE_URL", "SUPABASE_DB_URL"})
_NEEDED = ("jobs_exec_webhooks", "standardwebhooks")


class DemoIncomplete(PluginError):
    """What the demonstration delivers with is not installed."""

    def __init__(self) -> None:
        super().__init__(())
        self.args = (
            "the demo delivers webhooks, and the plugin for that is not installed; pip install 'jobs-exec-table[demo]'",
        )


def check_installed() -> None:
    """Raises `DemoIncomplete`, or `ConfigurationError` when the embedded PostgreSQL is missing; imports neither."""
    if not all(find_spec(name) for name in _NEEDED):
        raise DemoIncomplete
    embedded.find_programs()


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """A temporary working folder, with the environment's settings out of sight until the end of the block."""
    hidden = {name: value for name, value in os.environ.items() if _is_setting(name.upper())}
    with tempfile.TemporaryDirectory(prefix="jobs-exec-demo-") as name, contextlib.chdir(name):
        folder = Path(name)
        # Under root the server runs as another user, who must be able to pass through.
        folder.chmod(0o711)
        for setting in hidden:
            del os.environ[setting]
        try:
            yield folder
        finally:
            os.environ.update(hidden)


def _is_setting(name: str) -> bool:
    return name.startswith("JOB_") or name in _DATABASE_NAMES


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM wait for the end of the block: a server that is half started or stopped is nobody's."""
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _frame: came.append(number)) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def database(folder: Path) -> Iterator[str]:
    """The URL of a migrated embedded database in `folder`, which is stopped at the end of the block."""
    with contextlib.ExitStack() as ending:
        with undisturbed():
            server = embedded.start(folder / ".jobs")
            ending.callback(_stop, server)
        with psycopg.connect(server.url, autocommit=True) as connection:
            Migrator(connection).apply()
        yield server.url


@undisturbed()
def _stop(server: embedded.EmbeddedServer) -> None:
    server.stop()
