"""What came of a triggered job, as its caller is told: one value, made in one place from how the engine ended it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import from_json

from jobs_exec.contracts import Start, StartOutcome
from jobs_exec.job import Action, Settlement

if TYPE_CHECKING:
    from jobs_exec.inline import Call, Ending


class TriggerOutcome(StrEnum):
    """What a caller does next depends on this word alone."""

    SUCCEEDED = "succeeded"
    DUPLICATE = "duplicate"
    """The work was done before; `TriggerAnswer.of` is the run that counts."""
    IN_FLIGHT = "in_flight"
    """Somebody else runs it now."""
    FAILED = "failed"
    """It is tried again, by the next call after `TriggerAnswer.retry_after` or by an executor."""
    HELD = "held"
    """Its org is suspended."""
    DEAD = "dead"
    REJECTED = "rejected"
    """Its org is unknown."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ACCEPTED = "accepted"
    """It waits in the queue: the answer of an endpoint that only enqueues."""


@dataclass(frozen=True, slots=True)
class TriggerAnswer:
    """`result` is decoded JSON. `retry_after` is in seconds: a call before spends no attempt and brings nothing.

    `of_state` is set where jobs are only enqueued: how the job `of` stands, a `JobState` or ``succeeded``.
    `hint` says what to pass where a repetition was not meant. `conflict`: the same key came with other data before.
    """

    outcome: TriggerOutcome
    job_id: UUID | None = None
    of: UUID | None = None
    of_state: str | None = None
    result: Any = field(default=None, repr=False)
    attempts_left: int | None = None
    retry_after: float | None = None
    reason: str | None = None
    hint: str | None = None
    conflict: bool = False

    def to_json(self) -> dict[str, Any]:
        """What is known, with ids as text."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: str(value) if isinstance(value, (UUID, TriggerOutcome)) else value
            for name, value in known.items()
            if value is not None
        }


HINT = (
    "the same data ran before, and neither tick nor key was given; "
    "pass tick (the time the call is for) or key if this is another piece of work"
)

RESERVED = "reserved"
"""Why the engine gives a job back whose work is reserved at a store by somebody else."""


def answer_of(ending: Ending, call: Call) -> TriggerAnswer:
    """The answer to `call`."""
    if ending.lost:
        return TriggerAnswer(TriggerOutcome.IN_FLIGHT, ending.start.job_id, conflict=ending.start.conflict)
    if ending.settlement is not None:
        return _attempted(ending.start, ending.settlement, call)
    return _not_started(ending.start, call)


def _not_started(start: Start, call: Call) -> TriggerAnswer:
    told: dict[str, Any] = {"job_id": start.job_id, "reason": start.reason, "conflict": start.conflict}
    match start.outcome:
        case StartOutcome.SUCCEEDED if start.run is not None:
            told |= {"of": start.run.job_id, "result": _decoded(start.run.result), "hint": _hint(call)}
            return TriggerAnswer(TriggerOutcome.DUPLICATE, **told)
        case StartOutcome.WAITING:
            left = start.max_attempts - start.attempts
            return TriggerAnswer(TriggerOutcome.FAILED, attempts_left=left, retry_after=start.wait, **told)
        case StartOutcome.HELD:
            return TriggerAnswer(TriggerOutcome.HELD, **told)
        case StartOutcome.DEAD:
            return TriggerAnswer(TriggerOutcome.DEAD, **told)
        case StartOutcome.CANCELLED:
            return TriggerAnswer(TriggerOutcome.CANCELLED, **told)
        case StartOutcome.EXPIRED:
            return TriggerAnswer(TriggerOutcome.EXPIRED, **told)
    return TriggerAnswer(TriggerOutcome.IN_FLIGHT, **told)


def _attempted(start: Start, settlement: Settlement, call: Call) -> TriggerAnswer:
    told: dict[str, Any] = {"job_id": start.job_id, "reason": settlement.reason, "conflict": start.conflict}
    left = start.max_attempts - start.attempts
    match settlement.action:
        case Action.SUCCEED:
            return TriggerAnswer(TriggerOutcome.SUCCEEDED, result=_decoded(settlement.result), **told)
        case Action.DUPLICATE:
            told |= {"of": settlement.of, "result": _decoded(settlement.result), "hint": _hint(call)}
            return TriggerAnswer(TriggerOutcome.DUPLICATE, **told)
        case Action.RETRY:
            return TriggerAnswer(TriggerOutcome.FAILED, attempts_left=left, retry_after=settlement.delay, **told)
        case Action.GIVE_BACK if settlement.reason == RESERVED:
            # What runs is a job of another queue, known to the store by its work alone.
            return TriggerAnswer(TriggerOutcome.IN_FLIGHT, conflict=start.conflict)
        case Action.SNOOZE | Action.GIVE_BACK:
            return TriggerAnswer(TriggerOutcome.FAILED, attempts_left=left + 1, retry_after=settlement.delay, **told)
        case Action.HOLD:
            return TriggerAnswer(TriggerOutcome.HELD, attempts_left=left + 1, **told)
    # The terminal actions that are left are named like their outcomes.
    return TriggerAnswer(TriggerOutcome(settlement.action.value), **told)


def _hint(call: Call) -> str | None:
    return HINT if call.tick is None and call.envelope.key is None else None


def _decoded(text: str | None) -> Any:
    return None if text is None else from_json(text)
