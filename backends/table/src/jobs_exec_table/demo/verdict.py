"""Three independent counts of one demonstration, and whether they are what they must be.

`Receipts` is what enqueue said, `Ledger` what SQL finds in the tables afterwards, `Received` what the receiver
counted at the other end of the wire. None is derived from another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jobs_exec_table.demo.scenario import MANY_TIMES, NOISY, Expected

FAIR_SHARE = 5
"""The others' wait (p99) is at most the noisy one's divided by this."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """What enqueue answered; duplicates of jobs that waited and of jobs that had run, `by_group` together."""

    created: int
    of_queued: int
    of_done: int
    refusals: tuple[str, ...]
    by_group: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one group of orgs; waits (enqueue to first claim) in milliseconds."""

    name: str
    orgs: int
    jobs: int
    succeeded: int
    dead: int
    wait_p50_ms: float
    wait_p99_ms: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is in the tables; `seconds` from the first claim to the last end.

    `dead_in_full` are the dead runs with exactly the expected number of attempts, `retried` the failed attempts that
    had attempts left. `quiet_wait_p99_ms` is over all orgs but the noisy one.
    """

    groups: tuple[Group, ...]
    succeeded: int
    dead: int
    dead_in_full: int
    other_runs: int
    queued: int
    retried: int
    seconds: float
    noisy_wait_p99_ms: float
    quiet_wait_p99_ms: float


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived: distinct webhook-ids answered 2xx and 500, numbers of answers; `refused` were not signed."""

    delivered_ids: int
    answered_500: int
    failed_ids: int
    answered_503: int
    refused: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that was counted."""

    receipts: Receipts
    ledger: Ledger
    received: Received


def mismatches(expected: Expected, outcome: Outcome) -> list[str]:
    """One sentence for each figure that is not as expected; empty when all is well."""
    return [
        *(
            f"{what}: {found} instead of {wanted}"
            for what, found, wanted in _pairs(expected, outcome)
            if found != wanted
        ),
        *_unfair(outcome.ledger),
    ]


def _pairs(expected: Expected, outcome: Outcome) -> Iterator[tuple[str, int, int]]:
    receipts, ledger, received = outcome.receipts, outcome.ledger, outcome.received
    yield "receipts, created", receipts.created, expected.created
    yield "receipts, duplicate of a queued job", receipts.of_queued, expected.duplicates // 2
    yield "receipts, duplicate of a run", receipts.of_done, expected.duplicates // 2
    yield "receipts, refused", len(receipts.refusals), expected.refused
    yield "tables, runs succeeded", ledger.succeeded, expected.succeeded
    yield "tables, runs dead", ledger.dead, expected.dead
    yield f"tables, dead after {expected.attempts_of_dead} attempts", ledger.dead_in_full, expected.dead
    yield "tables, other runs", ledger.other_runs, 0
    yield "tables, jobs left in the queue", ledger.queued, 0
    yield "receiver, webhook-ids answered 2xx", received.delivered_ids, expected.succeeded
    yield "receiver, answers 500", received.answered_500, expected.failures
    yield "receiver, webhook-ids answered 500", received.failed_ids, expected.dead
    yield "receiver, answers 503", received.answered_503, expected.snoozes
    yield "receiver, deliveries without a valid signature", received.refused, 0


def _unfair(ledger: Ledger) -> Iterator[str]:
    if ledger.quiet_wait_p99_ms * FAIR_SHARE > ledger.noisy_wait_p99_ms:
        yield (
            f"fairness: the other orgs waited {ledger.quiet_wait_p99_ms:.0f} ms (p99), more than a fifth of "
            f"the {ledger.noisy_wait_p99_ms:.0f} ms of {NOISY}, which queued {MANY_TIMES} times as much and more"
        )
