"""The hooks of the cron distribution."""

from __future__ import annotations

from jobs_exec.contracts import QueueBackend, hookimpl
from jobs_exec_cron.backend import CronBackend


@hookimpl
def queue_backend() -> QueueBackend:
    """The backend that `JOB_QUEUE_BACKEND=cron` selects."""
    return CronBackend()
