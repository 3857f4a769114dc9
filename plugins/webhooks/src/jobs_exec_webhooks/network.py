"""Connections to vetted addresses only: the network backend under httpcore.

Vetting a name before the request would leave a gap: a second look-up on connecting may answer something else (DNS
rebinding). Here there is one look-up, on connecting; each address it gives is judged, and the socket is opened to
that very address as a number. The name stays what Host and TLS are about, which httpcore takes from the request.
A connection that is kept alive was vetted when it was made and cannot move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from jobs_exec_webhooks.addresses import Address, literal
from jobs_exec_webhooks.dialling import Dialler
from jobs_exec_webhooks.errors import AddressRefused
from jobs_exec_webhooks.resolving import Resolver


@dataclass(frozen=True, slots=True)
class _Dial:
    """What is the same for every address of a host."""

    port: int
    local_address: str | None
    socket_options: Iterable[SOCKET_OPTION] | None


class VettedNetwork(AsyncNetworkBackend):
    """Resolves with `resolver` and dials what it answers, one address after another."""

    def __init__(self, resolver: Resolver, dial: AsyncNetworkBackend | None = None) -> None:
        self._resolver = resolver
        self._dial = dial or Dialler()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection within `timeout` seconds, the look-up included.

        Raises `UnresolvedHost`, `AddressRefused`, `httpcore.ConnectError` or `httpcore.ConnectTimeout`.
        """
        try:
            async with asyncio.timeout(timeout) as clock:
                addresses = await self._resolver.addresses(host, port)
                return await self._first(host, _Dial(port, local_address, socket_options), addresses, clock)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"no connection within {timeout:g} s") from None

    async def _first(
        self, host: str, dial: _Dial, addresses: tuple[Address, ...], clock: asyncio.Timeout
    ) -> AsyncNetworkStream:
        """Each address gets an equal part of the time that is left, so that a silent one cannot use up all of it."""
        last: Exception = httpcore.ConnectError("no address")
        for waiting, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                stream = await self._dial.connect_tcp(
                    str(address), dial.port, _part(clock, waiting), dial.local_address, dial.socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return await _checked(stream, host, address)
        raise last


def _part(clock: asyncio.Timeout, waiting: int) -> float | None:
    end = clock.when()
    return None if end is None else max(end - asyncio.get_running_loop().time(), 0.0) / waiting


async def _checked(stream: AsyncNetworkStream, host: str, address: Address) -> AsyncNetworkStream:
    """The connection really made leads to the address that was judged, or it is closed."""
    peer = stream.get_extra_info("server_addr")
    if peer is not None and literal(str(peer[0])) == address:
        return stream
    await stream.aclose()
    raise AddressRefused(host, (str(peer[0]) if peer else "an unknown address",))
