"""What the endpoint answers to a call that it does not carry out.

A refusal says which rule was broken and, of a verified caller's envelope, in which field. It never quotes a value, never
tells a stranger why he is one, and never says what is installed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic_core import to_json
from starlette.responses import Response

from jobs_exec.errors import BackendUnavailable, EnqueueConflict, InvalidJob, PayloadTooLarge, UnknownJobType

BUSY_SECONDS = 1
"""When to call again after 429: the load of a moment."""

OUTAGE_SECONDS = 5
"""When to call again while the database is away, or another process takes over."""


class Refused(Exception):
    """An answer that is no result; `error` is a word for programs, `message` a sentence for people."""

    def __init__(
        self, status: int, error: str, message: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.field = field
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer."""
        body = {"error": self.error, "message": str(self)}
        return answer(self.status, body if self.field is None else {**body, "field": self.field}, self.retry_after)


def answer(status: int, body: Mapping[str, object], retry_after: float | None = None) -> Response:
    """JSON; `retry_after` seconds become whole ones, at least one, rounded up: a caller must not come too early."""
    headers = {"cache-control": "no-store"}
    if retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(retry_after)))
    return Response(to_json(body), status, headers, media_type="application/json")


def busy(message: str) -> Refused:
    """More than is taken on at once; nothing waits in here."""
    return Refused(429, "busy", message, retry_after=BUSY_SECONDS)


def unavailable() -> Refused:
    """Nothing was started, and the call may be repeated."""
    return Refused(503, "unavailable", "nothing can be started at the moment; call again", retry_after=OUTAGE_SECONDS)


def stranger() -> Refused:
    """Whatever is wrong with the proof, the answer is the same."""
    return Refused(401, "unauthorized", "the caller is not known here")


def not_triggered() -> Refused:
    """The same for a type that is not on the list and for one that nobody knows."""
    return Refused(
        422, "invalid", "is no type that may be triggered here; the operator lists them in JOB_CRON_TYPES", field="type"
    )


def refusal_of(error: Exception) -> Refused | None:
    """What a caller is told of an error of ours; None for one that nobody foresaw."""
    match error:
        case Refused():
            return error
        case UnknownJobType():
            return not_triggered()
        case PayloadTooLarge():
            return Refused(413, "too_large", _problem(error), field=error.field)
        case InvalidJob():
            return Refused(422, "invalid", _problem(error), field=error.field)
        case BackendUnavailable() | EnqueueConflict():
            return unavailable()
    return None


def _problem(error: InvalidJob) -> str:
    return str(error).removeprefix(f"{error.field}: ")
