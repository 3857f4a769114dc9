"""The body of a call, as bytes: bounded in size before and while it is read, and in the time it takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from jobs_exec_cron.http.refusing import Refused


@dataclass(frozen=True, slots=True)
class BodyRules:
    """At most `max_bytes`, complete within `seconds`."""

    max_bytes: int
    seconds: float


async def read_body(request: Request, rules: BodyRules) -> bytes:
    """Raises `Refused`: 415 for what is no plain JSON, 413, 408, and 400 for a body that ends early."""
    _check_kind(request)
    _check_length(request, rules.max_bytes)
    try:
        async with asyncio.timeout(rules.seconds):
            return await _received(request, rules.max_bytes)
    except TimeoutError:
        raise Refused(408, "too_slow", f"the body did not arrive within {rules.seconds:g} seconds") from None
    except ClientDisconnect:
        raise Refused(400, "truncated", "the body ended early") from None


def _check_kind(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Refused(415, "unsupported", "the content type must be application/json, in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        # A few bytes may unpack to any number of them, and the signature is over what was sent.
        raise Refused(415, "unsupported", "the body must not be compressed")


def _check_length(request: Request, max_bytes: int) -> None:
    """What it says of itself; that it keeps to it is seen while it is read."""
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal():
        raise Refused(400, "malformed", "content-length is no number")
    if len(length) > 20 or int(length) > max_bytes:
        raise _too_large(max_bytes)


async def _received(request: Request, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, "too_large", f"the body may have at most {max_bytes} bytes")
