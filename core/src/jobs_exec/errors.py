"""Every error of the framework, one sentence each.

An error carries what it is about as attributes, and its text ends in the next step. Each class also
derives from the built-in that a caller would catch already (`ValueError`, `LookupError`,
`ConnectionError`, `RuntimeError`), so that code outside need not import this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from uuid import UUID

__all__ = [
    "AttemptLost",
    "BackendUnavailable",
    "CapabilityMissing",
    "ConfigurationError",
    "DuplicateJobType",
    "EnqueueConflict",
    "InvalidJob",
    "InvalidPayload",
    "InvalidSchedule",
    "JobNotFound",
    "JobsError",
    "MissingOrg",
    "PayloadTooLarge",
    "PluginError",
    "PluginNotFound",
    "ScheduleExists",
    "ScheduleNotFound",
    "SchemaMismatch",
    "TransactionMisuse",
    "UndecodablePayload",
    "UnknownBackend",
    "UnknownJobType",
    "near_matches",
]


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three of `known` that look like `name`, best first."""
    return tuple(get_close_matches(name, sorted(known), n=3, cutoff=0.6))


def plain(message: str) -> str:
    """The sentence of a validator without what pydantic puts before it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _hint(near: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


class JobsError(Exception):
    """Anything the framework refuses or cannot do."""


class InvalidJob(JobsError, ValueError):
    """An envelope breaks a rule; `field` names the part of it, for example ``data.items[3]``."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class MissingOrg(InvalidJob):
    """A job without an org: it is refused at every way in and never runs."""

    def __init__(self, problem: str = "is missing; every job belongs to one org, pass org_id=...") -> None:
        super().__init__("orgId", problem)


class PayloadTooLarge(InvalidJob):
    """The payload's JSON form is longer than ``JOB_MAX_PAYLOAD_BYTES``."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            "data",
            f"is {size} bytes of JSON, more than JOB_MAX_PAYLOAD_BYTES={limit}; "
            "store the content elsewhere and pass a reference, or raise the setting",
        )
        self.size = size
        self.limit = limit


class UndecodablePayload(JobsError, ValueError):
    """A stored payload breaks the rules of JSON or of the envelope; no executor can ever read it."""


class InvalidPayload(JobsError, ValueError):
    """A stored payload does not fit this executor's payload model; another version's may."""


class UnknownJobType(InvalidJob, LookupError):
    """Neither this process nor the backend knows the type; `near` holds names that look like it."""

    def __init__(
        self, type_name: str, known: Iterable[str], otherwise: str = ", or pass allow_unregistered=True"
    ) -> None:
        self.type_name = type_name
        self.near = near_matches(type_name, known)
        super().__init__(
            "type",
            f"{type_name!r} is not registered.{_hint(self.near)} Import the module that registers it "
            f"(JOB_MODULES), install its plugin{otherwise}",
        )


class DuplicateJobType(JobsError, ValueError):
    """Two registrations of one type; both owners are named."""

    def __init__(self, type_name: str, first: str, second: str) -> None:
        super().__init__(
            f"job type {type_name!r} is registered by {first} and by {second}; "
            "rename one, or keep one out with JOB_PLUGINS_DENY"
        )
        self.type_name = type_name
        self.owners = (first, second)


class EnqueueConflict(JobsError, RuntimeError):
    """The database chose this transaction to end for the sake of another (serialization failure or deadlock).

    Nothing was written; run the whole transaction again.
    """

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"enqueue met a concurrent transaction (SQLSTATE {sqlstate}); run the transaction again")
        self.sqlstate = sqlstate


class ConfigurationError(JobsError, ValueError):
    """A setting cannot be used; `setting` names it."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting


class InvalidSchedule(JobsError, ValueError):
    """A schedule breaks a rule; `field` names what, `problem` says it without the field.

    `position` is the character of a cron expression, from 1.
    """

    def __init__(self, field: str, problem: str, position: int | None = None) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.position = position


class ScheduleExists(JobsError, ValueError):
    """A schedule of this name exists for this tenant."""

    def __init__(self, name: str) -> None:
        super().__init__(f"schedule {name} exists; remove it first, or choose another name")
        self.name = name


class ScheduleNotFound(JobsError, LookupError):
    """No schedule has this name."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.near = near_matches(name, known)
        super().__init__(f"no schedule {name!r}.{_hint(self.near)} See `jobs-exec schedules list`")
        self.name = name


class UnknownBackend(ConfigurationError, LookupError):
    """The selected backend or store is not installed; the text lists what is, and how to get it."""


_MEND = "Mend or uninstall them, exclude them with JOB_PLUGINS_DENY, or start with --tolerate-broken-plugins."


class PluginError(JobsError, RuntimeError):
    """The process refuses to start for its plugins; `problems` lists all of them at once."""

    def __init__(self, problems: Sequence[str], advice: str = _MEND) -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} plugin problem(s):\n{lines}\n{advice}")
        self.problems = tuple(problems)


class PluginNotFound(JobsError, LookupError):
    """No installed plugin has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.near = near_matches(name, known)
        super().__init__(f"no plugin {name!r} is installed.{_hint(self.near)} See `jobs-exec plugins list`")
        self.name = name


class CapabilityMissing(JobsError, RuntimeError):
    """A call needs what the selected backend does not do."""

    def __init__(self, backend: str, capability: str, hint: str = "") -> None:
        super().__init__(f"the {backend!r} backend has no capability '{capability}'{'; ' + hint if hint else ''}")
        self.backend = backend
        self.capability = capability


class BackendUnavailable(JobsError, ConnectionError):
    """The backend cannot be reached or refuses work; nothing was taken over."""

    def __init__(self, backend: str, problem: str) -> None:
        super().__init__(f"the {backend!r} backend is unavailable: {problem}")
        self.backend = backend


class SchemaMismatch(JobsError, RuntimeError):
    """The database schema is missing, older or newer than this version can work with."""

    def __init__(self, found: int | None, needed: int) -> None:
        state = "is missing" if found is None else f"is at version {found}"
        step = "run `jobs-exec db migrate`" if found is None or found < needed else "upgrade jobs-exec-table"
        super().__init__(f"the jobs schema {state}, this version needs {needed}; {step}")
        self.found = found
        self.needed = needed


class JobNotFound(JobsError, LookupError):
    """No queued job and no run has this id."""

    def __init__(self, job_id: UUID | str) -> None:
        super().__init__(f"no job and no run has the id {job_id}; ids come from receipts and from `jobs-exec list`")
        self.job_id = job_id


class AttemptLost(JobsError, RuntimeError):
    """The attempt is no longer this executor's: its lease ended and somebody else has the job."""

    def __init__(self, job_id: UUID, token: int) -> None:
        super().__init__(f"attempt {token} of job {job_id} was taken over; nothing of it was written")
        self.job_id = job_id
        self.token = token


class TransactionMisuse(JobsError, RuntimeError):
    """A handler used the attempt's transaction in a way that would break its all-or-nothing promise."""
