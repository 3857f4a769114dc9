"""What a receiver's answer means for the job: one pure function from status and headers to an outcome.

================  =====================================================================
2xx               success; the result keeps the status and the start of the answer
410               cancel: the endpoint is gone and wants no more
429, 503          snooze for as long as ``Retry-After`` says (1 s to 1 h at a time), without
                  spending an attempt; without a valid ``Retry-After`` a failure
everything else   a failure, tried again with backoff; redirects (3xx) are not followed,
                  because the address they lead to is the receiver's choice
================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from jobs_exec import Cancel, Outcome, Retry, Snooze, Success

MAX_EXCERPT = 500
"""Characters of an answer that are stored."""
SHORTEST_SNOOZE, LONGEST_SNOOZE = 1.0, 3600.0

_SECONDS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without its connection; `body` is the start of it, as text."""

    status: int
    retry_after: str | None = None
    body: str = field(default="", repr=False)


def read_answer(status: int, headers: Iterable[tuple[bytes, bytes]], start: bytes) -> Answer:
    """The `Answer` in a response whose body starts with `start`."""
    waits = [value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"]
    return Answer(status, waits[0] if waits else None, start.decode("utf-8", "replace")[:MAX_EXCERPT])


def judge(answer: Answer, origin: str, now: datetime) -> Outcome:
    """The outcome of a delivery to `origin` that got `answer` at `now`."""
    match answer.status:
        case status if 200 <= status < 300:
            return Success({"status": status, "body": answer.body} if answer.body else {"status": status})
        case 410:
            return Cancel(f"{origin} answered 410: the endpoint is gone")
        case 429 | 503:
            delay = wait_asked_for(answer.retry_after, now)
            return Retry(reason=_failed(answer, origin)) if delay is None else Snooze(delay)
        case status if 300 <= status < 400:
            return Retry(reason=f"{_failed(answer, origin)}; redirects are not followed, register the final URL")
        case _:
            return Retry(reason=_failed(answer, origin))


def wait_asked_for(value: str | None, now: datetime) -> float | None:
    """Seconds from ``Retry-After`` (seconds or an HTTP date), within the bounds of a snooze; None when invalid."""
    if value is None:
        return None
    text = value.strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)
    return None if seconds is None else min(max(seconds, SHORTEST_SNOOZE), LONGEST_SNOOZE)


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # Some servers leave the zone out; an HTTP date is always in GMT.
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


def _failed(answer: Answer, origin: str) -> str:
    # The answer's body stays out: an endpoint may echo what it was sent.
    return f"{origin} answered {answer.status}"
