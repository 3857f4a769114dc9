"""Connections that are kept for the next delivery to the same origin.

httpcore's own pool looks at every connection for every request: with 100 deliveries at a time to one origin it
made 83 requests a second on two cores, httpx 480, and the same httpcore connections kept in a dict per origin
4,300. There is no limit on connections in use: a delivery that had to wait for one would let a tenant with slow
endpoints hold up the others. The executor's slots and shares are that limit.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TypeAlias

import httpcore
from httpcore import AsyncHTTPConnection, Origin, Request, Response

from jobs_exec_webhooks.network import VettedNetwork

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept; many servers close theirs after 60, some load balancers earlier."""

_Key: TypeAlias = tuple[bytes, bytes, int]
_STALE = (
    httpcore.ConnectionNotAvailable,
    httpcore.ReadError,
    httpcore.RemoteProtocolError,
    httpcore.WriteError,
)


class Connections:
    """Sends requests over kept or new connections; keeps up to `max_idle` of them, the oldest goes first."""

    def __init__(self, network: VettedNetwork, make_tls: Callable[[], ssl.SSLContext], max_idle: int) -> None:
        self._network = network
        self._make_tls = make_tls
        self._max_idle = max_idle
        self._idle: dict[AsyncHTTPConnection, _Key] = {}
        self._by_origin: dict[_Key, dict[AsyncHTTPConnection, None]] = {}
        self._closed = False

    @property
    def idle(self) -> int:
        """How many connections wait for their next request."""
        return len(self._idle)

    @asynccontextmanager
    async def response(self, request: Request) -> AsyncIterator[Response]:
        """The response to `request`, its body unread; what is unread at the end of the block is dropped.

        Raises what httpcore and `VettedNetwork` raise.
        """
        connection, response = await self._send(request)
        try:
            yield response
        finally:
            try:
                await response.aclose()
            finally:
                await self._give_back(connection, _key(request.url.origin))

    async def _send(self, request: Request) -> tuple[AsyncHTTPConnection, Response]:
        """The server may end a kept connection at the moment it is used again; then a new one is tried, once.

        The request may have been read all the same. Its ``webhook-id`` is the same, as in any other retry.
        """
        kept = await self._take(_key(request.url.origin))
        if kept is not None:
            try:
                return kept, await _sent(kept, request)
            except _STALE:
                pass
        new = self._new(request.url.origin)
        return new, await _sent(new, request)

    def _new(self, origin: Origin) -> AsyncHTTPConnection:
        tls = self._tls if origin.scheme == b"https" else None
        return AsyncHTTPConnection(origin, ssl_context=tls, keepalive_expiry=KEEP_ALIVE, network_backend=self._network)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """One for all: reading the authorities takes 15 ms, which a start without https need not spend."""
        return self._make_tls()

    async def _take(self, key: _Key) -> AsyncHTTPConnection | None:
        """The connection used last: it is the least likely to have been closed by the server."""
        while (kept := self._by_origin.get(key)) is not None:
            connection = next(reversed(kept))
            self._forget(connection)
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def _give_back(self, connection: AsyncHTTPConnection, key: _Key) -> None:
        if self._closed or not connection.is_idle():
            await connection.aclose()
            return
        self._idle[connection] = key
        self._by_origin.setdefault(key, {})[connection] = None
        oldest = next(iter(self._idle))
        if len(self._idle) > self._max_idle or oldest.has_expired():
            self._forget(oldest)
            await oldest.aclose()

    def _forget(self, connection: AsyncHTTPConnection) -> None:
        key = self._idle.pop(connection)
        kept = self._by_origin[key]
        del kept[connection]
        if not kept:
            del self._by_origin[key]

    async def close(self) -> None:
        """Closes every idle connection; those in use are closed when they come back."""
        self._closed = True
        for connection in list(self._idle):
            self._forget(connection)
            await connection.aclose()


def _key(origin: Origin) -> _Key:
    return origin.scheme, origin.host, origin.port


async def _sent(connection: AsyncHTTPConnection, request: Request) -> Response:
    try:
        return await connection.handle_async_request(request)
    except BaseException:
        await connection.aclose()
        raise
