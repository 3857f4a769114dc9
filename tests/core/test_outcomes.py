"""What a handler returned or raised becomes one settlement that can always be stored."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, TypeAdapter, ValidationError

from jobs_exec import Cancel, Retry, Snooze, Success, job_type
from jobs_exec.contracts import Policy
from jobs_exec.errors import InvalidPayload, UndecodablePayload
from jobs_exec.executor.outcomes import (
    MAX_ERROR_BYTES,
    GivenBack,
    Raised,
    TimedOut,
    Unreadable,
    clean,
    error_text,
    judge,
    terms_of,
)
from jobs_exec.identity import Identity, new_job_id
from jobs_exec.job import Action, ClaimedJob, Settlement


async def handler(ctx: object, data: dict[str, Any]) -> None: ...


def job(*, attempt: int = 1, age: float = 0.0, identity: Identity = Identity.PAYLOAD) -> ClaimedJob:
    return ClaimedJob(
        new_job_id(), "acme", "work", "default", "{}", attempt, 5, 7, 5, datetime.now(UTC), age, identity, b"h" * 32
    )


def ended(ending: object, claimed: ClaimedJob | None = None, ran: float = 0.0, **options: Any) -> Settlement:
    one = claimed or job()
    return judge(one, one.ref, terms_of(job_type("work", handler, **options), Policy()), ending, ran)


@pytest.mark.parametrize(
    ("returned", "stored"), [(None, None), ({"a": 1}, '{"a":1}'), ("é", '"é"'), (Success([1]), "[1]"), (False, "false")]
)
def test_a_json_value_is_the_stored_result_of_a_success(returned: object, stored: str | None) -> None:
    settled = ended(returned)
    assert (settled.action, settled.result) == (Action.SUCCEED, stored)


def test_a_success_suppresses_its_repetition_for_the_retention_or_the_types_own_time() -> None:
    assert ended(None).key_ttl == Policy().runs_retention
    assert ended(None, idempotency_ttl=60.0).key_ttl == 60.0
    assert ended(None, job(identity=Identity.NONE)).key_ttl is None


@pytest.mark.parametrize("result", [math.nan, math.inf, object(), {1, 2}, "x" * 100_000])
def test_a_result_that_cannot_be_stored_ends_its_job_and_is_not_run_again(result: object) -> None:
    settled = ended(result)
    assert (settled.action, settled.reason) == (Action.DEAD, "result")


def test_a_result_with_nul_or_a_lone_surrogate_is_stored_written_out() -> None:
    text = ended({"a": "\0\ud800"}).result
    assert text is not None
    assert text.encode().isascii()
    # jsonb takes neither of them, not even escaped.
    assert json.loads(text) == {"a": "\\u0000\\ud800"}


def test_a_failure_is_tried_again_after_the_backoff_of_its_type() -> None:
    settled = ended(Raised(ValueError("boom")), job(attempt=3), backoff=lambda attempt: attempt * 10.0)
    assert (settled.action, settled.reason, settled.delay) == (Action.RETRY, "failed", 30.0)
    assert settled.error is not None
    assert settled.error.startswith("ValueError: boom")


def test_the_last_attempt_that_fails_ends_the_job() -> None:
    assert ended(Raised(ValueError()), job(attempt=5)).action is Action.DEAD


@pytest.mark.parametrize("failed", [Retry(1.0), {"success": False}, Snooze(60)])
def test_a_job_that_goes_on_failing_past_its_age_is_dead(failed: object) -> None:
    settled = ended(failed, job(age=Policy().max_age + 1))
    assert (settled.action, settled.reason) == (Action.DEAD, "max_age")


def test_retry_says_when_and_why() -> None:
    settled = ended(Retry(12.0, "rate limited"))
    assert (settled.action, settled.delay, settled.error) == (Action.RETRY, 12.0, "rate limited")


def test_snooze_comes_back_later() -> None:
    settled = ended(Snooze(90))
    assert (settled.action, settled.delay) == (Action.SNOOZE, 90)


def test_cancel_ends_the_job_with_its_reason() -> None:
    settled = ended(Cancel("customer left"))
    assert (settled.action, settled.error) == (Action.CANCEL, "customer left")


@pytest.mark.parametrize("value", [{"success": False, "error": "no"}, {"success": False, "message": "no"}])
def test_a_result_that_says_it_failed_is_a_failure(value: dict[str, Any]) -> None:
    settled = ended(value)
    assert (settled.action, settled.error) == (Action.RETRY, "no")


def test_a_payload_nobody_can_read_is_dead_at_once() -> None:
    settled = ended(Unreadable(UndecodablePayload("data: is not JSON that can be read")))
    assert (settled.action, settled.reason) == (Action.DEAD, "payload")


def test_a_payload_this_version_does_not_take_is_an_ordinary_failure() -> None:
    assert ended(Unreadable(InvalidPayload("data.x: missing"))).action is Action.RETRY


def test_a_timeout_is_a_failure_of_its_own_name() -> None:
    settled = ended(TimedOut(), timeout=2.0)
    assert (settled.action, settled.reason) == (Action.RETRY, "timeout")
    assert "2 seconds" in str(settled.error)


def test_what_ends_a_process_ends_only_the_attempt() -> None:
    assert ended(Raised(SystemExit(3))).action is Action.RETRY


def test_a_backoff_that_fails_is_replaced_by_the_default() -> None:
    settled = ended(Raised(ValueError()), backoff=lambda attempt: 1 / 0)
    assert 0 <= settled.delay <= 2


def test_an_exception_that_cannot_be_printed_still_settles() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert ended(Raised(Mute())).action is Action.RETRY


def test_error_texts_are_bounded_and_clean() -> None:
    assert clean("a\0b\ud800") == "a\\u0000b\\ud800"
    long = clean("the beginning " + "é" * 20_000)
    assert len(long.encode()) <= MAX_ERROR_BYTES
    assert long.startswith("the beginning")


def test_an_error_text_keeps_what_was_said_and_where_however_long_it_is() -> None:
    def deep() -> None:
        raise ValueError("the beginning " + "x" * 20_000)

    with pytest.raises(ValueError, match="the beginning") as raised:
        deep()
    text = error_text(raised.value)
    assert len(text.encode()) <= MAX_ERROR_BYTES
    assert text.startswith("ValueError: the beginning")
    assert text.endswith("deep")


def test_an_attempt_that_was_given_back_counts_nothing() -> None:
    settled = ended(GivenBack(3.0), job(attempt=5, age=Policy().max_age + 1))
    assert (settled.action, settled.delay, settled.error) == (Action.GIVE_BACK, 3.0, None)


def test_the_time_an_attempt_took_counts_towards_the_age() -> None:
    assert ended(Raised(ValueError()), job(age=Policy().max_age - 10), ran=11).reason == "max_age"


def test_a_model_s_own_sentence_stands_in_the_error_without_pydantic_s_words() -> None:
    def even(value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value

    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Annotated[int, AfterValidator(even)]).validate_python(3)
    assert "must be even (1 problem(s))" in error_text(refused.value)
    assert "Value error" not in error_text(refused.value)
