"""What the demonstration shows for people, and the object it prints for programs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jobs_exec_table.demo.scenario import Scenario
from jobs_exec_table.demo.verdict import Group, Outcome

COLUMNS = ("orgs", "jobs", "succeeded", "duplicates", "dead", "wait p50", "wait p99")

NEXT = """\
What to try next:
  jobs-exec dev                        an executor of your own on an embedded Postgres, in this folder
  jobs-exec demo --jobs 50000 --orgs 100
  jobs-exec --help                     enqueue, list, show, retry, cancel, ..."""


def as_object(outcome: Outcome, problems: list[str]) -> dict[str, Any]:
    """One JSON object: the figures, every count, and what is not as expected."""
    ledger, receipts = outcome.ledger, outcome.receipts
    return {
        "ok": not problems,
        "problems": problems,
        "succeeded": ledger.succeeded,
        "duplicates": receipts.of_queued + receipts.of_done,
        "dead": ledger.dead,
        "rejected": len(receipts.refusals),
        "retried": ledger.retried,
        "seconds": round(ledger.seconds, 3),
        "jobs_per_second": round(jobs_per_second(outcome), 1),
        "noisy_wait_p99_ms": round(ledger.noisy_wait_p99_ms, 1),
        "quiet_wait_p99_ms": round(ledger.quiet_wait_p99_ms, 1),
        "receipts": dataclasses.asdict(receipts),
        "tables": dataclasses.asdict(ledger),
        "receiver": dataclasses.asdict(outcome.received),
    }


def jobs_per_second(outcome: Outcome) -> float:
    """Ended jobs over the time from the first claim to the last end; 0 when nothing ended."""
    ledger = outcome.ledger
    ended = ledger.succeeded + ledger.dead + ledger.other_runs
    return ended / ledger.seconds if ledger.seconds else 0.0


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The table: one row a group of orgs."""
    return [_row(group, outcome.receipts.by_group.get(group.name, 0)) for group in outcome.ledger.groups]


def _row(group: Group, duplicates: int) -> dict[str, Any]:
    return {
        "orgs": group.name if group.orgs == 1 else f"{group.name} ({group.orgs} orgs)",
        "jobs": group.jobs,
        "succeeded": group.succeeded,
        "duplicates": duplicates,
        "dead": group.dead,
        "wait p50": _time(group.wait_p50_ms),
        "wait p99": _time(group.wait_p99_ms),
    }


def lines(scenario: Scenario, outcome: Outcome, problems: list[str]) -> Iterator[str]:
    """What is said below the table."""
    receipts, ledger, received = outcome.receipts, outcome.ledger, outcome.received
    yield (
        f"{scenario.jobs} jobs of {scenario.orgs} orgs in {ledger.seconds:.1f} s: "
        f"{jobs_per_second(outcome):.0f} jobs/s, each one a signed HTTP request"
    )
    yield f"duplicates: {receipts.of_queued} repeats of a job that was queued, {receipts.of_done} of one that had run"
    yield f"retried: {ledger.retried} failed attempts; put off by the receiver: {received.answered_503}"
    for refusal, count in Counter(receipts.refusals).items():
        yield f"refused: {refusal}" + f" ({count} times)" * (count > 1)
    yield ""
    if problems:
        yield from (f"NOT AS EXPECTED: {problem}" for problem in problems)
        return
    yield (
        f"Counted three times, all as expected: {receipts.created} receipts, {ledger.succeeded} + {ledger.dead} runs, "
        f"{received.delivered_ids} webhooks received"
    )
    yield ""
    yield NEXT


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
