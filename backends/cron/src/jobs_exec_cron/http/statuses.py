"""How answers become HTTP: the status that tells a scheduler whether to call again, and a body without inner detail.

The body holds what `TriggerAnswer.to_json` says less reason and error: they may quote what a handler met. The result is
only in a 200, for the caller that was verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import Response

from jobs_exec.inline import ExitReport
from jobs_exec.job import Receipt
from jobs_exec_cron.answering import TriggerAnswer
from jobs_exec_cron.http.refusing import OUTAGE_SECONDS, answer

DONE = 200

STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "succeeded": DONE,
        "duplicate": DONE,
        "in_flight": 409,
        "failed": 503,
        "held": 503,
        "dead": 410,
        "cancelled": 410,
        "expired": 410,
        "rejected": 422,
    }
)
"""410: calling again changes nothing until somebody redrives the job. 422: the org is unknown."""

_TOLD = ("outcome", "job_id", "of", "attempts_left", "retry_after", "hint", "conflict")


def trigger_response(answered: TriggerAnswer) -> Response:
    """The answer to ``POST /trigger``."""
    status = STATUSES[answered.outcome]
    told = answered.to_json()
    body = {name: told[name] for name in (*_TOLD, *(("result",) if status == DONE else ())) if name in told}
    return answer(status, body, _retry_after(status, answered.retry_after))


def _retry_after(status: int, seconds: float | None) -> float | None:
    if status == 503:
        return OUTAGE_SECONDS if seconds is None else seconds
    return seconds if status == 409 else None


def accepted_response(receipt: Receipt) -> Response:
    """The answer to ``POST /trigger`` where jobs are only enqueued."""
    body: dict[str, object] = {"outcome": "accepted", "job_id": str(receipt.id), "duplicate": receipt.duplicate}
    if receipt.of is not None:
        body |= {"of": str(receipt.of), "of_state": receipt.of_state}
    return answer(202, body | {"conflict": receipt.conflict})


def tick_response(report: ExitReport) -> Response:
    """The answer to ``POST /tick``: how many jobs ended how."""
    counts = report.counts
    body = {
        name: getattr(counts, name)
        for name in (
            "claimed",
            "succeeded",
            "retried",
            "dead",
            "duplicates",
            "cancelled",
            "expired",
            "rejected",
            "returned",
        )
    }
    return answer(DONE, {"outcome": "ticked", **body})
