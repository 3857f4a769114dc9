"""The caller's own connection, as handed to `enqueue(connection=...)`."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection, Connection

from jobs_exec.errors import InvalidJob


def async_connection(connection: object) -> AsyncConnection[Any]:
    """The psycopg connection itself; raises `InvalidJob` for anything else."""
    if isinstance(connection, AsyncConnection):
        return connection
    raise InvalidJob("connection", f"must be a psycopg AsyncConnection, not {type(connection).__name__}")


def sync_connection(connection: object) -> Connection[Any]:
    """The psycopg connection itself; raises `InvalidJob` for anything else."""
    if isinstance(connection, Connection):
        return connection
    raise InvalidJob("connection", f"must be a psycopg Connection, not {type(connection).__name__}")
