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
    JobNotFound,
    JobsError,
    PluginError,
    PluginNotFound,
    SchemaMismatch,
    UnknownBackend,
)

NEGATIVE = 1
USAGE = 2

_CODES: tuple[tuple[type[JobsError], int], ...] = (
    (UnknownBackend, 5),
    (PluginError, 5),
    (DuplicateJobType, 5),
    (BackendUnavailable, 3),
    (SchemaMismatch, 4),
    (InvalidJob, 6),
    (CapabilityMissing, 6),
    (JobNotFound, 7),
    (PluginNotFound, 7),
    (ConfigurationError, USAGE),
)
"""The first class that matches decides, so a class stands before the ones it derives from."""


def exit_code(error: JobsError) -> int:
    """The code the command ends with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), NEGATIVE)
