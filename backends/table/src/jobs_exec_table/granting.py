"""Rights of other roles than the owner's: web applications that enqueue, executors and operators that run.

An enqueuer gets functions that run with the rights of their owner, and no table: it can neither read nor change what
others have enqueued. An executor gets the tables, and on each a policy that admits this one role; without it row-level
security would hide every row and all would look empty. Policies are made only where they are missing: making one locks
its table against everybody for a moment, and waiting for that lock is bounded. They change no plan: claims of 100 from
110,000 jobs, by the owner and by such a role in turns, took 3.5, 5.4, 7.7 and 8.6 ms, growing with the dead rows that each
turn left (PostgreSQL 18).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from jobs_exec.errors import BackendUnavailable, ConfigurationError, SchemaMismatch
from jobs_exec_table.migrating import needed_version
from jobs_exec_table.statements import statement

TABLES: tuple[LiteralString, ...] = (
    "jobs_queue",
    "job_runs",
    "job_keys",
    "job_reservations",
    "job_executors",
    "job_types",
    "job_cursors",
    "job_schedules",
    "job_schedule_jobs",
)
"""What row-level security hides from everybody who has no policy."""

LOCK_TIMEOUT = "set local lock_timeout = '5s'"
"""Behind a waiting policy every claim waits too, so it does not wait long for a transaction that goes on."""

_LONGEST_NAME = 63


class Right(StrEnum):
    """What a role may do."""

    ENQUEUE = "enqueue"
    RUN = "run"
    """Everything an executor and an operator do, enqueueing included."""


class Granting:
    """Grants and revokes through the owner's sync connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[TupleRow]) -> None:
        self._connection = connection

    def grant(self, role: str, right: Right, *, dry_run: bool = False) -> list[str]:
        """Gives `role` the right, in one transaction, and returns the statements; may be repeated.

        Raises `ConfigurationError` when there is no such role, `BackendUnavailable` when the connection's role is not
        the owner, `SchemaMismatch` when there is no schema.
        """
        self._check(role)
        return self._do(list(self._granting(role, right)), dry_run)

    def revoke(self, role: str, *, dry_run: bool = False) -> list[str]:
        """Takes every right back; raises as `grant` does."""
        self._check(role)
        return self._do(list(self._revoking(role)), dry_run)

    def granted(self) -> dict[str, Right]:
        """Role -> right, of all but the owner."""
        found = self._connection.execute(statement("granted_roles")).fetchall()
        return {role: Right.RUN if runs else Right.ENQUEUE for role, runs in found}

    def _granting(self, role: str, right: Right) -> Iterator[sql.Composed]:
        yield from _composed("grant_enqueue", role=sql.Identifier(role))
        if right is not Right.RUN:
            return
        yield from _composed("grant_run", role=sql.Identifier(role))
        admitted = {table for table, _ in self._policies(role)}
        for table in TABLES:
            if table not in admitted:
                yield from _composed(
                    "grant_policy",
                    policy=sql.Identifier(_policy_name(role)),
                    table=sql.Identifier(table),
                    role=sql.Identifier(role),
                )

    def _revoking(self, role: str) -> Iterator[sql.Composed]:
        for table, policy in self._policies(role):
            yield from _composed("revoke_policy", policy=sql.Identifier(policy), table=sql.Identifier(table))
        yield from _composed("revoke", role=sql.Identifier(role))

    def _policies(self, role: str) -> list[TupleRow]:
        return self._connection.execute(statement("granted_policies"), {"role": role}).fetchall()

    def _do(self, statements: list[sql.Composed], dry_run: bool) -> list[str]:
        texts = [each.as_string(self._connection) for each in statements]
        if not dry_run:
            with self._connection.transaction():
                self._connection.execute(LOCK_TIMEOUT)
                for each in statements:
                    self._connection.execute(each)
        return texts

    def _check(self, role: str) -> None:
        # A grant by somebody else than the owner is no error to PostgreSQL: it warns, and grants nothing.
        found = self._connection.execute(statement("rights_of_grantor"), {"role": role}).fetchone()
        if found is None:
            raise SchemaMismatch(None, needed_version())
        owner, owns, exists = found
        if not owns:
            raise BackendUnavailable(
                "table", f"only the owner of the schema jobs grants rights on it; connect as {owner}"
            )
        if not exists:
            raise ConfigurationError(
                "ROLE", f"{role!r} is no role of this server; make it first (create role ... login)"
            )


def _composed(name: str, **identifiers: sql.Identifier) -> Iterator[sql.Composed]:
    """The statements of ``sql/NAME.sql`` one by one, without its comments, identifiers filled in."""
    # Still literal text to the type checker: nothing but files of ours goes in.
    lines = [line for line in statement(name).splitlines() if not line.startswith("--")]
    for text in "\n".join(lines).split(";"):
        if text.strip():
            yield sql.SQL(text.strip()).format(**identifiers)


def _policy_name(role: str) -> str:
    """Tells roles apart even where PostgreSQL would cut the name."""
    name = f"jobs_exec_{role}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"jobs_exec_{hashlib.sha256(role.encode()).hexdigest()[:32]}"
