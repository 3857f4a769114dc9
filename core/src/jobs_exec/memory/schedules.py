"""The schedule book in memory. Every method runs to its end without an await, so two of them never meet in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from jobs_exec.contracts.plugin import Policy
from jobs_exec.contracts.schedule import (
    Due,
    Fired,
    FireOutcome,
    Firing,
    Overlap,
    Schedule,
    ScheduleFilter,
    ScheduleRecord,
    ScheduleRef,
    ScheduleState,
    ScheduleView,
    jitter_of,
    tick_key,
    tick_payload,
)
from jobs_exec.errors import ScheduleExists
from jobs_exec.identity import Identity, digest, new_job_id, payload_digest, run_hash
from jobs_exec.job import NewJob, Receipt
from jobs_exec.memory.tables import ScheduleRow, Tables

Enqueue = Callable[[NewJob], Receipt]
Wake = Callable[[Sequence[str]], Awaitable[None]]


class MemoryBook:
    """See `jobs_exec.contracts.ScheduleBook`. `enqueue` inserts a job or finds the one it repeats."""

    def __init__(self, tables: Tables, policy: Policy, enqueue: Enqueue, wake: Wake) -> None:
        self._tables = tables
        self._policy = policy
        self._enqueue = enqueue
        self._wake = wake

    async def now(self) -> datetime:
        """The business clock."""
        return self._tables.now()

    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        """Upserts schedules of code; what an operator did and how far one has fired stays."""
        for record in records:
            row = self._named(record.schedule.ref)
            if row is None:
                self._insert(record)
                continue
            if _timing(row.schedule) != _timing(record.schedule):
                row.next_tick = record.next_tick
            row.schedule, row.payload = record.schedule, record.payload

    async def due(self, limit: int = 100) -> Due:
        """Active schedules whose tick has come, the first of every tenant before the second of any."""
        now = self._tables.now()
        active = [row for row in self._tables.schedules.values() if self._state(row) is ScheduleState.ACTIVE]
        active.sort(key=_standing)
        come = [row for row in active if _standing(row) <= now]
        later = [_standing(row) for row in active[len(come) :]]
        taken = come if len(come) <= limit else _in_turn(come)[:limit]
        return Due(now, tuple(self._view(row) for row in taken), later[0] if later else None)

    async def fire(self, firing: Firing) -> Fired:
        """Inserts the jobs of all ticks and orgs and moves the schedule on, or does nothing."""
        row = self._tables.schedules.get(firing.schedule)
        if row is None:
            return Fired(FireOutcome.MOVED)
        new = [tick for tick in firing.ticks if row.last_tick is None or tick > row.last_tick]
        ticks = new if firing.expected is None else firing.ticks
        if not self._may_fire(row, firing, ticks):
            return Fired(FireOutcome.MOVED)
        made, duplicates = self._insert_jobs(row, ticks, firing.orgs)
        row.last_tick = new[-1] if new else row.last_tick
        row.fired += len(ticks) if made else len(new)
        row.missed += firing.missed
        if firing.expected is not None:
            row.next_tick = firing.next_tick
        await self._wake([self._queue(row.schedule)])
        skipped = len(ticks) * len(firing.orgs) - made - duplicates
        return Fired(FireOutcome.FIRED, made, skipped, duplicates)

    async def add(self, record: ScheduleRecord) -> ScheduleView:
        """A schedule created at run time. Raises `ScheduleExists`."""
        if self._named(record.schedule.ref) is not None:
            raise ScheduleExists(str(record.schedule.ref))
        return self._view(self._insert(record))

    async def remove(self, schedule: UUID) -> bool:
        """Deletes a row; its jobs stay."""
        return self._tables.schedules.pop(schedule, None) is not None

    async def pause(self, schedule: UUID, *, paused: bool, next_tick: datetime | None = None) -> bool:
        """Pauses, or lets it go on at `next_tick`."""
        row = self._tables.schedules.get(schedule)
        if row is not None:
            row.paused = paused
            row.next_tick = row.next_tick if paused else next_tick
        return row is not None

    async def list(self, where: ScheduleFilter) -> list[ScheduleView]:
        """The rows that match, by name, owner and org."""
        rows = [row for row in self._tables.schedules.values() if _matches(row.schedule, where)]
        rows.sort(key=lambda row: (row.schedule.name, row.schedule.owner, row.schedule.org_id or ""))
        return [self._view(row) for row in rows[: where.limit]]

    # --- rows --------------------------------------------------------------------------------------------

    def _insert(self, record: ScheduleRecord) -> ScheduleRow:
        row = ScheduleRow(uuid4(), record.schedule, record.payload, record.next_tick)
        self._tables.schedules[row.id] = row
        return row

    def _named(self, ref: ScheduleRef) -> ScheduleRow | None:
        return next((row for row in self._tables.schedules.values() if row.schedule.ref == ref), None)

    def _state(self, row: ScheduleRow) -> ScheduleState:
        if row.paused:
            return ScheduleState.PAUSED
        if not row.schedule.enabled:
            return ScheduleState.DISABLED
        if row.schedule.owner and not self._carried(row.schedule.ref):
            return ScheduleState.ORPHANED
        return ScheduleState.ACTIVE if row.next_tick is not None else ScheduleState.ENDED

    def _carried(self, ref: ScheduleRef) -> bool:
        executors = self._tables.executors.values()
        return any(executor.live and ref in executor.record.schedules for executor in executors)

    def _view(self, row: ScheduleRow) -> ScheduleView:
        state = self._state(row)
        return ScheduleView(row.id, row.schedule, state, row.next_tick, row.last_tick, row.fired, row.missed)

    # --- firing ------------------------------------------------------------------------------------------

    def _may_fire(self, row: ScheduleRow, firing: Firing, ticks: Sequence[datetime]) -> bool:
        state = self._state(row)
        if firing.expected is None:
            return state is not ScheduleState.PAUSED and bool(ticks)
        return state is ScheduleState.ACTIVE and row.next_tick == firing.expected

    def _insert_jobs(self, row: ScheduleRow, ticks: Sequence[datetime], orgs: Sequence[str]) -> tuple[int, int]:
        """How many jobs were made, and how many existed."""
        made = duplicates = 0
        for tick in ticks:
            for org in orgs:
                if row.schedule.overlap is Overlap.SKIP and row.jobs.get(org) in self._tables.queue:
                    continue
                job = self._job(row, tick, org)
                if row.last_tick is not None and tick <= row.last_tick and self._has_ended(job):
                    duplicates += 1
                    continue
                receipt = self._enqueue(job)
                row.jobs[org] = receipt.id
                made, duplicates = made + (not receipt.duplicate), duplicates + receipt.duplicate
        return made, duplicates

    def _has_ended(self, job: NewJob) -> bool:
        """It had its job, out of turn; also one that died gets no other."""
        return any(run.row.job.run_hash == job.run_hash for run in self._tables.runs.values())

    def _job(self, row: ScheduleRow, tick: datetime, org: str) -> NewJob:
        made = row.schedule
        known = self._tables.types.get(made.type)
        announced = None if known is None else known.max_attempts
        payload = tick_payload(row.payload, made.tick_as, tick)
        full_hash = run_hash(org, made.type, Identity.KEY, tick_key(row.id, tick).encode())
        return NewJob(
            id=new_job_id(),
            org_id=org,
            type=made.type,
            queue=self._queue(made),
            payload=payload,
            identity=Identity.KEY,
            run_hash=full_hash,
            digest=digest(full_hash),
            payload_digest=payload_digest(payload.encode()),
            max_attempts=made.max_attempts or announced or self._policy.max_attempts,
            priority=made.priority,
            run_at=tick + timedelta(seconds=jitter_of(row.id, org, made.jitter)),
        )

    def _queue(self, made: Schedule) -> str:
        known = self._tables.types.get(made.type)
        return "default" if known is None else known.queue


def _standing(row: ScheduleRow) -> datetime:
    assert row.next_tick is not None  # noqa: S101  (it is active)
    return row.next_tick


def _timing(made: Schedule) -> Schedule:
    """What decides when a schedule ticks, and nothing else of it."""
    return Schedule(name="", type="", cron=made.cron, every=made.every, zone=made.zone, start=made.start, end=made.end)


def _matches(made: Schedule, where: ScheduleFilter) -> bool:
    wanted = ((where.name, made.name), (where.owner, made.owner), (where.org_id, made.org_id))
    return all(asked is None or asked == has for asked, has in wanted)


def _in_turn(come: Sequence[ScheduleRow]) -> list[ScheduleRow]:
    """The first of every tenant before the second of any; those that belong to no tenant wait for nobody."""
    seen: Counter[str | None] = Counter()
    turns = []
    for row in come:
        tenant = row.schedule.org_id
        seen[tenant] += tenant is not None
        turns.append((seen[tenant], row))
    return [row for _, row in sorted(turns, key=lambda pair: pair[0])]
