"""Calls to an endpoint over HTTP: signed, sent again while nobody can say what became of them, and read with a bound.

Sending again is safe: the call keeps its id and its identity, so a job that was taken at the first time is what the
second is told about. A job that takes longer than one try is found so: the repetition is answered that it is in flight.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from jobs_exec.errors import BackendUnavailable, ConfigurationError
from jobs_exec_cron.settings import CronSettings
from jobs_exec_cron.signing import signed

TRIES = 3
CONNECT_SECONDS = 5.0
PAUSE = 0.2
"""Seconds before the first repetition; each pause is twice the last, and jittered."""

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer that are read: a result has at most 64 KiB unless ``JOB_MAX_RESULT_BYTES`` says more."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers without an outcome that another moment, or another process behind the same address, may not give."""


_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: `value` is the JSON object in the body, empty when there is none; `retry_after` in seconds."""

    status: int
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)
    retry_after: float | None = None

    @property
    def passing(self) -> bool:
        """True for a refusal of the moment; a job that failed, or waits, has an outcome and is none."""
        return self.status in _PASSING and "outcome" not in self.value

    @property
    def undecided(self) -> bool:
        """True where the job may have been taken: a gateway's answer, or an error nobody foresaw."""
        refused = self.status == 503 and "message" in self.value
        return self.passing and self.status >= 500 and not refused


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls go, what signs them, and how long one is tried in all."""

    url: str
    secret: SecretStr = field(repr=False)
    seconds: float = 30.0

    @property
    def origin(self) -> str:
        """For people."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.url))


def place_of(settings: CronSettings) -> Place:
    """Where `settings` say that calls go. Raises `ConfigurationError` without URL or secret."""
    if settings.trigger_url is None:
        raise ConfigurationError(
            "JOB_TRIGGER_URL",
            "is not set, and the cron backend sends jobs to it; set it to the URL of an endpoint (jobs-exec serve, or one "
            "that is mounted), such as https://jobs.example.com/trigger, or run jobs here with trigger(...)",
        )
    if not settings.secrets:
        raise ConfigurationError(
            "JOB_CRON_SECRETS",
            "is not set, and an endpoint runs nothing for callers that do not sign; set it to a secret of the endpoint "
            "that JOB_TRIGGER_URL names (whsec_...)",
        )
    return Place(settings.trigger_url, settings.secrets[0], settings.send_seconds)


class Caller:
    """Sends calls to one place over connections of its own; safe to share between tasks of one loop."""

    def __init__(self, place: Place, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.place = place
        self._pause = pause
        self._client = _client(place.url)

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()

    async def call(self, call_id: str, body: str) -> Reply:
        """The answer, or the last one when all were passing.

        Raises `BackendUnavailable` when none came, and when an earlier try may have been taken: a last one that says that
        nothing was started speaks of itself.
        """
        ends = monotonic() + self.place.seconds
        unknown = False
        for repetition in range(TRIES):
            share = (ends - monotonic()) / (TRIES - repetition)
            got = await self._tried(call_id, body, share)
            if isinstance(got, Reply) and not got.passing:
                break
            unknown = unknown or (got.undecided if isinstance(got, Reply) else not isinstance(got, _NOT_SENT))
            pause = _pause(repetition, got.retry_after if isinstance(got, Reply) else None)
            if repetition + 1 == TRIES or monotonic() + pause >= ends:
                break
            await self._pause(pause)
        if isinstance(got, Reply) and not (unknown and got.passing):
            return got
        raise BackendUnavailable("cron", self._no_answer(got, unknown=unknown))

    async def _tried(self, call_id: str, body: str, seconds: float) -> Reply | httpx.TransportError:
        try:
            async with asyncio.timeout(seconds):
                return await self._once(call_id, body)
        except TimeoutError:
            return httpx.ReadTimeout("no answer in time")
        except httpx.TransportError as error:
            return error

    async def _once(self, call_id: str, body: str) -> Reply:
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "jobs-exec-cron",
            **signed(self.place.secret, call_id, body, datetime.now(UTC)),
        }
        async with self._client.stream("POST", self.place.url, content=body.encode(), headers=headers) as response:
            return Reply(response.status_code, await _value(response), _seconds(response.headers.get("retry-after")))

    def _no_answer(self, got: Reply | httpx.TransportError, *, unknown: bool) -> str:
        last = f"answered {got.status}" if isinstance(got, Reply) else f"{type(got).__name__}: {got}".rstrip(": ")
        said = f"{self.place.origin} ({last})"
        if not unknown:
            return f"cannot reach {said}; nothing was sent, see JOB_TRIGGER_URL"
        return (
            f"{said}: whether the job was taken is not known; the call may be repeated, and is the same piece of work "
            "unless its type has identity none and it has no key"
        )


def _client(url: str) -> httpx.AsyncClient:
    """Proxies and certificates are those of the environment, and what stands there is read now.

    Raises `ConfigurationError`, which quotes neither: a proxy's URL may hold a password.
    """
    try:
        httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError("JOB_TRIGGER_URL", "is no URL; see the host in it") from None
    try:
        return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_SECONDS))
    except (ImportError, OSError, ValueError) as error:
        raise ConfigurationError(
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE",
            f"one of these variables of the environment cannot be used ({type(error).__name__}); correct or unset it",
        ) from None


async def _value(response: httpx.Response) -> Mapping[str, Any]:
    """The object in the body; a page of somebody in between is none."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER:
                return {}
        value = from_json(body)
    except (httpx.DecodingError, ValueError):  # somebody compressed it, unasked and badly
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(header: str | None) -> float | None:
    """Of a Retry-After in seconds; the form with a date is left to our own pauses."""
    return float(header) if header and header.isascii() and header.isdecimal() and len(header) < 10 else None


def _pause(repetition: int, wait: float | None) -> float:
    ours: float = PAUSE * 2.0**repetition * random.uniform(0.5, 1.5)  # noqa: S311  (no secret)
    return max(ours, wait or 0.0)
