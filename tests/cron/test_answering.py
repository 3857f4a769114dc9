"""Every way a handed-over job can end, as its caller is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobs_exec import Envelope
from jobs_exec.contracts import Start, StartOutcome
from jobs_exec.inline import Call, Ending
from jobs_exec.job import Action, AttemptRef, RunRef, Settlement
from jobs_exec_cron import TriggerAnswer, TriggerOutcome
from jobs_exec_cron.answering import answer_of

JOB, OTHER = uuid4(), uuid4()
CALL = Call(Envelope("acme", "work"))


def started(action: Action, **settled: Any) -> TriggerAnswer:
    """What is said of the second of five attempts that was settled so."""
    start = Start(StartOutcome.STARTED, JOB, attempts=2, max_attempts=5)
    return answer_of(Ending(start, Settlement(AttemptRef(JOB, 1), action, **settled)), CALL)


def refused(outcome: StartOutcome, job_id: UUID | None = JOB, **start: Any) -> TriggerAnswer:
    return answer_of(Ending(Start(outcome, job_id, attempts=2, max_attempts=5, **start)), CALL)


@pytest.mark.parametrize(
    ("action", "outcome", "left"),
    [
        (Action.SUCCEED, "succeeded", None),
        (Action.DUPLICATE, "duplicate", None),
        (Action.DEAD, "dead", None),
        (Action.CANCEL, "cancelled", None),
        (Action.EXPIRE, "expired", None),
        (Action.REJECT, "rejected", None),
        (Action.RETRY, "failed", 3),
        (Action.SNOOZE, "failed", 4),
        (Action.GIVE_BACK, "failed", 4),
        (Action.HOLD, "held", 4),
    ],
)
def test_every_action_has_its_outcome_and_returned_attempts_are_counted(
    action: Action, outcome: str, left: int | None
) -> None:
    answer = started(action)
    assert (answer.outcome.value, answer.attempts_left, answer.job_id) == (outcome, left, JOB)


def test_no_action_is_left_out() -> None:
    assert {started(action).outcome.value for action in Action} <= {each.value for each in TriggerOutcome}


@pytest.mark.parametrize("action", [Action.RETRY, Action.SNOOZE, Action.GIVE_BACK])
def test_what_comes_back_says_when(action: Action) -> None:
    assert started(action, delay=12.5).retry_after == 12.5


def test_work_that_is_reserved_elsewhere_is_in_flight_under_no_job_of_ours() -> None:
    answer = started(Action.GIVE_BACK, reason="reserved")
    assert (answer.outcome, answer.job_id) == (TriggerOutcome.IN_FLIGHT, None)


def test_an_attempt_that_was_lost_is_somebody_elses_now() -> None:
    start = Start(StartOutcome.STARTED, JOB, attempts=1, max_attempts=5)
    lost = Ending(start, Settlement(AttemptRef(JOB, 1), Action.SUCCEED, result='"mine"'), lost=True)
    answer = answer_of(lost, CALL)
    assert (answer.outcome, answer.result) == (TriggerOutcome.IN_FLIGHT, None)


def test_what_was_not_started_says_why() -> None:
    run = RunRef(OTHER, 3, datetime(2026, 11, 25, tzinfo=UTC), '{"n":1}')
    done = refused(StartOutcome.SUCCEEDED, run=run, conflict=True)
    assert (done.outcome.value, done.of, done.result, done.conflict) == ("duplicate", OTHER, {"n": 1}, True)
    waiting = refused(StartOutcome.WAITING, wait=3.0, reason="timeout")
    assert (waiting.outcome.value, waiting.retry_after, waiting.attempts_left) == ("failed", 3.0, 3)
    others = [StartOutcome.RUNNING, StartOutcome.HELD, StartOutcome.DEAD, StartOutcome.EXPIRED]
    assert [refused(each).outcome.value for each in others] == ["in_flight", "held", "dead", "expired"]
    assert refused(StartOutcome.RUNNING, None).job_id is None


@pytest.mark.parametrize(
    ("call", "hinted"),
    [
        (CALL, True),
        (Call(Envelope("acme", "work", key="k")), False),
        (Call(Envelope("acme", "work"), datetime(2026, 11, 25, tzinfo=UTC)), False),
    ],
)
def test_only_a_repetition_that_may_not_be_meant_gets_a_hint(call: Call, hinted: bool) -> None:
    run = RunRef(OTHER, 3, datetime(2026, 11, 25, tzinfo=UTC))
    answer = answer_of(Ending(Start(StartOutcome.SUCCEEDED, OTHER, run=run)), call)
    assert (answer.hint is not None) is hinted


def test_json_has_what_is_known_and_nothing_else() -> None:
    assert refused(StartOutcome.RUNNING, None).to_json() == {"outcome": "in_flight", "conflict": False}
    assert refused(StartOutcome.WAITING, wait=1.0).to_json() == {
        "outcome": "failed",
        "job_id": str(JOB),
        "attempts_left": 3,
        "retry_after": 1.0,
        "conflict": False,
    }
