"""The envelope ``{"orgId", "type", "data", ...}`` and its rules, the same for every way in.

Where JSON is read both spellings of a field are taken (``orgId`` and ``org_id``); both at once is an
error, and so is any field that is not listed here. Each violation is one `InvalidJob` that names the field.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs_exec.errors import InvalidJob, MissingOrg, PayloadTooLarge

MAX_ORG_LENGTH = 255
MAX_TYPE_LENGTH = 128
MAX_KEY_LENGTH = 512
MAX_DEPTH = 64
MAX_INTEGER = 2**53
"""Integers beyond ±2^53 change value in other languages' JSON and in RFC 8785."""
MAX_ATTEMPTS = 1000

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPELLINGS = {
    "orgId": "org_id",
    "runAt": "run_at",
    "maxAttempts": "max_attempts",
    "expiresAt": "expires_at",
}
_FIELDS = (
    "org_id",
    "type",
    "data",
    "key",
    "priority",
    "run_at",
    "delay",
    "max_attempts",
    "expires_at",
    "trace",
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A job as a caller describes it, valid by construction.

    `delay` is in seconds. `data` is any JSON object, or an instance of the type's payload model.
    """

    org_id: str
    type: str
    data: Any = field(default_factory=dict, repr=False)
    key: str | None = None
    priority: int = 5
    run_at: datetime | None = None
    delay: float | None = None
    max_attempts: int | None = None
    expires_at: datetime | None = None
    trace: str | None = None

    def __post_init__(self) -> None:
        check_org(self.org_id)
        check_type(self.type)
        _check_key(self.key)
        _check_integer("priority", self.priority, 0, 9)
        _check_integer("max_attempts", self.max_attempts, 1, MAX_ATTEMPTS, optional=True)
        _check_when(self.run_at, self.delay)
        _check_time("expires_at", self.expires_at)
        _check_trace(self.trace)


def envelope_from_json(value: object) -> Envelope:
    """Reads one decoded JSON envelope; raises `InvalidJob` naming the first field that breaks a rule."""
    if not isinstance(value, Mapping):
        raise InvalidJob("envelope", f"must be a JSON object, not {_kind(value)}")
    fields: dict[str, Any] = {}
    for name, item in value.items():
        _take_field(fields, name, item)
    if "org_id" not in fields:
        raise MissingOrg()
    if "type" not in fields:
        raise InvalidJob("type", "is missing; name the job type")
    for name in ("run_at", "expires_at"):
        fields[name] = _time_from_json(name, fields.get(name))
    if fields.get("priority") is None:
        fields.pop("priority", None)
    check_data(fields.setdefault("data", {}))
    return Envelope(**fields)


def _take_field(fields: dict[str, Any], name: object, item: object) -> None:
    own = _SPELLINGS.get(str(name), name)
    if own not in _FIELDS:
        raise unknown_field(str(name))
    if own in fields:
        raise InvalidJob(str(name), f"is given twice (the spellings of {own!r} mean the same field)")
    fields[str(own)] = item


def unknown_field(name: str) -> InvalidJob:
    """What to raise for a field that the envelope has not."""
    return InvalidJob(name[:64], f"is not a field of the envelope; known are {', '.join(_FIELDS)}")


def _time_from_json(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidJob(name, "must be an ISO 8601 time with an offset, such as 2030-01-31T08:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidJob(name, f"{value[:64]!r} is not an ISO 8601 time, such as 2030-01-31T08:00:00Z") from None


def time_of_tick(value: object) -> datetime:
    """The time a call is for, cut to whole seconds: a datetime or ISO 8601 text with an offset, or ``@`` and Unix seconds."""
    if isinstance(value, str) and re.fullmatch(r"@[0-9]{1,11}", value):
        return datetime.fromtimestamp(int(value[1:]), UTC)
    time = value if isinstance(value, datetime) else _time_from_json("tick", value)
    if time is None:
        raise InvalidJob("tick", "is missing; pass the time the call is for, such as 2030-01-31T08:00:00Z")
    _check_time("tick", time)
    return time.astimezone(UTC).replace(microsecond=0)


def check_org(org_id: object) -> str:
    """Returns `org_id` if it is 1–255 characters, without control characters or surrounding white space."""
    if org_id is None:
        raise MissingOrg()
    if not isinstance(org_id, str):
        raise InvalidJob("orgId", f"must be text, not {_kind(org_id)}")
    if not org_id.strip():
        raise MissingOrg("is blank; every job belongs to one org, pass its id")
    if org_id != org_id.strip():
        raise InvalidJob("orgId", "has white space around it; pass the id itself")
    if len(org_id) > MAX_ORG_LENGTH:
        raise InvalidJob("orgId", f"has {len(org_id)} characters, at most {MAX_ORG_LENGTH} are allowed")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in org_id):
        raise InvalidJob("orgId", "holds a control character; pass the id itself")
    return org_id


def check_type(type_name: object) -> str:
    """Returns `type_name` if it is a letter followed by letters, digits, ``_ . : -``, at most 128 in all."""
    if not isinstance(type_name, str):
        raise InvalidJob("type", f"must be text, not {_kind(type_name)}")
    if not _TYPE.fullmatch(type_name) or len(type_name) > MAX_TYPE_LENGTH:
        raise InvalidJob(
            "type",
            f"{type_name[:MAX_TYPE_LENGTH]!r} must start with a letter, go on with letters, digits or _ . : - "
            f"and have at most {MAX_TYPE_LENGTH} characters",
        )
    return type_name


def _check_key(key: object) -> None:
    if key is None:
        return
    _check_clean_text("key", key)
    if not 1 <= len(str(key)) <= MAX_KEY_LENGTH:
        raise InvalidJob("key", f"must have 1 to {MAX_KEY_LENGTH} characters")


def _check_integer(name: str, value: object, low: int, high: int, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidJob(name, f"must be a whole number from {low} to {high}")


def _check_when(run_at: object, delay: object) -> None:
    _check_time("run_at", run_at)
    if delay is None:
        return
    if run_at is not None:
        raise InvalidJob("delay", "is given together with run_at; pass one of them")
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= 366 * 86_400:
        raise InvalidJob("delay", "must be seconds from 0 to 366 days")


def _check_time(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidJob(name, "must be a time with an offset, such as 2030-01-31T08:00:00Z")
    if not datetime(1970, 1, 2, tzinfo=UTC) <= value <= datetime(9999, 12, 30, tzinfo=UTC):
        raise InvalidJob(name, "must lie between the years 1970 and 9999")


def _check_trace(trace: object) -> None:
    if trace is not None and not (isinstance(trace, str) and _TRACE.fullmatch(trace)):
        raise InvalidJob("trace", "must be a W3C traceparent such as 00-<32 hex>-<16 hex>-01")


def check_data(data: object) -> None:
    """Checks that `data` is a JSON object within the rules; `InvalidJob.field` is the path to what is not."""
    if not isinstance(data, Mapping):
        raise InvalidJob("data", f'must be a JSON object, not {_kind(data)}; pass an object such as {{"id": 1}}')
    pending: list[tuple[str, Any, int]] = [("data", data, 1)]
    while pending:
        path, value, depth = pending.pop()
        if isinstance(value, (Mapping, list, tuple)):
            if depth > MAX_DEPTH:
                raise InvalidJob(
                    "data", f"is nested deeper than {MAX_DEPTH} levels; flatten it, or pass the inner part as text"
                )
            pending.extend((item_path, item, depth + 1) for item_path, item in _children(path, value))
        else:
            _check_scalar(path, value)


def _children(path: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    for key in value:
        _check_clean_text(f"a key of {path}", key)
    return [(f"{path}.{key}"[:200], item) for key, item in value.items()]


def _check_scalar(path: str, value: object) -> None:
    match value:
        case None | bool():
            return
        case str():
            _check_clean_text(path, value)
        case int() if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise InvalidJob(path, "is an integer beyond ±2^53; pass it as text")
        case float() if not math.isfinite(value):
            raise InvalidJob(path, "is not a finite number, which JSON has not; pass text or null")
        case int() | float():
            return
        case _:
            raise InvalidJob(path, f"is {_kind(value)}, which JSON has not; pass text, a number, a list or an object")


def _check_clean_text(path: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidJob(path, f"must be text, not {_kind(value)}")
    if "\0" in value:
        raise InvalidJob(path, "holds a NUL character, which Postgres cannot store; leave it out, or pass base64")
    if _SURROGATE.search(value):
        raise InvalidJob(path, "holds a lone surrogate, which is not valid Unicode text; leave it out, or pass base64")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def encode_payload(data: Mapping[str, Any], max_bytes: int) -> str:
    """The JSON text under which validated `data` is stored; raises `PayloadTooLarge`."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size > max_bytes:
        raise PayloadTooLarge(size, max_bytes)
    return text


def seconds(value: object) -> float:
    """The delay of a job, given as a timedelta or in seconds; raises `InvalidJob` for anything else."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidJob(
            "delay", f"must be seconds or a timedelta, not {_kind(value)}; pass timedelta(minutes=5) or 300"
        )
    return float(value)
