"""From what a handler did to what is written about it: one `match`, no side effect.

Results and error texts are bounded and cleaned here, one by one, so that none of them can fail the batch it is
settled in. An error text is the exception's own words and the places it passed, without source lines, locals or
causes: payload values get into it only if the handler wrote them there. Passwords of connection strings are masked,
since drivers quote what they could not connect to.
"""

from __future__ import annotations

import json
import logging
import math
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import ValidationError

from jobs_exec.contracts.handler import Cancel, JobType, Retry, Snooze, Success
from jobs_exec.contracts.plugin import Policy
from jobs_exec.errors import UndecodablePayload, plain
from jobs_exec.identity import Identity
from jobs_exec.job import Action, AttemptRef, ClaimedJob, Settlement
from jobs_exec.masking import masked
from jobs_exec.retry import Backoff, RetryPolicy

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 8 * 1024
LONGEST_DELAY = 366 * 86_400.0
_FRAMES = 12
_DEFAULT_BACKOFF = Backoff()
_DIRTY = re.compile("[\0\ud800-\udfff]")
_DIRTY_JSON = re.compile("\\\\u0000|[\ud800-\udfff]")
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Terms:
    """What the type and the policy say about ends; seconds and bytes."""

    backoff: RetryPolicy
    timeout: float
    key_ttl: float
    max_age: float
    max_result_bytes: int


def terms_of(made: JobType, policy: Policy) -> Terms:
    """The terms of one job type, the policy's where it says nothing itself."""
    return Terms(
        backoff=made.backoff,
        timeout=made.timeout or policy.timeout,
        key_ttl=made.idempotency_ttl or policy.runs_retention,
        max_age=policy.max_age,
        max_result_bytes=policy.max_result_bytes,
    )


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The payload could not be decoded; no handler was called."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler, a middleware or a payload model raised."""

    error: BaseException = field(repr=False)


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt was cancelled at its deadline."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The attempt was stopped for a reason that is not the job's; nothing is counted."""

    delay: float = 0.0


def judge(job: ClaimedJob, ref: AttemptRef, terms: Terms, ending: object, ran: float) -> Settlement:
    """The settlement of an attempt that ended with `ending` after `ran` seconds.

    `ending` is the handler's own value, or one of the classes above for the ends that are not a value.
    """
    match ending:
        case None:
            return Settlement(ref, Action.SUCCEED, key_ttl=_key_ttl(job, terms))
        case GivenBack(delay):
            return Settlement(ref, Action.GIVE_BACK, delay=delay)
        case Unreadable(UndecodablePayload() as error):
            return Settlement(ref, Action.DEAD, error=clean(str(error)), reason="payload")
        case Unreadable(error) | Raised(error):
            return _failure(job, ref, terms, ran, "failed", error_text(error))
        case TimedOut():
            return _failure(job, ref, terms, ran, "timeout", f"timed out after {terms.timeout:g} seconds")
        case Success(result):
            return _success(job, ref, terms, result)
        case Snooze(delay):
            return _snooze(job, ref, terms, ran, delay)
        case Retry(delay, reason):
            return _failure(job, ref, terms, ran, "retry", clean(str(reason)), delay)
        case Cancel(reason):
            return Settlement(ref, Action.CANCEL, error=clean(str(reason)), reason="cancelled")
        case {"success": False}:
            return _failure(job, ref, terms, ran, "failed", _own_words(cast("Mapping[str, Any]", ending)))
        case _:
            return _success(job, ref, terms, ending)


def _key_ttl(job: ClaimedJob, terms: Terms) -> float | None:
    return None if job.identity is Identity.NONE else terms.key_ttl


def _success(job: ClaimedJob, ref: AttemptRef, terms: Terms, result: object) -> Settlement:
    try:
        text = encode_result(result, terms.max_result_bytes)
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"the result cannot be stored: {clean(_message(error))}"
        return Settlement(ref, Action.DEAD, error=problem, reason="result")
    return Settlement(ref, Action.SUCCEED, result=text, key_ttl=_key_ttl(job, terms))


def _snooze(job: ClaimedJob, ref: AttemptRef, terms: Terms, ran: float, delay: float) -> Settlement:
    if job.age + ran > terms.max_age:
        return _too_old(ref, terms, "snoozed again")
    return Settlement(ref, Action.SNOOZE, delay=delay)


def _failure(
    job: ClaimedJob,
    ref: AttemptRef,
    terms: Terms,
    ran: float,
    reason: str,
    error: str,
    delay: float | None = None,
) -> Settlement:
    if job.attempt >= job.max_attempts:
        return Settlement(ref, Action.DEAD, error=error, reason=reason)
    if job.age + ran > terms.max_age:
        return _too_old(ref, terms, error)
    return Settlement(ref, Action.RETRY, error=error, reason=reason, delay=_delay(job, terms, delay))


def _too_old(ref: AttemptRef, terms: Terms, error: str) -> Settlement:
    text = clean(f"first due more than JOB_MAX_AGE={terms.max_age:g} seconds ago; last: {error}")
    return Settlement(ref, Action.DEAD, error=text, reason="max_age")


def _delay(job: ClaimedJob, terms: Terms, asked: float | None) -> float:
    """Seconds until the next attempt; a delay or a policy that makes no sense gives way to the default backoff."""
    try:
        seconds = _seconds(terms.backoff(job.attempt) if asked is None else asked)
    except BaseException as error:
        # The policy is the application's code. Its failure must not cost the job its retry, nor others the executor.
        return _note_broken_policy(job, error)
    return _DEFAULT_BACKOFF(job.attempt) if seconds is None else seconds


def _seconds(asked: object) -> float | None:
    """A delay within bounds; None for what is none."""
    if not isinstance(asked, (int, float)) or not math.isfinite(asked):
        return None
    return min(max(float(asked), 0.0), LONGEST_DELAY)


def _note_broken_policy(job: ClaimedJob, error: BaseException) -> float:
    log.warning(
        "the retry policy failed; the default backoff is used",
        extra={"type": job.type, "job_id": str(job.id), "org_id": job.org_id, "error_type": type(error).__name__},
    )
    return _DEFAULT_BACKOFF(job.attempt)


def _own_words(value: Mapping[str, Any]) -> str:
    text = value.get("error") or value.get("message") or "the handler returned success: false"
    return clean(text if isinstance(text, str) else str(text))


# --- results ---------------------------------------------------------------------------------------------


def encode_result(result: object, max_bytes: int) -> str | None:
    """The JSON text of a result; raises `ValueError`, `TypeError` or `RecursionError` for what cannot be stored."""
    if result is None:
        return None
    text = _JSON.encode(result)
    if _DIRTY_JSON.search(text):
        text = _JSON.encode(_cleaned(result))
    size = len(text.encode())
    if size > max_bytes:
        raise ValueError(f"it is {size} bytes of JSON, more than JOB_MAX_RESULT_BYTES={max_bytes}")
    return text


def _cleaned(value: Any) -> Any:
    """`value` with NUL and lone surrogates written out; jsonb can store neither, not even escaped."""
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    return value


# --- error texts -----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """`text` without passwords, NUL and lone surrogates, at most 8 KiB of UTF-8."""
    # Masked before it is cut: half a connection string would not be known for one.
    text = masked(text[: 2 * MAX_ERROR_BYTES])
    text = _escaped(text[:MAX_ERROR_BYTES]) if _DIRTY.search(text) else text
    encoded = text.encode()
    if len(encoded) <= MAX_ERROR_BYTES:
        return text
    return encoded[: MAX_ERROR_BYTES - 3].decode(errors="ignore") + "..."


def _escaped(text: str) -> str:
    return _DIRTY.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def error_text(error: BaseException) -> str:
    """The exception's own words, then where it came from, innermost last."""
    words = clean(f"{type(error).__name__}: {_message(error)}")[: MAX_ERROR_BYTES // 2]
    return clean("\n".join([words, *_places(error)]))


def _message(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        # pydantic's own text shows the values it refused.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {plain(first['msg'])} ({error.error_count()} problem(s))"
    try:
        return str(error)
    except Exception as unprintable:
        return f"(its text cannot be shown: {type(unprintable).__name__})"


def _places(error: BaseException) -> list[str]:
    """The last places it passed, without the engine's own; no source lines, which reading would cost disk time."""
    passed = [
        f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not str(frame.f_globals.get("__name__", "")).startswith("jobs_exec.executor.")
    ]
    return passed[-_FRAMES:]
