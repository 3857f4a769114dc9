"""Background jobs for multi-tenant applications: every job belongs to one org.

This is the whole public surface for applications; plugin authors add `jobs_exec.contracts`. `Client`, `SyncClient`
and what defines schedules or computes their ticks are imported when first used, so that a module which only registers handlers stays cheap
to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs_exec.contracts.handler import Cancel, JobContext, JobType, Outcome, Retry, Snooze, Success
from jobs_exec.contracts.schedule import (
    Audience,
    CatchUp,
    Overlap,
    Schedule,
    ScheduleRef,
    ScheduleState,
    ScheduleView,
)
from jobs_exec.envelope import Envelope
from jobs_exec.errors import JobsError
from jobs_exec.identity import Identity
from jobs_exec.job import Receipt, ReceiptOutcome
from jobs_exec.registry import job, job_type, register_job
from jobs_exec.retry import Backoff

if TYPE_CHECKING:
    from jobs_exec.book.firing import FiredTick
    from jobs_exec.book.schedules import Schedules
    from jobs_exec.client import Client, SyncClient
    from jobs_exec.scheduling.defining import register_schedule, schedule
    from jobs_exec.scheduling.ticks import next_ticks

__version__ = "0.1.0"

__all__ = [
    "Audience",
    "Backoff",
    "Cancel",
    "CatchUp",
    "Client",
    "Envelope",
    "FiredTick",
    "Identity",
    "JobContext",
    "JobType",
    "JobsError",
    "Outcome",
    "Overlap",
    "Receipt",
    "ReceiptOutcome",
    "Retry",
    "Schedule",
    "ScheduleRef",
    "ScheduleState",
    "ScheduleView",
    "Schedules",
    "Snooze",
    "Success",
    "SyncClient",
    "__version__",
    "job",
    "job_type",
    "next_ticks",
    "register_job",
    "register_schedule",
    "schedule",
]

_LAZY = {
    "Client": "client",
    "FiredTick": "book.firing",
    "Schedules": "book.schedules",
    "SyncClient": "client",
    "next_ticks": "scheduling.ticks",
    "register_schedule": "scheduling.defining",
    "schedule": "scheduling.defining",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"jobs_exec.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
