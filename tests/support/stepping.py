"""Executors stepped by hand against a real queue: one claim, one promotion at a time, and the rows each one read.

What they remember between two calls (where they left the ring of orgs) they remember as the backend does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import TupleRow, dict_row

from jobs_exec_table.statements import statement

RETENTION = 30 * 86_400.0
MUCH = 1 << 40

FILL = """
insert into jobs.jobs_queue (org_id, type, queue, identity, run_hash, digest, payload_digest, state, run_at,
    held_since, reason, payload)
select o.org_id, %(type)s, %(queue)s, %(identity)s::jobs.identity_mode, h, encode(substring(h from 1 for 16), 'hex')::uuid, gen_random_uuid(),
    %(state)s::jobs.job_state, now() - interval '1 hour' + i * interval '1 microsecond',
    case %(state)s when 'held' then now() end, case %(state)s when 'held' then %(reason)s end,
    json_build_object('text', repeat('x', %(bytes)s))
from unnest(%(orgs)s::text[], %(counts)s::integer[]) with ordinality as o(org_id, count, n)
cross join lateral generate_series(1, o.count) i
cross join lateral (select sha256(uuid_send(gen_random_uuid())) as h where i is not null) s
"""
ROWS = """
select coalesce(sum(seq_scan), 0), coalesce(sum(seq_tup_read + idx_tup_fetch), 0)
from pg_stat_xact_all_tables
where schemaname = 'jobs' and relname in ('jobs_queue', 'job_runs', 'job_keys')
"""


def org(number: int) -> str:
    """The `number`-th org in the order of the ring."""
    return f"org-{number:06}"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue to fill and to look into, over a connection of its own in autocommit mode."""

    connection: psycopg.Connection[TupleRow]

    def fill(
        self,
        counts: Mapping[str, int],
        *,
        type: str = "work",
        queue: str = "default",
        state: str = "ready",
        reason: str = "org",
        bytes: int = 1,
        identity: str = "none",
    ) -> None:
        """Inserts `counts[org]` jobs of each org in one statement, scheduled ones an hour overdue."""
        values = {
            "type": type,
            "queue": queue,
            "state": state,
            "reason": reason,
            "bytes": bytes,
            "identity": identity,
        }
        orgs = {"orgs": list(counts), "counts": list(counts.values())}
        self.connection.execute(FILL, {**values, **orgs})

    def settle_statistics(self) -> None:
        """As autovacuum would."""
        self.connection.execute("vacuum analyze jobs.jobs_queue")

    def empty(self) -> None:
        """No jobs, no memory of where the ring was left, no executors."""
        self.connection.execute("truncate jobs.jobs_queue, jobs.job_runs, jobs.job_cursors")
        self.connection.execute("delete from jobs.job_executors")
        self.connection.execute("delete from jobs.job_types")

    def counts(self, state: str) -> dict[str, int]:
        """Jobs of each org in one state."""
        text = "select org_id::text, count(*) from jobs.jobs_queue where state = %s group by org_id"
        return {row[0]: row[1] for row in self.connection.execute(text, (state,)).fetchall()}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one claim came to: the org of every job, in the order they were handed out."""

    orgs: tuple[str, ...]
    ids: tuple[UUID, ...]
    payload_bytes: tuple[int, ...]
    position: str
    foreign: str

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.orgs)


@dataclass(slots=True)
class Stepped:
    """One executor; `rows` is what its last statement read."""

    connection: psycopg.Connection[TupleRow]
    types: Sequence[str] = ("work",)
    queue: str = "default"
    cursor: str = ""
    promoted: dict[str, Any] = field(default_factory=lambda: {"cursor": "", "held_cursor": ""})
    rows: int = 0
    id: UUID = field(default_factory=uuid4)

    def join(self) -> Stepped:
        """Announces itself with a lease that outlives the test."""
        count = len(self.types)
        record = {
            "id": self.id,
            "name": "stepped",
            "lease": 3600.0,
            "queues": [self.queue],
            "types": list(self.types),
            "type_queues": [self.queue] * count,
            "identities": ["none"] * count,
            "max_attempts": [None] * count,
            "schedules": [],
        }
        self.connection.execute(statement("join"), record)
        return self

    def claim(
        self,
        limit: int,
        *,
        max_bytes: int = MUCH,
        org_slots: int = 1_000_000,
        busy: Mapping[str, int] | None = None,
    ) -> Taken:
        """One claim of up to `limit` jobs, from where the last one left the ring."""
        found = self._counted(
            "claim",
            {
                "executor": self.id,
                "queue": self.queue,
                "types": list(self.types),
                "limit": limit,
                "max_bytes": max_bytes,
                "cursor": self.cursor,
                "org_slots": org_slots,
                "busy_orgs": list(busy or {}),
                "busy": list((busy or {}).values()),
                "retention": RETENTION,
            },
        )
        position, jobs = found[0], [row for row in found if row["kind"] == "job"]
        self.cursor = position["org_id"]
        return Taken(
            tuple(job["org_id"] for job in jobs),
            tuple(job["id"] for job in jobs),
            tuple(len(job["payload"]) for job in jobs),
            position["status"],
            position["payload"],
        )

    def promote(self, limit: int, *, suspended: Sequence[str] = (), active: Sequence[str] = ()) -> dict[str, Any]:
        """One pass of upkeep, from where the last one left its rings."""
        self.promoted = self._counted(
            "promote",
            {
                "limit": limit,
                "cursor": self.promoted["cursor"],
                "held_cursor": self.promoted["held_cursor"],
                "suspended": list(suspended),
                "active": list(active),
                "retention": RETENTION,
            },
        )[0]
        return self.promoted

    def _counted(self, name: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        """Runs one statement; a scan of a whole table fails the test."""
        with self.connection.transaction():
            scans, rows = self.connection.execute(ROWS).fetchall()[0]
            answer = self.connection.cursor(row_factory=dict_row).execute(statement(name), parameters).fetchall()
            scans_after, rows_after = self.connection.execute(ROWS).fetchall()[0]
        assert scans_after == scans, f"{name} scanned a table from end to end"
        self.rows = int(rows_after - rows)
        return answer
