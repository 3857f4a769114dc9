"""The book of schedules on Postgres: one statement a method, `jobs.jobs_fire_v1` behind `fire`.

A firing for 10,000 orgs is one call with one array. From `CHUNK` jobs on it takes several calls in one transaction,
of which the last moves the schedule on: the parameters and the sort of a million jobs would fill the server's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg import Rollback
from psycopg.rows import TupleRow

from jobs_exec.contracts import (
    Due,
    Fired,
    FireOutcome,
    Firing,
    Policy,
    ScheduleFilter,
    ScheduleRecord,
    ScheduleState,
    ScheduleView,
)
from jobs_exec.errors import ScheduleExists
from jobs_exec_table.connections import Conn, Connections
from jobs_exec_table.schedule_rows import row_of, schedule_key, utc, view_of
from jobs_exec_table.statements import statement

CHUNK = 50_000
"""Jobs that one call inserts."""

Wake = Callable[[Sequence[str]], None]


class TableBook:
    """See `jobs_exec.contracts.ScheduleBook`. Raises `BackendUnavailable` when the database cannot be reached."""

    def __init__(self, connections: Connections, policy: Policy, wake: Wake) -> None:
        self._connections = connections
        self._policy = policy
        self._wake = wake

    async def now(self) -> datetime:
        """The business clock of the database."""
        ((now,),) = await self._rows("clock", {})
        return _present(now)

    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        """See `ScheduleBook.sync`. A row that says what it shall is not written."""
        if not records:
            return
        # In one order, so that executors that start at once wait for each other instead of blocking each other.
        ordered = sorted(records, key=lambda each: schedule_key(each.schedule.ref))
        async with self._connections.transaction() as connection:
            for record in ordered:
                await connection.execute(statement("schedule_put"), row_of(record) | {"replace": True})

    async def due(self, limit: int = 100) -> Due:
        """See `ScheduleBook.due`."""
        rows = await self._rows("schedules_due", {"limit": limit})
        now, next_tick, *_ = rows[0]
        schedules = tuple(view_of(row[2:]) for row in rows if row[2] is not None)
        return Due(_present(now), schedules, utc(next_tick))

    async def fire(self, firing: Firing) -> Fired:
        """See `ScheduleBook.fire`. BUSY also when some transaction has held one of the jobs for 3 s."""
        calls = list(self._calls(firing))
        answers = await (self._fire_one(calls[0]) if len(calls) == 1 else self._fire_all(calls))
        outcome, *_, queue = answers[-1]
        if outcome != FireOutcome.FIRED:
            return Fired(FireOutcome(outcome))
        self._wake([queue])
        return Fired(FireOutcome.FIRED, *(sum(answer[place] for answer in answers) for place in (1, 2, 3)))

    async def add(self, record: ScheduleRecord) -> ScheduleView:
        """See `ScheduleBook.add`."""
        rows = await self._rows("schedule_put", row_of(record) | {"replace": False})
        if not rows:
            raise ScheduleExists(str(record.schedule.ref))
        ((schedule_id, state),) = rows
        return ScheduleView(schedule_id, record.schedule, ScheduleState(state), record.next_tick)

    async def remove(self, schedule: UUID) -> bool:
        """See `ScheduleBook.remove`."""
        return bool(await self._rows("schedule_remove", {"id": schedule}))

    async def pause(self, schedule: UUID, *, paused: bool, next_tick: datetime | None = None) -> bool:
        """See `ScheduleBook.pause`."""
        return bool(await self._rows("schedule_pause", {"id": schedule, "paused": paused, "next": next_tick}))

    async def list(self, where: ScheduleFilter) -> list[ScheduleView]:
        """See `ScheduleBook.list`."""
        wanted = {"name": where.name, "owner": where.owner, "org_id": where.org_id, "limit": where.limit}
        return [view_of(row) for row in await self._rows("schedules_list", wanted)]

    # --- inside ------------------------------------------------------------------------------------------

    def _calls(self, firing: Firing) -> Iterator[dict[str, object]]:
        """The parameters of each call, one at least."""
        size = max(1, CHUNK // max(1, len(firing.ticks)))
        for start in range(0, max(1, len(firing.orgs)), size):
            yield {
                "schedule": firing.schedule,
                "expected": firing.expected,
                "ticks": [*firing.ticks],
                "orgs": [*firing.orgs[start : start + size]],
                "next": firing.next_tick,
                "missed": firing.missed,
                "max_attempts": self._policy.max_attempts,
                "more": start + size < len(firing.orgs),
            }

    async def _fire_one(self, call: Mapping[str, object]) -> Sequence[TupleRow]:
        async with self._connections.connection() as connection:
            return [await _fire(connection, call)]

    async def _fire_all(self, calls: Sequence[Mapping[str, object]]) -> Sequence[TupleRow]:
        """The answers of all calls, or up to the first that was refused: then nothing has been done."""
        answers: list[TupleRow] = []
        async with self._connections.connection() as connection, connection.transaction():
            for call in calls:
                answers.append(await _fire(connection, call))
                if answers[-1][0] != FireOutcome.FIRED:
                    raise Rollback
        return answers

    async def _rows(self, name: str, parameters: Mapping[str, object]) -> Sequence[TupleRow]:
        async with self._connections.connection() as connection:
            return await (await connection.execute(statement(name), parameters)).fetchall()


async def _fire(connection: Conn, call: Mapping[str, object]) -> TupleRow:
    (row,) = await (await connection.execute(statement("schedule_fire"), call)).fetchall()
    return row


def _present(now: datetime) -> datetime:
    time = utc(now)
    assert time is not None  # noqa: S101  (the clock always answers)
    return time
