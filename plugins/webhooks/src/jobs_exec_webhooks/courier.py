"""The handler of ``webhook.deliver`` with the connections it delivers over.

httpcore rather than httpx carries the requests: nothing in it follows redirects, reads proxies from the
environment, keeps cookies or inflates compressed answers, so none of these can be forgotten to be turned off.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType

import certifi
import httpcore
from pydantic import SecretStr
from pydantic_core import to_json

from jobs_exec import JobContext, Outcome, Retry
from jobs_exec.errors import ConfigurationError
from jobs_exec_webhooks.answers import Answer, judge, read_answer
from jobs_exec_webhooks.connections import Connections
from jobs_exec_webhooks.errors import WebhooksNotOpen
from jobs_exec_webhooks.network import VettedNetwork
from jobs_exec_webhooks.payload import Delivery
from jobs_exec_webhooks.resolving import Resolver
from jobs_exec_webhooks.secrets import SecretResolver, secrets_for
from jobs_exec_webhooks.settings import WebhooksSettings
from jobs_exec_webhooks.signing import signature_headers
from jobs_exec_webhooks.targets import Target, parse_url

MAX_BODY = 16 * 1024
"""Bytes of an answer that are read; a connection with a longer one is closed."""
BODY_SECONDS = 2.0
"""The status has decided by then; the rest of the answer is a courtesy that must not hold a slot."""

_ALWAYS = [
    (b"content-type", b"application/json"),
    (b"user-agent", b"jobs-exec-webhooks"),
    (b"accept-encoding", b"identity"),
]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Open:
    """What lives from the executor's start to its end."""

    resolver: Resolver
    connections: Connections


@dataclass(slots=True, eq=False)
class Courier:
    """Delivers webhooks while it is entered (``async with``), which the executor does through the hook `lifespan`."""

    settings: WebhooksSettings = field(repr=False)
    secrets_of: SecretResolver = field(repr=False)
    make_resolver: Callable[[bool], Resolver] = Resolver
    now: Callable[[], datetime] = _now
    _open: _Open | None = field(default=None, repr=False)

    async def __aenter__(self) -> Courier:
        make_tls = partial(tls_context, self.settings.ca_file)
        if self.settings.ca_file is not None:
            make_tls()  # a file that cannot be read is an error of the start
        resolver = self.make_resolver(self.settings.allow_private)
        self._open = _Open(resolver, Connections(VettedNetwork(resolver), make_tls, self.settings.max_idle))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        was, self._open = self._open, None
        if was is not None:
            was.resolver.close()
            await was.connections.close()

    async def deliver(self, ctx: JobContext, data: Delivery) -> Outcome:
        """POSTs ``data.body`` to ``data.url``, signed with the org's secrets; see `answers` for what follows."""
        if self._open is None:
            raise WebhooksNotOpen
        secrets = await secrets_for(ctx.org_id, self.secrets_of, self.settings.allow_unsigned)
        target = parse_url(data.url)
        request = self._request(target, data, secrets, ctx.effect_key)
        try:
            answer = await self._exchange(self._open.connections, request)
        except TimeoutError:
            return Retry(reason=f"{target.origin} gave no answer within {self.settings.timeout_seconds:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            return Retry(reason=_problem(target, error))
        return judge(answer, target.origin, self.now())

    async def _exchange(self, connections: Connections, request: httpcore.Request) -> Answer:
        async with asyncio.timeout(self.settings.timeout_seconds) as clock, connections.response(request) as response:
            # The status is what counts: a body that does not come in time must not turn a success into a failure.
            clock.reschedule(None)
            return read_answer(response.status, response.headers, await _start(response))

    def _request(
        self, target: Target, data: Delivery, secrets: tuple[SecretStr, ...], message_id: str
    ) -> httpcore.Request:
        body = to_json(data.body)
        signed = signature_headers(secrets, message_id, body, self.now())
        own = [(b"host", target.authority.encode()), *_ALWAYS, (b"content-length", str(len(body)).encode())]
        more = [(name.encode(), value.encode()) for name, value in (signed | data.headers).items()]
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        return httpcore.Request("POST", url, headers=own + more, content=body, extensions={"timeout": self._timeouts()})

    def _timeouts(self) -> dict[str, float]:
        settings = self.settings
        return {
            "connect": settings.connect_seconds,
            "read": settings.silence_seconds,
            "write": settings.silence_seconds,
        }


async def _start(response: httpcore.Response) -> bytes:
    """The first bytes of the body, as many as came in time; errors in it change nothing about the status."""
    start = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in response.aiter_stream():
                start += part
                if len(start) > MAX_BODY:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        pass
    return bytes(start[:MAX_BODY])


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies against the authorities in `ca_file`, or against the public ones."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file or certifi.where()))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError("JOB_WEBHOOKS_CA_FILE", f"cannot be read ({error})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _problem(target: Target, error: Exception) -> str:
    return f"{target.origin}: {type(error).__name__}{f' ({error})' if str(error) else ''}"
