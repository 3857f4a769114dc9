"""The settings of the table backend: ``JOB_TABLE_*`` and the exact names that are known everywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs_exec.errors import ConfigurationError

EMBEDDED = "embedded"
"""The value of ``JOB_DATABASE_URL`` that starts the embedded server."""

_DRIVER = re.compile(r"^postgres(?:ql)?\+[\w-]+://")
"""``postgresql+asyncpg://`` and its like name the driver of somebody else; the server is the same."""

_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*)')
_SCHEME = re.compile(r"^([A-Za-z][\w+.-]*)://")
_BAD_PARAMETER = re.compile(r'invalid URI query parameter: "(\w+)"|invalid connection option "(\w+)"')

URL_PATTERN = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
MASK = "********"

MISSING_URL = (
    "is not set; use 'embedded' for a PostgreSQL that is started in .jobs/ (pip install 'jobs-exec-table[embedded]'), "
    "or the URL of your own server (postgresql://USER:PASSWORD@HOST/DATABASE), or set DATABASE_URL or SUPABASE_DB_URL"
)


def split_table_name(text: str) -> tuple[str, str]:
    """(schema, table) from ``schema.table``, quoted or not, as SQL reads it. Raises `ValueError`."""
    first = _IDENTIFIER.match(text)
    second = _IDENTIFIER.fullmatch(text, first.end() + 1) if first and text[first.end() :].startswith(".") else None
    if first is None or second is None:
        raise ValueError("must be a table with its schema, such as public.orgs")
    return _name(first), _name(second)


def _name(match: re.Match[str]) -> str:
    return match[1].replace('""', '"') if match[1] else match[2].lower()


class DatabaseUrl(SecretStr):
    """A connection URL, or libpq's ``host=... user=...``; secret as a whole in logs, reprs and errors."""

    def shown(self) -> str:
        """What `config show` tells of it: where it points to, as whom, and that there is a password."""
        text = self.get_secret_value()
        return EMBEDDED if text == EMBEDDED else _without_secrets(conninfo_to_dict(text))


def _without_secrets(parts: Mapping[str, object]) -> str:
    """The URL of `parts`. An @ anywhere is what is left of a password that libpq read as something else."""
    user, host, port, name = (str(parts.get(key) or "") for key in ("user", "host", "port", "dbname"))
    if "@" in user + host + port + name or not re.fullmatch(r"[\d,]*", port):
        return MASK
    login = user + f":{MASK}" * ("password" in parts)
    socket = f"?host={host}" * host.startswith("/")
    place = "" if socket else host
    return f"postgresql://{login}{'@' * bool(login)}{place}{f':{port}' * bool(port)}/{name}{socket}"


def _checked_url(value: DatabaseUrl) -> DatabaseUrl:
    """The URL as libpq reads it; an error never quotes it, since a misread password ends up anywhere in it."""
    text = value.get_secret_value().strip()
    if text.lower() == EMBEDDED:
        return DatabaseUrl(EMBEDDED)
    url = _DRIVER.sub("postgresql://", text)
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(_problem_of_url(url, str(error))) from None
    return DatabaseUrl(url)


def _problem_of_url(url: str, error: str) -> str:
    if found := _BAD_PARAMETER.search(error):
        name = found[1] or found[2]
        return f"has the parameter {name!r}, unknown to libpq; remove it" + ", or write sslmode" * (name == "ssl")
    scheme = _SCHEME.match(url)
    if scheme and scheme[1] not in ("postgres", "postgresql"):
        return f"begins with {scheme[1]}://, but jobs are kept in PostgreSQL; it looks like {URL_PATTERN}"
    return (
        f"is no connection URL; it looks like {URL_PATTERN}, special characters of the password percent-encoded, "
        "or like host=... user=... dbname=..."
    )


def _checked_table(value: str) -> str:
    split_table_name(value)
    return value


Url = Annotated[DatabaseUrl, AfterValidator(_checked_url)]


class TableSettings(BaseSettings):
    """Where the database is, and how many connections a process may have to it."""

    model_config = SettingsConfigDict(env_prefix="JOB_TABLE_", extra="ignore", frozen=True)

    database_url: Url | None = Field(
        None,
        validation_alias=AliasChoices("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"),
        description="URL of the database, or 'embedded' for a PostgreSQL in .jobs/.",
    )
    listen_url: Url | None = Field(
        None,
        validation_alias=AliasChoices("JOB_LISTEN_URL"),
        description="URL without a transaction pooler, for wake-up hints; needed only behind a pooler.",
    )
    org_table: Annotated[str, AfterValidator(_checked_table)] | None = Field(
        None,
        validation_alias=AliasChoices("JOB_ORG_TABLE"),
        description="Table of the orgs, with its schema: columns id (text or uuid) and, if it has one, status.",
    )
    pool_size: int = Field(3, ge=1, le=100, description="Connections for claim, settle, heartbeat and upkeep.")
    attempt_pool_size: int = Field(
        10, ge=1, le=1000, description="Connections for handlers that open their transaction, async and sync each."
    )
    connect_timeout: int = Field(10, ge=2, le=300, description="Seconds to wait for a connection.")

    @property
    def url(self) -> str:
        """The database URL, or ``embedded``. Raises `ConfigurationError` when there is none."""
        if self.database_url is None:
            raise ConfigurationError("JOB_DATABASE_URL", MISSING_URL)
        return self.database_url.get_secret_value()

    @property
    def org_table_name(self) -> tuple[str, str] | None:
        """(schema, table) of the org directory."""
        return None if self.org_table is None else split_table_name(self.org_table)
