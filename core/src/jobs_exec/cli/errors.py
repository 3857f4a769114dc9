"""Errors on the command line: one sentence, and one exit code for each kind.

0 fine · 1 ran, negative result · 2 usage · 3 backend unreachable · 4 schema missing or outdated · 5 plugin problem ·
6 refused (no or invalid org, policy) · 7 not found.
"""

from __future__ import annotations

from jobs_exec.errors import (
    BackendUnavailable,
    CapabilityMissing,
    ConfigurationError,
    DuplicateJobType,
    InvalidJob,
    InvalidSchedule,
    JobNotFound,
    JobsError,
    PluginError,
    PluginNotFound,
    ScheduleExists,
    ScheduleNotFound,
    SchemaMismatch,
    UnknownBackend,
)

NEGATIVE = 1
USAGE = 2
REFUSED = 6
NOT_FOUND = 7

_CODES: tuple[tuple[type[JobsError], int], ...] = (
    (UnknownBackend, 5),
    (PluginError, 5),
    (DuplicateJobType, 5),
    (BackendUnavailable, 3),
    (SchemaMismatch, 4),
    (InvalidJob, REFUSED),
    (InvalidSchedule, REFUSED),
    (ScheduleExists, REFUSED),
    (CapabilityMissing, REFUSED),
    (JobNotFound, NOT_FOUND),
    (PluginNotFound, NOT_FOUND),
    (ScheduleNotFound, NOT_FOUND),
    (ConfigurationError, USAGE),
)
"""The first class that matches decides, so a class stands before the ones it derives from."""


_SPELLINGS = {
    "allow_unregistered=True": "--allow-unregistered",
    "org_id=...": "--org ORG",
    "(JOB_MODULES)": "(--import or JOB_MODULES)",
    "pass cron= or every=": "pass --cron or --every",
    "pass cron=": "pass --cron",
    "pass every=": "pass --every",
    "pass timedelta(minutes=5) or 300": "pass 5m or 300",
}


def exit_code(error: JobsError) -> int:
    """The code the command ends with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), NEGATIVE)


def in_words_of_the_command(text: str) -> str:
    """An error's text with what would be passed in Python named as it is passed on the command line."""
    for ours, theirs in _SPELLINGS.items():
        text = text.replace(ours, theirs)
    return text


def as_jobs_error(error: BaseException) -> JobsError | None:
    """The error of ours that `error` is or, as a group of a task group, holds first; None for any other."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := as_jobs_error(each))), None)
    return error if isinstance(error, JobsError) else None
