"""Roles beside the owner of the schema, made for one test on a server that outlives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from databases import Database
from psycopg import sql

PASSWORD = "geheim"


@dataclass(frozen=True, slots=True)
class Role:
    """A role that may log in, and its URL of the database."""

    name: str
    url: str


@contextmanager
def fresh_role(database: Database, name: str) -> Iterator[Role]:
    """A role without any right; what it was granted goes with it."""
    quoted = sql.Identifier(name)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login password {}").format(quoted, sql.Literal(PASSWORD)))
        try:
            yield Role(name, database.url_for(quote(name, safe=""), PASSWORD))
        finally:
            connection.execute(sql.SQL("drop owned by {}").format(quoted))
            connection.execute(sql.SQL("drop role {}").format(quoted))
