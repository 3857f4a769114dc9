"""A real PgBouncer in transaction mode before a test database."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from databases import Database, missing, server_folder

PORT = 6432


@dataclass(frozen=True, slots=True)
class Pooled:
    """`url` leads through the pooler, `direct` past it to the same database."""

    url: str
    direct: Database


@contextmanager
def pgbouncer(database: Database, pool_size: int = 3) -> Iterator[Pooled]:
    """Runs until the end of the block; few server connections, so that clients share them."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        missing("PgBouncer is not installed (apt-get install pgbouncer)")
    with server_folder() as folder:
        _configure(folder, database, pool_size)
        with _process([str(program), str(folder / "ini")], database):
            url = f"postgresql://postgres@/{database.name}?host={quote(str(folder), safe='')}&port={PORT}"
            _until_it_answers(url)
            yield Pooled(url, database)


def _configure(folder: Path, database: Database, pool_size: int) -> None:
    cluster = database.server.cluster
    (folder / "ini").write_text(
        f"[databases]\n* = host={cluster.home} port={cluster.port} user=postgres\n"
        "[pgbouncer]\nauth_type = any\npool_mode = transaction\n"
        f"listen_addr =\nlisten_port = {PORT}\nunix_socket_dir = {folder}\n"
        f"default_pool_size = {pool_size}\nmax_client_conn = 200\n"
    )
    folder.chmod(0o755)
    cluster.user.own(folder)


@contextmanager
def _process(command: list[str], database: Database) -> Iterator[None]:
    user = database.server.cluster.user
    # PgBouncer refuses to run as root, and its user is who the server knows.
    identity = {} if user.uid is None else {"user": user.uid, "group": user.gid, "extra_groups": []}
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **identity
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(url: str) -> None:
    for _ in range(500):
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
            return
    raise AssertionError("PgBouncer does not answer")
