"""How an attempt ends in memory: fenced by (job id, token), one move for each action."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from jobs_exec.contracts.backend import Settled
from jobs_exec.job import Action, JobState, RunStatus, Settlement
from jobs_exec.memory.tables import Key, Row, Tables

UNSTORABLE = "what this attempt ended with cannot be stored"


def settle(tables: Tables, batch: Sequence[Settlement]) -> Settled:
    """Writes those of `batch` whose token still names the running attempt."""
    accepted, changed = set(), {}
    for each in batch:
        try:
            written = _settle(tables, each)
        except OverflowError:
            # A time beyond the year 9999, found before anything was written.
            changed[each.ref] = instead = Settlement(each.ref, Action.DEAD, error=UNSTORABLE, reason="result")
            written = _settle(tables, instead)
        if written:
            accepted.add(each.ref)
    return Settled(frozenset(accepted), changed=changed)


def _settle(tables: Tables, settlement: Settlement) -> bool:
    row = tables.queue.get(settlement.ref.job_id)
    if row is None or row.state is not JobState.RUNNING or row.token != settlement.ref.token:
        return False
    if settlement.action is Action.RETRY and row.attempts >= row.job.max_attempts:
        _end(tables, row, RunStatus.DEAD, settlement)
    elif settlement.action.terminal:
        _end(tables, row, RunStatus(settlement.action.value), settlement)
    else:
        _leave(tables, row, settlement)
    return True


def _end(tables: Tables, row: Row, status: RunStatus, settlement: Settlement) -> None:
    kept = settlement.key_ttl if status is RunStatus.SUCCEEDED else None
    expires = None if kept is None else tables.now() + timedelta(seconds=kept)
    if status is not RunStatus.SUCCEEDED:
        _remember(tables, row, settlement)
    run = tables.end(row, status, result=settlement.result, reason=settlement.reason, of=settlement.of)
    if expires is not None:
        tables.keys[row.job.run_hash] = Key(run.ref, expires)


def _leave(tables: Tables, row: Row, settlement: Settlement) -> None:
    """Back into the queue; a failure spends the attempt, every other action returns it."""
    now = tables.now()
    later = now + timedelta(seconds=settlement.delay)
    failed = settlement.action is Action.RETRY
    if failed:
        _remember(tables, row, settlement)
    if settlement.action not in (Action.GIVE_BACK, Action.HOLD):
        # It ran to an end of its own making, so it did not take its executor down. A held one never ran.
        row.suspect = False
    ready = settlement.action is Action.GIVE_BACK and settlement.delay <= 0
    row.leave_attempt(JobState.READY if ready else JobState.SCHEDULED, later, returned=not failed)
    if settlement.action is Action.HOLD:
        row.hold("org", now)


def _remember(tables: Tables, row: Row, settlement: Settlement) -> None:
    if settlement.error is None and settlement.reason is None:
        return
    row.errors.append(
        {
            "attempt": row.attempts,
            "at": tables.now().isoformat(),
            "reason": settlement.reason,
            "error": settlement.error,
        }
    )
