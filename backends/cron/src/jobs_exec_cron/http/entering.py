"""From bytes on a socket to a verified call: read, verify, and only then look at what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json
from starlette.requests import Request

from jobs_exec_cron.http.admitting import Entrance
from jobs_exec_cron.http.reading import BodyRules, read_body
from jobs_exec_cron.http.refusing import Refused, stranger
from jobs_exec_cron.verifying import Presented, Verified, Verifier, accepted

VERIFY_SECONDS = 5.0
"""A verifier that asks a service has this long."""

HEAD_BYTES = 16 * 1024
"""All headers of a call together."""


@dataclass(frozen=True, slots=True)
class Entered:
    """A call of somebody who is known; `value` is its decoded JSON."""

    verified: Verified
    value: object = field(repr=False)


class Door:
    """Lets calls in, one at a time each; made once for the endpoint."""

    def __init__(self, verifiers: Sequence[Verifier], entrance: Entrance, rules: BodyRules) -> None:
        self._verifiers = tuple(verifiers)
        self._entrance = entrance
        self._rules = rules

    async def enter(self, request: Request, path: str) -> Entered:
        """Raises `Refused`: what `read_body` says, 401 for a stranger, 400 for a query and for what is no JSON, 429, 431."""
        _check_head(request)
        async with self._entrance.held():
            body = await read_body(request, self._rules)
            verified = await accepted(self._verifiers, _presented(request, path, body), VERIFY_SECONDS)
        if verified is None:
            raise stranger()
        return Entered(verified, _decoded(body))


def _check_head(request: Request) -> None:
    if request.scope["query_string"]:
        # No proof covers it, so nothing that stands there may look as if it meant something.
        raise Refused(400, "malformed", "a query is not taken here; everything stands in the body")
    # Servers bound what is incomplete; headers that arrive in one piece pass them at any length.
    if sum(len(name) + len(value) for name, value in request.headers.raw) > HEAD_BYTES:
        raise Refused(431, "too_large", f"the headers may have at most {HEAD_BYTES} bytes")


def _presented(request: Request, path: str, body: bytes) -> Presented:
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw)
    return Presented(path, headers, body)


def _decoded(body: bytes) -> object:
    """The decoder bounds depth (200) and digits (4300) by itself; the envelope's rules are tighter and come next."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError):
        raise Refused(400, "malformed", "the body is not JSON") from None
    _check_names(body)
    return value


def _check_names(body: bytes) -> None:
    """Of a name that stands twice the decoder takes the last and others the first: whoever checked the org in front of us
    may have read another one. It cannot tell, so what it has accepted is read once more, for the names alone."""
    json.loads(body.decode(), object_pairs_hook=_names, parse_int=len, parse_float=len)


def _names(pairs: Sequence[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused(400, "malformed", "an object in the body has a name twice")
