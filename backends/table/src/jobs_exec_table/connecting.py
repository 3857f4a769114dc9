"""How one connection is made: the URL made whole, the embedded server behind it, the loaders of our statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format
from psycopg.rows import TupleRow

from jobs_exec_table import embedded
from jobs_exec_table.faults import translated
from jobs_exec_table.settings import EMBEDDED, TableSettings

FOLDER = Path(".jobs")
"""Where the embedded server lives, below the working directory."""

_DEFAULTS = {
    "application_name": "jobs-exec",
    "client_encoding": "utf8",
    # A peer that vanished is noticed within about half a minute, in the middle of a statement as well as idle.
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Client-side parameters: nothing here is a server setting, which a transaction pooler would refuse or leak."""

POOLED = "select pg_backend_pid()"


class _JsonbText(Loader):
    """Binary jsonb as text: one byte of version, then the JSON."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        """The JSON text."""
        return bytes(data)[1:].decode()


def _text_adapters() -> AdaptersMap:
    """JSON arrives as text: a value that the decoder refuses must not fail the whole batch inside the driver."""
    adapters = AdaptersMap(psycopg.adapters)
    for form in (Format.TEXT, Format.BINARY):
        as_text = psycopg.adapters.get_loader(psycopg.adapters.types["text"].oid, form)
        if as_text is not None:
            adapters.register_loader("json", as_text)
            if form is Format.TEXT:
                adapters.register_loader("jsonb", as_text)
    adapters.register_loader("jsonb", _JsonbText)
    return adapters


class TextContext:
    """An `AdaptContext` for connections of the framework's own statements."""

    def __init__(self) -> None:
        self.adapters = _text_adapters()
        self.connection: psycopg.BaseConnection[Any] | None = None


def whole_conninfo(url: str, connect_timeout: int, name: str | None = None) -> str:
    """`url` with our client-side parameters where it says nothing itself; `name` ends the application name."""
    given = conninfo_to_dict(url)
    defaults: dict[str, Any] = {**_DEFAULTS, "connect_timeout": connect_timeout}
    if name:
        defaults["application_name"] = f"jobs-exec {name}"
    return make_conninfo(url, **{key: value for key, value in defaults.items() if given.get(key) is None})


@contextmanager
def server_url(url: str) -> Iterator[str]:
    """The URL to connect to; for ``embedded`` the server runs at least until the end of the block."""
    if url != EMBEDDED:
        yield url
        return
    server = embedded.start(FOLDER)
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def sync_connection(settings: TableSettings, name: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """One sync connection in autocommit mode, for commands; raises what `translated` makes of a failure."""
    with server_url(settings.url) as url:
        with translated():
            connection = psycopg.connect(
                whole_conninfo(url, settings.connect_timeout, name), autocommit=True, prepare_threshold=None
            )
        with connection:
            yield connection


async def behind_pooler(connection: psycopg.AsyncConnection[TupleRow]) -> bool:
    """True when a pooler answers for the server: the process it names is not the one that runs statements."""
    row = await (await connection.execute(POOLED)).fetchone()
    return row is None or row[0] != connection.info.backend_pid
