"""The endpoint while its database is away: alive, not ready, and refusing in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from databases import Database
from psycopg import sql
from serving import serving

CALL = {"orgId": "acme", "type": "echo", "data": {"secret": "canary"}}


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Nobody reaches the database inside the block."""
    name = sql.Identifier(database.name)
    allow = sql.SQL("alter database {} with allow_connections {}")
    database.server.execute(allow.format(name, sql.SQL("false")))
    ends = sql.SQL("select pg_terminate_backend(pid) from pg_stat_activity where datname = {}")
    database.server.execute(ends.format(sql.Literal(database.name)))
    try:
        yield
    finally:
        database.server.execute(allow.format(name, sql.SQL("true")))


def test_it_is_alive_but_not_ready_without_its_database_and_comes_back_by_itself(
    migrated: Database, folder: Path
) -> None:
    with serving(folder, migrated, JOB_LEASE_SECONDS="1") as served:
        assert served.get("/readyz").status_code == 200
        with away(migrated):
            refused = served.post(CALL)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            served.running.until(lambda: served.get("/readyz").status_code == 503, "the end of the lease")
            assert served.get("/readyz").json() == {"status": "not ready"}
            assert served.get("/livez").status_code == 200
            assert served.post({}, "/tick").status_code == 503
        served.running.until(lambda: served.get("/readyz").status_code == 200, "the return of the database")
        assert served.post(CALL).json()["outcome"] == "succeeded"
        assert "Traceback" not in served.said()
        assert "canary" not in served.said()
