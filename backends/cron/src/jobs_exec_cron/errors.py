"""The errors of the cron distribution, beside those of the core."""

from __future__ import annotations

from uuid import UUID

from jobs_exec.errors import JobsError


class JobRefused(JobsError, RuntimeError):
    """The endpoint knows the job that was sent, and will not run it."""

    def __init__(self, job_id: UUID, problem: str) -> None:
        super().__init__(f"job {job_id} {problem}")
        self.job_id = job_id
