"""A disk that is really full: a small tmpfs with a database on it, and a file that takes the rest."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from databases import TEMPLATE, Database, Server, fresh_database
from psycopg import sql

SIZE = "48m"
_SPACE = "small_disk"


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the database lives; the write-ahead log is elsewhere, so that the server itself stays up."""

    folder: Path

    def fill(self) -> None:
        """Takes every block that is left."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(_NoSpace):
            while True:
                _write(ballast.fileno())

    def make_room(self) -> None:
        """Gives all of it back."""
        (self.folder / "ballast").unlink()


class _NoSpace(Exception):
    """The disk is full."""


def _write(descriptor: int) -> None:
    try:
        os.write(descriptor, bytes(65536))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _NoSpace from None


@contextmanager
def database_on_a_small_disk(server: Server) -> Iterator[tuple[Database, Disk]]:
    """A database with the schema in it; the test is skipped where nothing may be mounted."""
    folder = server.cluster.home / "small"
    with _mounted(folder), fresh_database(server, TEMPLATE) as database:
        data = folder / "data"
        data.mkdir(mode=0o700)
        server.cluster.user.own(data)
        name, space = sql.Identifier(database.name), sql.Identifier(_SPACE)
        server.execute(
            sql.SQL("create tablespace {} location {}").format(space, sql.Literal(str(data))),
            sql.SQL("alter database {} set tablespace {}").format(name, space),
        )
        try:
            yield database, Disk(folder)
        finally:
            (folder / "ballast").unlink(missing_ok=True)
            server.execute(
                sql.SQL("select pg_terminate_backend(pid, 3000) from pg_stat_activity where datname = {}").format(
                    sql.Literal(database.name)
                ),
                sql.SQL("alter database {} set tablespace pg_default").format(name),
                sql.SQL("drop tablespace {}").format(space),
            )


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here; tests/table/test_full_disk.py does without")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
