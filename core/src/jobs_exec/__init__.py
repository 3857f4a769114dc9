"""Background jobs for multi-tenant applications: every job belongs to one org.

This is the whole public surface for applications; plugin authors add `jobs_exec.contracts`. `Client` and
`SyncClient` are imported when first used, so that a module which only registers handlers stays cheap to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs_exec.contracts.handler import Cancel, JobContext, JobType, Outcome, Retry, Snooze, Success
from jobs_exec.envelope import Envelope
from jobs_exec.errors import JobsError
from jobs_exec.identity import Identity
from jobs_exec.job import Receipt, ReceiptOutcome
from jobs_exec.registry import job, job_type, register_job
from jobs_exec.retry import Backoff

if TYPE_CHECKING:
    from jobs_exec.client import Client, SyncClient

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "Cancel",
    "Client",
    "Envelope",
    "Identity",
    "JobContext",
    "JobType",
    "JobsError",
    "Outcome",
    "Receipt",
    "ReceiptOutcome",
    "Retry",
    "Snooze",
    "Success",
    "SyncClient",
    "__version__",
    "job",
    "job_type",
    "register_job",
]

_LAZY = frozenset({"Client", "SyncClient"})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from jobs_exec import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
