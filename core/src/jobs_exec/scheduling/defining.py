"""How a schedule is defined in code: `schedule` checks everything that can be known without a database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypedDict, TypeVar, Unpack

from jobs_exec.contracts.schedule import Audience, CatchUp, Overlap, Schedule
from jobs_exec.envelope import MAX_ATTEMPTS, check_data, check_org, check_type
from jobs_exec.errors import InvalidJob, InvalidSchedule, near_matches
from jobs_exec.payload import as_json
from jobs_exec.registry import record_schedule
from jobs_exec.scheduling.fields import parse_cron
from jobs_exec.scheduling.ticks import first_tick
from jobs_exec.scheduling.zones import zone_of

MAX_ORGS = 10_000
"""Orgs that one schedule may name; more belong into the org directory."""

MAX_CATCH_UP = 1000
MAX_EVERY = 100 * 365 * 86_400
MAX_JITTER = 86_400.0
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9900, 1, 1, tzinfo=UTC)

W = TypeVar("W", bound=StrEnum)


class ScheduleOptions(TypedDict, total=False):
    """What may be said about a schedule besides its name and type; `cron` or `every`, and `orgs`, must be."""

    cron: str | None
    """Five fields (minute first), six (second first), or ``@hourly @daily @weekly @monthly @yearly``."""
    every: timedelta | float | None
    """The interval, whole seconds of at least 1, counted from `start` or 1970-01-01T00:00:00Z."""
    zone: str
    """IANA name of the zone that `cron` is read in; default ``UTC``."""
    orgs: Audience | str | Iterable[str]
    """The orgs, or `Audience.ALL` (``"*"``): all active ones of the org directory."""
    data: Any
    """The payload of every job: a JSON object, or an instance of the type's payload model."""
    catch_up: CatchUp | str
    """For ticks that were missed: ``none``, ``last`` (default), ``all`` (at most 10) or ``all:N``."""
    overlap: Overlap | str
    """``allow`` (default), or ``skip`` an org whose last job of this schedule has not ended."""
    jitter: timedelta | float
    """Longest delay of an org's job, seconds up to a day; the same for an org at every tick."""
    start: datetime | None
    """No tick lies before; a whole second with an offset."""
    end: datetime | None
    """No tick lies at or after."""
    tick_as: str | None
    """The field of `data` that receives the tick, ``2026-11-25T13:00:00Z``."""
    priority: int
    """0 (first) to 9, inside the org; default 5."""
    max_attempts: int | None
    """Default: that of the job type."""
    enabled: bool
    """False keeps it in the book without firing."""
    org_id: str | None
    """The tenant that owns it, for one that is added at run time; it is then for no other org."""


_OPTIONS = tuple(ScheduleOptions.__annotations__)


def schedule(name: str, type: str, **options: Unpack[ScheduleOptions]) -> Schedule:
    """A checked `Schedule`; options as in `ScheduleOptions`. Raises `InvalidSchedule` naming the field."""
    for option in options:
        if option not in _OPTIONS:
            near = near_matches(option, _OPTIONS)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(_OPTIONS)}"
            raise InvalidSchedule(option[:64], f"is not an option of a schedule; {hint}")
    owner = options.get("org_id")
    catch_up, limit = _catch_up(options.get("catch_up", CatchUp.LAST))
    made = Schedule(
        name=_name(name),
        type=_as_schedule("type", check_type, type),
        data=_data(options.get("data")),
        cron=_cron(options.get("cron")),
        every=_every(options.get("every")),
        zone=zone_of(options.get("zone", "UTC")).key,
        orgs=_orgs(options.get("orgs", () if owner is None else owner)),
        catch_up=catch_up,
        catch_up_limit=limit,
        overlap=_word("overlap", Overlap, options.get("overlap", Overlap.ALLOW)),
        jitter=_jitter(options.get("jitter", 0.0)),
        start=_time("start", options.get("start")),
        end=_time("end", options.get("end")),
        tick_as=options.get("tick_as"),
        priority=_whole("priority", options.get("priority", 5), 0, 9),
        max_attempts=_attempts(options.get("max_attempts")),
        enabled=_flag(options.get("enabled", True)),
        org_id=None if owner is None else _as_schedule("org_id", check_org, owner),
    )
    return _checked(made)


def register_schedule(name: str, type: str, **options: Unpack[ScheduleOptions]) -> Schedule:
    """Defines a schedule of the application, or of the plugin being loaded; options as in `ScheduleOptions`.

    Executors keep it in the book while they carry it. Raises `InvalidSchedule`, also for a second one of that name.
    """
    return record_schedule(schedule(name, type, **options))


def rechecked(made: Schedule) -> Schedule:
    """`made` as `schedule` would make it: one that was changed field by field may break the rules that it has met."""
    named = ("name", "type", "catch_up")
    options: dict[str, Any] = {option: getattr(made, option) for option in _OPTIONS if option not in named}
    limit = f":{made.catch_up_limit}" if made.catch_up == CatchUp.ALL else ""
    return schedule(made.name, made.type, catch_up=f"{made.catch_up}{limit}", **options)


def _checked(made: Schedule) -> Schedule:
    """The rules that concern several fields."""
    if (made.cron is None) == (made.every is None):
        problem = "is given together with every; pass one of them" if made.cron else "is missing; pass cron= or every="
        raise InvalidSchedule("cron", problem)
    if made.every is not None and made.zone != "UTC":
        raise InvalidSchedule("zone", "has no meaning for an interval; leave it out, or pass cron=")
    if made.start is not None and made.end is not None and made.end <= made.start:
        raise InvalidSchedule("end", "must be later than start")
    if made.org_id is not None and made.orgs != (made.org_id,):
        raise InvalidSchedule("orgs", "must be the tenant's own org; leave it out")
    _check_tick_as(made)
    if made.cron is not None and first_tick(replace(made, start=None, end=None), made.start or _EARLIEST) is None:
        raise InvalidSchedule("cron", "character 1: the expression never matches", 1)
    return made


def _name(name: object) -> str:
    try:
        return check_type(name)
    except InvalidJob as error:
        raise InvalidSchedule("name", error.problem) from None


def _as_schedule(field: str, check: Any, value: object) -> Any:
    """A rule of envelopes, as one of schedules."""
    try:
        return check(value)
    except InvalidJob as error:
        raise InvalidSchedule(field, error.problem) from None


def _data(data: object) -> Mapping[str, Any]:
    handed_in = as_json(data)
    try:
        check_data(handed_in)
    except InvalidJob as error:
        raise InvalidSchedule(error.field, error.problem) from None
    return dict(handed_in)


def _cron(text: object) -> str | None:
    """The expression with single spaces; aliases as they are."""
    if text is None:
        return None
    parse_cron(text)
    return " ".join(str(text).split())


def _every(value: object) -> int | None:
    if value is None:
        return None
    seconds = _seconds("every", value)
    if seconds != int(seconds) or not 1 <= seconds <= MAX_EVERY:
        raise InvalidSchedule("every", "must be whole seconds, from 1 to 100 years; pass timedelta(minutes=5) or 300")
    return int(seconds)


def _jitter(value: object) -> float:
    seconds = _seconds("jitter", value)
    if not 0 <= seconds <= MAX_JITTER:
        raise InvalidSchedule("jitter", "must be seconds from 0 to 86400; pass timedelta(minutes=5) or 300")
    return seconds


def _seconds(field: str, value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidSchedule(field, "must be seconds or a timedelta; pass timedelta(minutes=5) or 300")
    return float(value)


def _orgs(orgs: object) -> tuple[str, ...] | Audience:
    if isinstance(orgs, str):
        return Audience.ALL if orgs == Audience.ALL else (_as_schedule("orgs", check_org, orgs),)
    if not isinstance(orgs, Iterable) or isinstance(orgs, (Mapping, bytes)):
        raise InvalidSchedule("orgs", "must be an org, a list of orgs, or '*' for all of the org directory")
    named = tuple(_as_schedule("orgs", check_org, each) for each in orgs)
    if not named:
        raise InvalidSchedule("orgs", "names no org; every job belongs to one: pass them, or '*' for all active ones")
    if Audience.ALL in named:
        raise InvalidSchedule("orgs", "holds '*' among others; pass '*' alone for all orgs")
    if len(named) > MAX_ORGS:
        raise InvalidSchedule("orgs", f"names {len(named)} orgs, at most {MAX_ORGS}; pass '*' and an org directory")
    if len(set(named)) < len(named):
        raise InvalidSchedule("orgs", "names an org twice; leave one out")
    return named


def _catch_up(value: object) -> tuple[CatchUp, int]:
    """The policy, and the number behind ``all:``."""
    word, colon, number = str(value).partition(":")
    policy = _word("catch_up", CatchUp, word)
    if not colon:
        return policy, 10
    if policy is not CatchUp.ALL or not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= MAX_CATCH_UP:
        raise InvalidSchedule("catch_up", f"must be none, last, all, or all:N with 1 to {MAX_CATCH_UP}")
    return policy, int(number)


def _word(field: str, words: type[W], value: object) -> W:
    try:
        return words(str(value))
    except ValueError:
        raise InvalidSchedule(field, f"{str(value)[:32]!r} is not one of {', '.join(words)}") from None


def _time(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidSchedule(field, "must be a time with an offset, such as 2030-01-31T08:00:00Z")
    if value.microsecond or not _EARLIEST <= value <= _LATEST:
        raise InvalidSchedule(field, "must be a whole second between the years 1970 and 9900")
    return value.astimezone(UTC)


def _whole(field: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidSchedule(field, f"must be a whole number from {low} to {high}")
    return value


def _attempts(value: object) -> int | None:
    return None if value is None else _whole("max_attempts", value, 1, MAX_ATTEMPTS)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidSchedule("enabled", "must be true or false")
    return value


def _check_tick_as(made: Schedule) -> None:
    field = made.tick_as
    if field is None:
        return
    if not isinstance(field, str) or not 1 <= len(field) <= 128:
        raise InvalidSchedule("tick_as", "must be the name of a field of data, 1 to 128 characters")
    try:
        check_data({field: ""})
    except InvalidJob as error:
        raise InvalidSchedule("tick_as", error.problem) from None
    if field in made.data:
        raise InvalidSchedule("tick_as", f"names the field {field!r}, which data has already; leave it out of data")
