"""Job types, registered once and then frozen into a table, and schedules, recorded beside them.

`register_job`, `@job` and the hook ``job_types`` all end in one `JobType` made by `job_type`. Registrations of
the first two are recorded process-wide, together with who made them: the distribution whose plugin is being
loaded (`recording`), else ``application``. `compile_table` joins them with what plugins returned; a type with
two owners is a problem that names both. Schedules are told apart by (owner, name).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypedDict, TypeVar, Unpack, get_type_hints

from jobs_exec.contracts.handler import Handler, JobTable, JobType
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.envelope import MAX_ATTEMPTS, check_type
from jobs_exec.errors import ConfigurationError, DuplicateJobType, InvalidSchedule, near_matches
from jobs_exec.identity import Identity
from jobs_exec.payload import Payload
from jobs_exec.retry import Backoff, RetryPolicy

APPLICATION = "application"

LONGEST = 100 * 365.25 * 86_400.0
"""Seconds beyond which no duration is meant, and the database's own times may end."""

log = logging.getLogger(__name__)
H = TypeVar("H", bound=Callable[..., Any])

_owner: ContextVar[str] = ContextVar("jobs_exec_owner", default=APPLICATION)
_recorded: dict[tuple[str, str], JobType] = {}
"""(owner, type) -> job type, in order of registration."""
_schedules: dict[tuple[str, str], Schedule] = {}
"""(owner, name) -> schedule, in order of registration."""


class TypeOptions(TypedDict, total=False):
    """What may be said about a job type; None means the setting's value."""

    payload: Any
    """The payload's type: a pydantic model, dataclass, TypedDict or ``dict``; default: the annotation of ``data``."""
    queue: str
    """The one queue of this type; default ``"default"``."""
    identity: Identity | str
    """What makes two jobs the same piece of work: ``"payload"`` (default), ``"key"`` or ``"none"``."""
    idempotency_ttl: float | None
    """Seconds for which a success suppresses its repetition; default ``JOB_RUNS_RETENTION``."""
    max_attempts: int | None
    """A job that failed this often is dead; default ``JOB_MAX_ATTEMPTS``."""
    timeout: float | None
    """Longest time of one attempt in seconds; default ``JOB_TIMEOUT_SECONDS``."""
    backoff: RetryPolicy
    """From the number of the failed attempt to the seconds until the next one; default ``Backoff()``."""


_OPTIONS = tuple(TypeOptions.__annotations__)


def job_type(name: str, handler: Handler, **options: Unpack[TypeOptions]) -> JobType:
    """Makes a job type from ``handler(ctx, data)`` or ``handler(ctx)``; raises `ConfigurationError`.

    A handler that takes no payload should say its identity mode: in ``payload`` mode all its jobs of an org
    are one piece of work, which runs once per retention window. Saying nothing logs a warning.
    """
    check_type(name)
    _check_options(name, options)
    takes_payload = _takes_payload(name, handler)
    annotation = options.get("payload") or (_annotation(handler) if takes_payload else dict)
    if not takes_payload and "identity" not in options:
        log.warning(
            "job type %r takes no payload, so it runs once per org and retention window; "
            "pass identity='none' to run it every time, or identity='payload' to confirm",
            name,
        )
    made = JobType(
        name=name,
        handler=handler,
        payload=Payload(annotation),
        is_async=_is_async(handler),
        takes_payload=takes_payload,
        queue=check_queue(options.get("queue", "default")),
        identity=_identity(name, options.get("identity", Identity.PAYLOAD)),
        idempotency_ttl=options.get("idempotency_ttl"),
        max_attempts=options.get("max_attempts"),
        timeout=options.get("timeout"),
        backoff=options.get("backoff", Backoff()),
        owner=_owner.get(),
    )
    _check_numbers(made)
    return made


def register_job(name: str, handler: Handler, **options: Unpack[TypeOptions]) -> JobType:
    """Registers `handler` for jobs of type `name`, once; options as in `TypeOptions`.

    Raises `DuplicateJobType` when this owner has registered the name for another handler.
    """
    made = job_type(name, handler, **options)
    earlier = _recorded.get((made.owner, name))
    if earlier is not None and not _same_function(earlier.handler, handler):
        raise DuplicateJobType(name, _place(earlier), _place(made))
    _recorded[made.owner, name] = made
    return made


def job(name: str, **options: Unpack[TypeOptions]) -> Callable[[H], H]:
    """`register_job` as a decorator; the function itself stays as it is."""
    if callable(name):
        function = getattr(name, "__name__", "handler")
        raise ConfigurationError("@job", f"names no job type; write @job({function!r}) above the function {function}")

    def register(handler: H) -> H:
        register_job(name, handler, **options)
        return handler

    return register


@contextmanager
def recording(owner: str) -> Iterator[None]:
    """Registrations inside the block belong to the distribution `owner`."""
    token = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(token)


@contextmanager
def isolated() -> Iterator[None]:
    """Registrations inside the block are forgotten after it, earlier ones are out of sight; for tests."""
    saved, schedules = dict(_recorded), dict(_schedules)
    _recorded.clear()
    _schedules.clear()
    try:
        yield
    finally:
        _recorded.clear()
        _recorded.update(saved)
        _schedules.clear()
        _schedules.update(schedules)


def recorded(owners: Iterable[str] = ()) -> list[JobType]:
    """What the application and `owners` have registered so far."""
    wanted = {APPLICATION, *owners}
    return [made for (owner, _), made in _recorded.items() if owner in wanted]


def record_schedule(made: Schedule) -> Schedule:
    """`made` under the owner of this moment. Raises `InvalidSchedule` for another one of that owner and name."""
    if made.org_id is not None:
        raise InvalidSchedule(
            "org_id", "is for schedules that are added at run time; those of code belong to no tenant"
        )
    owned = replace(made, owner=_owner.get())
    earlier = _schedules.setdefault((owned.owner, owned.name), owned)
    if earlier != owned:
        raise InvalidSchedule("name", f"{owned.name!r} names another schedule of {owned.owner}; rename one of them")
    return owned


def recorded_schedules(owners: Iterable[str] = ()) -> list[Schedule]:
    """The schedules that the application and `owners` have registered so far."""
    wanted = {APPLICATION, *owners}
    return [made for (owner, _), made in _schedules.items() if owner in wanted]


def compile_table(types: Iterable[JobType]) -> tuple[JobTable, list[DuplicateJobType]]:
    """The frozen table by name, and one problem for each further owner of a name (the first keeps it)."""
    table: dict[str, JobType] = {}
    problems: list[DuplicateJobType] = []
    for made in types:
        first = table.setdefault(made.name, made)
        if first is not made:
            problems.append(DuplicateJobType(made.name, _place(first), _place(made)))
    return MappingProxyType(table), problems


def owned_by(made: JobType, owner: str) -> JobType:
    """The same type under the distribution whose hook returned it."""
    return replace(made, owner=owner)


def check_queue(name: object) -> str:
    """Returns `name` if it can name a queue: the rule of type names."""
    try:
        return check_type(name)
    except ValueError:
        raise ConfigurationError(
            "queue",
            f"{name!r} must start with a letter and go on with letters, digits or _ . : -, at most 128",
        ) from None


def _identity(name: str, mode: Identity | str) -> Identity:
    try:
        return Identity(mode)
    except ValueError:
        raise ConfigurationError(f"identity of {name}", f"{mode!r} is not one of payload, key, none") from None


def _check_options(name: str, options: Mapping[str, object]) -> None:
    for option in options:
        if option not in _OPTIONS:
            near = near_matches(option, _OPTIONS)
            hint = f"Did you mean {near[0]!r}?" if near else f"The options are {', '.join(_OPTIONS)}"
            raise ConfigurationError(f"{option} of {name}", f"is not an option of a job type. {hint}")
    if not callable(options.get("backoff", Backoff())):
        raise ConfigurationError(
            f"backoff of {name}", f"{options['backoff']!r} is not callable; pass jobs_exec.Backoff(base=...)"
        )


def _check_numbers(made: JobType) -> None:
    attempts = made.max_attempts
    if attempts is not None and not (_is_number(attempts, int) and 1 <= attempts <= MAX_ATTEMPTS):
        raise ConfigurationError(
            f"max_attempts of {made.name}", f"{attempts!r} must be a whole number from 1 to {MAX_ATTEMPTS}"
        )
    for option, value in (("timeout", made.timeout), ("idempotency_ttl", made.idempotency_ttl)):
        if value is not None and not (_is_number(value, int, float) and 0 < value <= LONGEST):
            raise ConfigurationError(
                f"{option} of {made.name}", f"{value!r} must be a number of seconds, more than 0 and at most 100 years"
            )


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _takes_payload(name: str, handler: Handler) -> bool:
    if not callable(handler):
        raise ConfigurationError(f"handler of {name}", f"{handler!r} is not callable; pass a function")
    signature = inspect.signature(handler)
    for count in (2, 1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 2
    raise ConfigurationError(f"handler of {name}", "must be callable as handler(ctx, data) or handler(ctx)")


def _annotation(handler: Handler) -> Any:
    """The type of the second positional parameter; ``dict`` when it says nothing."""
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    parameters = list(inspect.signature(handler).parameters.values())
    if len(parameters) < 2:
        return dict
    return _hints(function).get(parameters[1].name, dict)


def _hints(function: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function))
    except NameError as error:
        raise ConfigurationError(
            f"payload of {getattr(function, '__qualname__', function)}",
            f"the annotation cannot be resolved ({error}); define the model at module level or pass payload=",
        ) from None


def _is_async(handler: Handler) -> bool:
    call = handler if inspect.isroutine(handler) else type(handler).__call__
    return inspect.iscoroutinefunction(inspect.unwrap(call))


def _same_function(first: Handler, second: Handler) -> bool:
    """True for a function and its reloaded self."""
    if first is second:
        return True
    names = [(getattr(f, "__module__", None), getattr(f, "__qualname__", None)) for f in (first, second)]
    return names[0] == names[1] and "<locals>" not in str(names[0][1]) and None not in names[0]


def _place(made: JobType) -> str:
    handler = made.handler
    where = f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', type(handler).__name__)}"
    return f"{made.owner} ({where})"
