"""What an error of the driver means, in one sentence of our own.

The driver's texts are never passed on: DETAIL quotes the failing row, and a URL that was misread puts a part of
its password into the name of the host. What people need from them (which failure, which object) is taken over
piece by piece. `translated` is the way through which every statement of the backend runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from jobs_exec.errors import BackendUnavailable, EnqueueConflict, JobsError, SchemaMismatch
from jobs_exec_table.migrating import needed_version

CONFLICTS = ("40001", "40P01")
"""SQLSTATE of a serialization failure and of a deadlock."""

DATA_CLASSES = ("21", "22", "23", "54")
"""SQLSTATE classes that blame the values of a statement, so that a batch can be bisected for the culprit."""

_OUTAGES = {
    "25006": "the database is read-only (a replica, or default_transaction_read_only is on); connect to the primary",
    "25P03": "the session was idle in its transaction for longer than one lease, and the database ended it",
    "53100": "the disk of the database server is full; free space on it",
    "53200": "the database server is out of memory",
    "53300": "the database has no connection left (too many connections); lower JOB_TABLE_POOL_SIZE or raise its limit",
    "57P01": "the database server is shutting down or ended the session",
    "57P02": "the database server crashed and is restarting",
    "57P03": "the database server is starting up or in recovery",
    "57014": "the database cancelled the statement (statement_timeout or an operator)",
    "58030": "the database server cannot read or write its files",
}
_OUTAGE_CLASSES = {
    "08": "the connection to the database was lost",
    "40": "a concurrent transaction was given precedence; the operation can be repeated",
    "53": "the database server is out of resources",
    "55": "an object the operation needs is locked",
    "57": "the database server refused the operation",
    "58": "the database server has a system error",
    "XX": "the database server has an internal error; its log says which",
}
_REFUSALS = (
    (
        r"password authentication failed|SASL authentication failed|no password supplied|Wrong password",
        "the password or the user name is wrong; check the database URL (special characters percent-encoded)",
    ),
    (
        r"database .* does not exist|no such database",
        "the database does not exist; create it, or check the name at the end of the database URL",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|max_client_conn|MaxClientsInSessionMode",
        _OUTAGES["53300"],
    ),
    (r"role .* does not exist|no such user|Tenant or user not found", "the user of the database URL does not exist"),
    (
        r"no pg_hba.conf entry|pg_hba.conf rejects|[Pp]eer authentication failed",
        "the server does not admit this user from this machine (pg_hba.conf)",
    ),
    (r"starting up|in recovery mode|not yet accepting", _OUTAGES["57P03"]),
    (r"shutting down|terminating connection", _OUTAGES["57P01"]),
    (r"SSL|certificate", "the TLS connection could not be made; check sslmode and sslrootcert of the database URL"),
    (
        r"resolve host|translate host name",
        "the host name of the database URL cannot be resolved; a password with @ or / must be percent-encoded",
    ),
    (r"timeout expired|timed out", "the database server did not answer in time; check host, port and firewall"),
    (
        r"[Cc]onnection refused|No such file or directory|Network is unreachable|No route to host|Connection reset",
        "nothing answers at the address of the database URL{place}; is the server running there?",
    ),
    (
        r"server closed the connection|connection is lost|the connection is closed|consuming input failed|EOF detected",
        _OUTAGE_CLASSES["08"],
    ),
)
"""libpq reports the failure to connect as text alone; a text in another language falls through to the last resort."""

_ADDRESS = re.compile(r'(?:at "([\w.:-]+)"(?: \([\w.:]+\))?, port (\d+)|on socket "([^"@]+)") failed')
"""Where libpq tried to connect: a host that it could resolve, so no part of a password."""

_PERMISSION = re.compile(r"permission denied for (\w+(?: \w+)?) ([\w.]+)")
_OURS = re.compile(r"(jobs|jobs_\w+|job_\w+|all_\w+|schedules?_\w+|schema_migrations|known_types_v1|enqueue|fire)$")
"""Names of ours in such a text, which says no schema."""


class StatementRefused(JobsError, RuntimeError):
    """The database refused a statement for a reason that is no outage; `sqlstate` tells which.

    The text has no value of the statement in it. `blames_data` is true when a value of it is the reason.
    """

    def __init__(self, error: psycopg.Error) -> None:
        rule = error.diag.constraint_name
        super().__init__(
            f"the database refused the statement: {type(error).__name__} (SQLSTATE {error.sqlstate or 'unknown'}"
            f"{', rule ' + rule if rule else ''})"
        )
        self.sqlstate = error.sqlstate
        self.rule = rule

    @property
    def blames_data(self) -> bool:
        """A smaller batch may pass."""
        return (self.sqlstate or "")[:2] in DATA_CLASSES


@contextmanager
def translated(found: int | None = None) -> Iterator[None]:
    """Errors of the driver leave the block as `JobsError`; `found` is the version of the schema, when it is known."""
    try:
        yield
    except psycopg.Error as error:
        raise meaning(error, found) from None


@contextmanager
def translated_enqueue(found: int | None = None) -> Iterator[None]:
    """`translated`, and a transaction that was chosen to end for another's sake is an `EnqueueConflict`."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate in CONFLICTS:
            raise EnqueueConflict(error.sqlstate or "") from None
        raise meaning(error, found) from None


def meaning(error: psycopg.Error, found: int | None = None) -> JobsError:
    """The error to raise instead of `error`."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return _unavailable("no connection became free in time; all are busy, or the database does not answer")
    if isinstance(error, PoolClosed):
        return _unavailable("it is not open")
    if error.sqlstate is None:
        return _without_code(error)
    return _schema(error, found) or _permission(error) or _outage(error) or StatementRefused(error)


def is_outage(error: psycopg.Error) -> bool:
    """True when the fault is not the statement's: repeating it later may work."""
    return isinstance(meaning(error), BackendUnavailable)


def _unavailable(problem: str) -> BackendUnavailable:
    return BackendUnavailable("table", problem)


def _without_code(error: psycopg.Error) -> JobsError:
    """Failures to connect and lost connections have no code; anything else is a misuse of the driver."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StatementRefused(error)
    text = str(error)
    for pattern, sentence in _REFUSALS:
        if re.search(pattern, text):
            return _unavailable(sentence.replace("{place}", _place(text)))
    lost = "the connection to the database failed; `psql` with the same URL shows the reason"
    return _unavailable(lost)


def _place(text: str) -> str:
    """Each address that libpq tried, in brackets."""
    tried = [socket or f"{host}:{port}" for host, port, socket in _ADDRESS.findall(text)]
    return f" ({', '.join(dict.fromkeys(tried))})" if tried else ""


def _schema(error: psycopg.Error, found: int | None) -> JobsError | None:
    """A table or function of ours that is not there: never migrated, or dropped by a later version."""
    ours = error.sqlstate in ("42P01", "42883") and "jobs." in (error.diag.message_primary or "")
    if not ours and error.sqlstate != "3F000":
        return None
    needed = needed_version()
    return SchemaMismatch(found if found is not None and found > needed else None, needed)


def _permission(error: psycopg.Error) -> JobsError | None:
    if error.sqlstate != "42501":
        return None
    match = _PERMISSION.search(error.diag.message_primary or "")
    if match and not _OURS.match(match[2]):
        return _unavailable(f"the user of the database URL lacks the rights on {match[1]} {match[2]}; grant them")
    what = f"on {match[1]} {match[2]}" if match else "it needs in the schema jobs"
    return _unavailable(
        f"the user of the database URL lacks the rights {what}; the owner, who ran `jobs-exec db migrate`, grants them "
        "with `jobs-exec db grant ROLE --run` (to run and inspect jobs) or --enqueue (to enqueue them)"
    )


def _outage(error: psycopg.Error) -> JobsError | None:
    code = error.sqlstate or ""
    if code == "XX000" and "could not extend file" in (error.diag.message_primary or ""):
        code = "53100"  # a limit on the length of files, or a quota: no code of its own, and the same remedy
    sentence = _OUTAGES.get(code) or _OUTAGE_CLASSES.get(code[:2])
    return None if sentence is None else _unavailable(sentence)
