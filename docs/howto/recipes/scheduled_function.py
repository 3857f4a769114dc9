"""A scheduled function for AWS Lambda, called by EventBridge Scheduler.

The input of the schedule is {"tick": "<aws.scheduler.scheduled-time>"}: the scheduler puts in the time that the call is
for, which is the same in every repetition of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs_exec_cron import trigger_sync


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Runs the nightly report of one org, once for each tick."""
    answer = trigger_sync({"orgId": "acme", "type": "report.nightly", "tick": event["tick"]})
    if answer.outcome not in ("succeeded", "duplicate"):
        # An error makes the platform call again, with the same event and so with the same tick.
        raise RuntimeError(f"the report was not written: {answer.outcome}, {answer.reason}")
    return answer.to_json()
