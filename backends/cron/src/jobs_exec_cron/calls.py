"""What a caller brings, in any of its forms, as one `Call`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict

from jobs_exec import Envelope
from jobs_exec.errors import InvalidJob
from jobs_exec.inline import Call, call_from_json, time_of_tick


class CallOptions(TypedDict, total=False):
    """What `trigger` takes besides org and type; what it leaves out (priority, delay) has no meaning for work done now."""

    data: Any
    """A JSON object (default ``{}``) or an instance of the type's payload model."""
    key: str | None
    """The caller's name for this piece of work, 1 to 512 characters."""
    max_attempts: int | None
    """1 to 1000; default the type's own, else ``JOB_MAX_ATTEMPTS``."""
    expires_at: datetime | None
    """Work that is brought, or comes to its next attempt, after this time ends as ``expired``; with an offset."""
    trace: str | None
    """A W3C traceparent, handed on as ``ctx.trace``."""


def call_of(envelope: Envelope | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Call:
    """The call that `trigger` was given; `tick` stands in `fields`, and may stand beside an `Envelope`.

    Raises `InvalidJob` naming the field, and `TypeError` for an envelope that comes with fields of its own.
    """
    tick = fields.get("tick")
    rest = {name: value for name, value in fields.items() if name != "tick"}
    if envelope is None:
        return at_once(Call(_envelope(rest), _tick(tick)))
    if rest:
        raise TypeError(f"the job is described by its envelope; leave {', '.join(sorted(rest))} out")
    if isinstance(envelope, Envelope):
        return at_once(Call(envelope, _tick(tick)))
    call = call_from_json(envelope)
    return at_once(call if tick is None else replace(call, tick=_tick(tick)))


def at_once(call: Call) -> Call:
    """Returns `call`; raises `InvalidJob` when it asks for a later time, which silence about would be worse than an error."""
    for name in ("run_at", "delay"):
        if getattr(call.envelope, name) is not None:
            raise InvalidJob(name, "has no meaning here: what is triggered runs at once; leave it out")
    return call


def _tick(value: datetime | str | None) -> datetime | None:
    return None if value is None else time_of_tick(value)


def _envelope(fields: Mapping[str, Any]) -> Envelope:
    given = {name: value for name, value in fields.items() if value is not None}
    return Envelope(given.pop("org_id", None), given.pop("type", None), **given)
