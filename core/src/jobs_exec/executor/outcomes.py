"""How an attempt ended, as a value: what the handler returned or raised becomes one `Settlement`.

Everything that leaves here can be stored: results and error texts are bounded, and free of NUL and lone surrogates,
so that one of them cannot fail a batch. A result that is no JSON ends its job as dead with reason ``result``
rather than as a failure: the handler did its work, and running it again would do it twice.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from dataclasses import dataclass
from typing import Any

from jobs_exec.contracts.handler import Cancel, JobType, Retry, Snooze, Success
from jobs_exec.contracts.plugin import Policy
from jobs_exec.errors import UndecodablePayload
from jobs_exec.identity import Identity
from jobs_exec.job import Action, ClaimedJob, Settlement
from jobs_exec.retry import Backoff

MAX_ERROR_BYTES = 8 * 1024
MAX_DELAY = 366 * 86_400.0

log = logging.getLogger(__name__)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DEFAULT_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Ending:
    """Turns what one attempt of `job` came to into its settlement."""

    job: ClaimedJob
    made: JobType
    policy: Policy

    def of(self, value: Any) -> Settlement:
        """The settlement for what the handler returned."""
        match value:
            case Success(result=result):
                return self._success(result)
            case Retry(delay=delay, reason=reason):
                return self.failure("failed", reason, delay)
            case Snooze(delay=delay):
                return self._snooze(delay)
            case Cancel(reason=reason):
                return Settlement(self.job.ref, Action.CANCEL, reason="cancelled", error=clean(reason))
            case {"success": False}:
                return self.failure("failed", _said(value))
            case _:
                return self._success(value)

    def of_error(self, error: BaseException) -> Settlement:
        """The settlement for what the handler raised, or for a payload that could not be given to it."""
        if isinstance(error, UndecodablePayload):
            return Settlement(self.job.ref, Action.DEAD, reason="payload", error=clean(str(error)))
        return self.failure("failed", _trace(error))

    def timed_out(self) -> Settlement:
        """The settlement for an attempt that was cancelled at its deadline."""
        return self.failure("timeout", f"did not end within {self.timeout:g} seconds")

    @property
    def timeout(self) -> float:
        """Seconds this attempt may take."""
        return self.made.timeout or self.policy.timeout

    def failure(self, reason: str, error: str, delay: float | None = None) -> Settlement:
        """Another attempt after `delay` seconds (None: the type's backoff), or the end of the job."""
        text = clean(error)
        if self.job.attempt >= self.job.max_attempts:
            return Settlement(self.job.ref, Action.DEAD, reason=reason, error=text)
        if self.job.age > self.policy.max_age:
            return Settlement(self.job.ref, Action.DEAD, reason="max_age", error=text)
        wait = self._backoff() if delay is None else delay
        return Settlement(self.job.ref, Action.RETRY, reason=reason, error=text, delay=min(max(wait, 0.0), MAX_DELAY))

    def _success(self, result: Any) -> Settlement:
        try:
            text = encode_result(result, self.policy.max_result_bytes)
        except (TypeError, ValueError, RecursionError) as error:
            return Settlement(
                self.job.ref, Action.DEAD, reason="result", error=clean(f"{type(error).__name__}: {error}")
            )
        return Settlement(self.job.ref, Action.SUCCEED, result=text, key_ttl=self._key_ttl())

    def _key_ttl(self) -> float | None:
        if self.job.identity is Identity.NONE:
            return None
        return self.made.idempotency_ttl or self.policy.runs_retention

    def _snooze(self, delay: float) -> Settlement:
        if self.job.age > self.policy.max_age:
            return Settlement(self.job.ref, Action.DEAD, reason="max_age", error="snoozed past JOB_MAX_AGE")
        return Settlement(self.job.ref, Action.SNOOZE, delay=delay)

    def _backoff(self) -> float:
        try:
            return float(self.made.backoff(self.job.attempt))
        except Exception:
            log.exception("the backoff of job type %r failed; the default is used", self.made.name)
            return _DEFAULT_BACKOFF(self.job.attempt)


def encode_result(result: Any, max_bytes: int) -> str | None:
    """JSON text of at most `max_bytes`; None for None. Raises `ValueError` or `TypeError` for what JSON has not."""
    if result is None:
        return None
    text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if _UNSTORABLE.search(text):
        text = json.dumps(result, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > max_bytes:
        raise ValueError(f"the result is {size} bytes of JSON, more than JOB_MAX_RESULT_BYTES={max_bytes}")
    return text


def clean(text: str) -> str:
    """`text` as it can be stored: NUL and lone surrogates escaped, at most 8 KiB; the end of a longer one is kept."""
    storable = _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    raw = storable.encode()
    if len(raw) <= MAX_ERROR_BYTES:
        return storable
    # The last lines of a traceback say what happened, the first ones only how it was reached.
    return "…" + raw[3 - MAX_ERROR_BYTES :].decode(errors="ignore")


def _said(value: dict[str, Any]) -> str:
    text = value.get("error") or value.get("message")
    return str(text) if text else "the handler returned success: false"


def _trace(error: BaseException) -> str:
    """The traceback as text."""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:
        # A __str__ that raises must not cost the job its settlement.
        return f"{type(error).__name__} (its text could not be read)"
