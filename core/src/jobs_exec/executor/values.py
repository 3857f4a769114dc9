"""What an executor says about itself: its mode, its state, its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from jobs_exec.job import Action


class Mode(StrEnum):
    """When an executor ends by itself."""

    FOREVER = "forever"
    DRAIN = "drain"
    """When claims answer empty in all queues, nothing runs and nothing is due."""
    ONCE = "once"
    """After one claim round in every queue."""
    HANDED = "handed"
    """Never: it claims nothing and runs the jobs that are handed to it."""


class State(StrEnum):
    """``new -> running -> draining -> stopped``; `drain` and the end of a mode lead from the second to the third."""

    NEW = "new"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts since the start. `failed` attempts are those that will be tried again plus those that are dead.

    `lost` attempts were taken over by somebody else, `returned` ones were given back. `running` is a count of now.
    """

    claimed: int = 0
    running: int = 0
    succeeded: int = 0
    retried: int = 0
    dead: int = 0
    duplicates: int = 0
    cancelled: int = 0
    expired: int = 0
    rejected: int = 0
    snoozed: int = 0
    held: int = 0
    returned: int = 0
    lost: int = 0
    stuck: int = 0

    @property
    def failed(self) -> int:
        """Attempts that failed."""
        return self.retried + self.dead


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How an executor ended: 0 after a graceful end, 1 otherwise (then `problem` says why).

    `held_types` counts the jobs that it left held because nobody carries their type, by type, as it last heard.
    """

    exit_code: int
    counts: Progress
    problem: str | None = None
    held_types: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """The mutable side of `Progress`."""

    claimed: int = 0
    running_now: Callable[[], int] = lambda: 0
    lost: int = 0
    stuck: int = 0
    settled: Counter[Action] = field(default_factory=Counter)

    def progress(self) -> Progress:
        """The figures of now."""
        done = self.settled
        return Progress(
            claimed=self.claimed,
            running=self.running_now(),
            succeeded=done[Action.SUCCEED],
            retried=done[Action.RETRY],
            dead=done[Action.DEAD],
            duplicates=done[Action.DUPLICATE],
            cancelled=done[Action.CANCEL],
            expired=done[Action.EXPIRE],
            rejected=done[Action.REJECT],
            snoozed=done[Action.SNOOZE],
            held=done[Action.HOLD],
            returned=done[Action.GIVE_BACK],
            lost=self.lost,
            stuck=self.stuck,
        )
