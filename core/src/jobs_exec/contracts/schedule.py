"""Schedules: which job becomes due for which orgs at which ticks, and where a backend keeps that.

A schedule is a definition (`Schedule`) and a row in the backend's book that remembers how far it has fired. Firing
needs no leader. Whoever finds a schedule due computes its ticks and asks the book to `fire` them: in one transaction
the book checks that the schedule still stands where the asker saw it, inserts the jobs of all orgs and moves it on.
The identity of each job, (schedule, org, tick), is the second belt.

::

    code --sync--> [row: next_tick] --due--> ticks computed here --fire--> jobs + next_tick moved
    add  ------->                                       ^------- busy, moved: somebody else has done it

Times are those of the backend's business clock. A tick is a whole second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID


class Audience(StrEnum):
    """Whom a schedule is for, when no org is named."""

    ALL = "*"
    """All active orgs of the org directory, read anew at every tick."""


class CatchUp(StrEnum):
    """What becomes of ticks that were missed while nobody fired: those older than ``JOB_SCHEDULE_GRACE`` (60 s)."""

    NONE = "none"
    """They are dropped."""
    LAST = "last"
    """The last of them is fired, unless a tick is due that was not missed."""
    ALL = "all"
    """They are fired, at most the last `Schedule.catch_up_limit` of them."""


class Overlap(StrEnum):
    """What becomes of an org's tick while its job of an earlier tick has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    """No job is made for that org."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule as it was defined; made and checked by `jobs_exec.schedule`, valid by construction.

    Either `cron` or `every` (seconds, whole) is set. `cron` is read in `zone` (an IANA name). Ticks of `every` are
    counted from `start`, else from 1970-01-01T00:00:00Z. `orgs` names orgs, or is `Audience.ALL`. Each org's job is
    due up to `jitter` seconds after the tick, the same for an org at every tick. `tick_as` names a field of `data`
    that receives the tick as text (``2026-11-25T13:00:00Z``). No tick lies before `start` nor at or after `end`.
    `owner` names the distribution (or ``application``) that defined it in code, and is ``""`` for one that was added
    at run time; `org_id` is set when it belongs to a tenant, whose org is then the only one it may be for.
    """

    name: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cron: str | None = None
    every: int | None = None
    zone: str = "UTC"
    orgs: tuple[str, ...] | Audience = Audience.ALL
    catch_up: CatchUp = CatchUp.LAST
    catch_up_limit: int = 10
    overlap: Overlap = Overlap.ALLOW
    jitter: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    tick_as: str | None = None
    priority: int = 5
    max_attempts: int | None = None
    enabled: bool = True
    owner: str = ""
    org_id: str | None = None

    @property
    def ref(self) -> ScheduleRef:
        """What names it in the book."""
        return ScheduleRef(self.name, self.owner, self.org_id)


@dataclass(frozen=True, slots=True)
class ScheduleRef:
    """Names one schedule: names are unique for each distribution and for each tenant."""

    name: str
    owner: str = ""
    org_id: str | None = None

    def __str__(self) -> str:
        if self.org_id is not None:
            return f"{self.name} of org {self.org_id}"
        return f"{self.name} of {self.owner}" if self.owner else self.name


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule on its way into the book: `payload` is its data as JSON text, checked; `next_tick` the first one due."""

    schedule: Schedule
    payload: str = field(repr=False)
    next_tick: datetime | None


class ScheduleState(StrEnum):
    """Where a schedule stands: the first of these, after ``active``, that is true of it."""

    ACTIVE = "active"
    PAUSED = "paused"
    """By an operator; survives deployments."""
    DISABLED = "disabled"
    """By its own definition (`Schedule.enabled`)."""
    ORPHANED = "orphaned"
    """Defined in code that no live executor carries: it does not fire, and is not deleted."""
    ENDED = "ended"
    """It has no further tick."""


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """One row of the book. `last_tick` is the last that was fired.

    `fired` counts the ticks that were fired, however many jobs they made, `missed` those that were dropped.
    """

    id: UUID
    schedule: Schedule
    state: ScheduleState
    next_tick: datetime | None
    last_tick: datetime | None = None
    fired: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """The answer to `ScheduleBook.due`: at `now`, `schedules` have a tick that has come; `next_tick` is the next of others."""

    now: datetime
    schedules: tuple[ScheduleView, ...] = ()
    next_tick: datetime | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """Asks to fire `ticks` (oldest first, may be empty) of a schedule for `orgs`, and to go on at `next_tick`.

    `expected` is the `next_tick` that the asker saw: another by now, or a schedule that is not active any more, and
    nothing is done.

    `expected` of None fires out of turn (``schedules run``, `jobs.fire`): `next_tick` stays as it is, and when no tick
    is later than the last one fired it is refused as moved. A paused schedule is refused as well; one that is disabled,
    orphaned or ended is not: whoever fires it out of turn is its clock. `missed` ticks were dropped and are counted.
    """

    schedule: UUID
    ticks: tuple[datetime, ...]
    orgs: tuple[str, ...]
    expected: datetime | None
    next_tick: datetime | None = None
    missed: int = 0


class FireOutcome(StrEnum):
    """What `fire` did."""

    FIRED = "fired"
    BUSY = "busy"
    """Somebody else is firing it at this moment."""
    MOVED = "moved"
    """Somebody else has fired it, or it was changed, paused or removed: nothing was done."""


@dataclass(frozen=True, slots=True)
class Fired:
    """The answer to a `Firing`: `created` jobs were made, `skipped` ones not because of overlap, `duplicates` existed."""

    outcome: FireOutcome
    created: int = 0
    skipped: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules to list, by name: of one tenant, of one owner, with one name; None means any."""

    name: str | None = None
    owner: str | None = None
    org_id: str | None = None
    limit: int = 1000


class ScheduleBook(Protocol):
    """Where schedules are kept (capability ``schedules``). Every method is one transaction."""

    async def now(self) -> datetime:
        """The backend's business clock."""

    async def sync(self, records: Sequence[ScheduleRecord]) -> None:
        """Upserts schedules by what names them (owner, org, name); the later call wins.

        One whose timing (cron, every, zone, start, end) is unchanged keeps its `next_tick`; whether it is paused, its
        last tick and its counts are always kept. Executors announce what they carry with `ExecutorRecord.schedules`.
        """

    async def due(self, limit: int = 100) -> Due:
        """Active schedules whose `next_tick` has come, longest waiting first.

        When there are more than `limit`, the first of every tenant comes before the second of any.
        """

    async def fire(self, firing: Firing) -> Fired:
        """Inserts the jobs of all ticks and orgs and moves the schedule on, in one transaction, or does nothing.

        Queue, identity and attempts come from the announced job type. With overlap ``skip`` an org whose last job of
        this schedule is live gets none, and of several ticks at once an org gets the first. In turn, a tick that is not
        later than one that was fired out of turn makes its jobs all the same, but none for an org that has had its job
        of that tick, whatever became of it.
        """

    async def list(self, where: ScheduleFilter) -> list[ScheduleView]:
        """The rows that match, by name, owner and org."""

    async def add(self, record: ScheduleRecord) -> ScheduleView:
        """A schedule created at run time. Raises `ScheduleExists`."""

    async def remove(self, schedule: UUID) -> bool:
        """Deletes a row; its jobs stay. False when there is none. One in code comes back with its next executor."""

    async def pause(self, schedule: UUID, *, paused: bool, next_tick: datetime | None = None) -> bool:
        """Pauses, or lets it go on at `next_tick` (None: no more); False when there is no such row."""


def tick_text(tick: datetime) -> str:
    """A tick as it stands in identities and payloads: ``2026-11-25T13:00:00Z``."""
    return tick.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tick_key(schedule: UUID, tick: datetime) -> str:
    """The identity (mode ``key``) of a schedule's job at `tick`; the org is in the hash besides."""
    return f"schedule:{schedule}@{tick_text(tick)}"


def tick_payload(payload: str, tick_as: str | None, tick: datetime) -> str:
    """The payload of a job at `tick`: `ScheduleRecord.payload` with the tick as its last field, where it is wanted.

    It is spliced in as text: a database that read the object and wrote it again would change its numbers.
    """
    if tick_as is None:
        return payload
    comma = "" if payload == "{}" else ","
    field = json.dumps(tick_as, ensure_ascii=False)
    return f'{payload[:-1]}{comma}{field}:"{tick_text(tick)}"}}'


def jitter_of(schedule: UUID, org_id: str, jitter: float) -> float:
    """Seconds by which the jobs of one org are delayed: `jitter` times a share of it, 0 up to but not 1.

    The share is the first 4 bytes (big-endian) of SHA-256(schedule id, 16 bytes ‖ org id, UTF-8), divided by 2**32.
    """
    share = int.from_bytes(sha256(schedule.bytes + org_id.encode()).digest()[:4], "big") / 2**32
    return jitter * share
