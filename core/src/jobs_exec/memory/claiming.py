"""The fair claim in memory: the first job of every org before the second of any.

The orgs with ready jobs form a ring. A claim starts behind its cursor, looks at each org's jobs in their order
(priority, then arrival) and takes them by round. When the batch is full the cursor is the last org *served*, or
the orgs behind a heavy one would be skipped every lap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from jobs_exec.contracts.backend import Claim, ClaimKind, ClaimRequest, Ended, Position
from jobs_exec.identity import Identity
from jobs_exec.job import ClaimedJob, JobState, RunStatus
from jobs_exec.memory.tables import Row, Tables


@dataclass(slots=True)
class _Walk:
    """One claim in progress."""

    tables: Tables
    request: ClaimRequest
    now: datetime
    taken: list[Row] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    size: int = 0
    stopped_short: bool = False

    def ready(self) -> dict[str, list[Row]]:
        """The jobs this claim may look at, by org, in ring order from the cursor."""
        suspect = self.request.kind is ClaimKind.SUSPECT
        orgs: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.tables.queue.values():
            if row.state is JobState.READY and row.queue == self.request.queue and row.suspect is suspect:
                orgs[row.job.org_id].append(row)
        for rows in orgs.values():
            rows.sort(key=lambda row: (row.job.priority, row.seq))
        cursor = self.request.cursor
        return {org: orgs[org] for org in sorted(orgs, key=lambda org: (org <= cursor, org))}

    def candidates(self) -> Iterator[Row]:
        """Rows this executor can run, the first of every org before the second of any."""
        lines = [self._line(org, rows) for org, rows in self.ready().items()]
        for rank in range(max(map(len, lines), default=0)):
            yield from (line[rank] for line in lines if rank < len(line))

    def _line(self, org: str, rows: list[Row]) -> list[Row]:
        """The jobs of one org, without those that end at claim or are somebody else's, up to its share."""
        mine = [row for row in rows if self._runnable(row)]
        room = max(0, self.request.org_slots - self.request.org_running.get(org, 0))
        self.stopped_short |= len(mine) > room
        return mine[:room]

    def _runnable(self, row: Row) -> bool:
        if row.job.type not in self.request.types:
            self.foreign.add(row.job.type)
            return False
        return not self._ends(row)

    def _ends(self, row: Row) -> bool:
        """Ends a job that is past its time or whose work has been done."""
        job = row.job
        if row.expires_at is not None and row.expires_at <= self.now:
            self.tables.end(row, RunStatus.EXPIRED, reason="expires_at")
            self.ended.append(Ended(job.id, job.org_id, job.type, RunStatus.EXPIRED))
            return True
        done = None if job.identity is Identity.NONE else self.tables.success(job.run_hash)
        if done is not None:
            self.tables.end(row, RunStatus.DUPLICATE, of=done.job_id)
            self.ended.append(Ended(job.id, job.org_id, job.type, RunStatus.DUPLICATE, done.job_id))
        return done is not None

    def fits(self, row: Row) -> bool:
        """True while the batch has room for `row`; the first job is always allowed."""
        self.size += len(row.job.payload.encode())
        limit = 1 if self.request.kind is ClaimKind.SUSPECT else self.request.limit
        return len(self.taken) < limit and (not self.taken or self.size <= self.request.max_bytes)


def claim(tables: Tables, request: ClaimRequest) -> Claim:
    """Makes ready jobs running for the executor of `request`; none without a live lease."""
    if request.limit < 1:
        return Claim(cursor=request.cursor)
    executor = tables.executors.get(request.executor)
    if executor is None or not executor.live:
        return Claim(position=Position.NO_LEASE, cursor=request.cursor)
    walk = _Walk(tables, request, tables.now())
    for row in walk.candidates():
        if not walk.fits(row):
            walk.stopped_short = True
            break
        walk.taken.append(row)
    jobs = tuple(begin(row, request.executor, walk.now) for row in walk.taken)
    more = walk.stopped_short or bool(walk.foreign)
    return Claim(
        jobs=jobs,
        ended=tuple(walk.ended),
        position=Position.WALKED if more else Position.EMPTY,
        cursor=jobs[-1].org_id if jobs else request.cursor,
        foreign=frozenset(walk.foreign),
        suspects=_has_suspects(tables, request.queue),
    )


def _has_suspects(tables: Tables, queue: str) -> bool:
    return any(r.suspect and r.state is JobState.READY and r.queue == queue for r in tables.queue.values())


def begin(row: Row, executor: UUID, now: datetime) -> ClaimedJob:
    """Makes it running: attempt counted, new token."""
    row.state, row.executor, row.started_at = JobState.RUNNING, executor, now
    row.attempts += 1
    row.token += 1
    job = row.job
    return ClaimedJob(
        id=job.id,
        org_id=job.org_id,
        type=job.type,
        queue=row.queue,
        payload=job.payload,
        attempt=row.attempts,
        max_attempts=job.max_attempts,
        token=row.token,
        priority=job.priority,
        created_at=row.created_at,
        age=row.age(now),
        identity=job.identity,
        run_hash=job.run_hash,
        expires_at=row.expires_at,
        trace=job.trace,
        suspect=row.suspect,
        crashes=row.crashes,
    )
