"""What an endpoint answered, read back into what `trigger` would have answered here, or into an error.

Its words are shown, cut to a length, where it says what is wrong with a call: our endpoint never quotes a value there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from jobs_exec.errors import BackendUnavailable, ConfigurationError, InvalidJob, JobsError
from jobs_exec_cron.answering import TriggerAnswer, TriggerOutcome
from jobs_exec_cron.calling import Reply

_LONGEST = 300
_ENVELOPE = frozenset({400, 413, 415, 422, 431})


def answer_in(reply: Reply, origin: str) -> TriggerAnswer:
    """The outcome that `reply` holds.

    Raises `InvalidJob` for what is wrong with the job, `ConfigurationError` for what is wrong with URL or secret, and
    `BackendUnavailable` when nothing was started.
    """
    if "outcome" not in reply.value:
        raise _refusal(reply, origin)
    try:
        return _read(reply.value, reply.retry_after)
    except (TypeError, ValueError):
        raise BackendUnavailable("cron", f"{origin} gave an answer that this version does not know") from None


def _read(value: Mapping[str, Any], retry_after: float | None) -> TriggerAnswer:
    outcome = TriggerOutcome(value["outcome"])
    if outcome is TriggerOutcome.ACCEPTED and value.get("duplicate"):
        outcome = TriggerOutcome.DUPLICATE
    left = value.get("attempts_left")
    return TriggerAnswer(
        outcome,
        job_id=_id(value.get("job_id")),
        of=_id(value.get("of")),
        of_state=_text(value.get("of_state")),
        result=value.get("result"),
        attempts_left=left if isinstance(left, int) else None,
        retry_after=retry_after,
        hint=_text(value.get("hint")),
        conflict=value.get("conflict") is True,
    )


def _refusal(reply: Reply, origin: str) -> JobsError:
    said = _text(reply.value.get("message")) or "it says nothing more"
    told = f"{origin} answered {reply.status}: {said}"
    match reply.status:
        case 401 | 403:
            return ConfigurationError(
                "JOB_CRON_SECRETS",
                f"{told}; the first secret here must be one of those there, and the clocks may differ by 5 minutes",
            )
        case 408 | 425 | 429:
            return BackendUnavailable("cron", f"{told}; nothing was started, call again")
        case 503 if "message" in reply.value:
            return BackendUnavailable("cron", f"{told}; nothing was started")
        case status if status >= 500:
            return BackendUnavailable(
                "cron", f"{told}; whether the job was taken is not known, the call may be repeated"
            )
        case status if status in _ENVELOPE and "message" in reply.value:
            return InvalidJob(_text(reply.value.get("field")) or "envelope", f"{said} ({origin} answered {status})")
    return ConfigurationError("JOB_TRIGGER_URL", f"{told}; it must be the URL of an endpoint, which ends in /trigger")


def _id(value: object) -> UUID | None:
    return UUID(value) if isinstance(value, str) else None


def _text(value: object) -> str | None:
    """What it says goes to terminals and logs: whoever answers there must not write lines or colours into them."""
    if not isinstance(value, str):
        return None
    return "".join(each if each.isprintable() else " " for each in value[:_LONGEST])
