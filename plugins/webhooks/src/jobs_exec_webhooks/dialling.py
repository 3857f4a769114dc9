"""Sockets for httpcore, straight on asyncio.

httpcore brings streams over anyio; these carry half as many deliveries again (2,600 against 3,600 a second on two
cores, a hundred at a time to one origin), because nothing is created for a read or write that need not wait.

A `Wire` is the protocol under one stream. It buffers what arrives and stops reading at `HIGH` bytes, so a receiver
that answers without end fills no memory. TLS is a second `Wire` above the same transport, as `loop.start_tls` has it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

HIGH = 256 * 1024


class Wire(asyncio.Protocol):
    """What arrived and was not read yet, and whether more may be written. One reader and one writer at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.ended = False
        self._error: Exception | None = None
        self._buffer = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._full = False
        self._paused = False

    @property
    def touched(self) -> bool:
        """True when something arrived, be it the end: on an idle connection that means it cannot be used again."""
        return self.ended or bool(self._buffer)

    # --- called by the transport -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (what create_connection and start_tls make)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keeps `data`, and stops reading when there is much of it."""
        self._buffer += data
        if len(self._buffer) > HIGH and self.transport is not None and not self._paused:
            self.transport.pause_reading()
            self._paused = True
        _wake(self._reader)

    def eof_received(self) -> bool:
        """The other side writes no more; nothing is left to be said to it either."""
        self.ended = True
        _wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends whoever waits."""
        self.ended, self._error = True, exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._full = False
        _wake(self._writer)

    # --- called by the stream ----------------------------------------------------------------------------

    async def read(self, most: int) -> bytes:
        """Up to `most` bytes, none at the end. Raises what broke the connection."""
        if not self._buffer and not self.ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._buffer and self._error is not None:
            raise self._error
        return self._taken(most)

    def _taken(self, most: int) -> bytes:
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        if self._paused and len(self._buffer) <= HIGH and self.transport is not None and not self.ended:
            self.transport.resume_reading()
            self._paused = False
        return data

    async def written(self) -> None:
        """Returns when the socket has taken nearly everything. Raises what broke the connection."""
        if self._full and not self.ended:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self._error is not None:
            raise self._error

    @property
    def must_wait(self) -> bool:
        """True when `written` would wait."""
        return self._full


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class Stream(AsyncNetworkStream):
    """One connection as httpcore wants it; `timeout`s are seconds."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes`, none at the end. Raises `httpcore.ReadTimeout` or `httpcore.ReadError`."""
        try:
            if self._wire.touched:
                return await self._wire.read(max_bytes)
            async with asyncio.timeout(timeout):
                return await self._wire.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout(_silent(timeout)) from None
        except OSError as error:
            raise httpcore.ReadError(_words(error)) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends `buffer`. Raises `httpcore.WriteTimeout` or `httpcore.WriteError`."""
        wire = self._wire
        if wire.transport is None or wire.transport.is_closing():
            raise httpcore.WriteError("the connection is closed")
        wire.transport.write(buffer)
        if not wire.must_wait:
            return
        try:
            async with asyncio.timeout(timeout):
                await wire.written()
        except TimeoutError:
            raise httpcore.WriteTimeout(_silent(timeout)) from None
        except OSError as error:
            raise httpcore.WriteError(_words(error)) from None

    async def aclose(self) -> None:
        """Drops the connection; a farewell over TLS would wait for the other side's."""
        if self._wire.transport is not None:
            self._wire.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """The same connection encrypted. Raises `httpcore.ConnectTimeout` or `httpcore.ConnectError`."""
        transport, secured = self._wire.transport, Wire()
        assert transport is not None  # noqa: S101  (a stream is made from a connected wire)
        try:
            async with asyncio.timeout(timeout):
                made = await asyncio.get_running_loop().start_tls(
                    transport, secured, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            transport.abort()
            raise httpcore.ConnectTimeout(_silent(timeout)) from None
        except OSError as error:  # ssl.SSLError is one
            transport.abort()
            raise httpcore.ConnectError(_words(error)) from None
        secured.connection_made(made)  # type: ignore[arg-type]  # Transport or None, by typeshed; it is never None
        return Stream(secured)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore and `VettedNetwork` ask for."""
        transport = self._wire.transport
        match info:
            case "is_readable":
                return self._wire.touched
            case "server_addr" if transport is not None:
                return transport.get_extra_info("peername")
            case "ssl_object" if transport is not None:
                return transport.get_extra_info("ssl_object")
        return None


class Dialler(AsyncNetworkBackend):
    """Opens TCP connections to addresses; names are not for it."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> Stream:
        """A connection to the address `host`. Raises `httpcore.ConnectTimeout` or `httpcore.ConnectError`."""
        local = None if local_address is None else (local_address, 0)
        try:
            async with asyncio.timeout(timeout):
                transport, wire = await asyncio.get_running_loop().create_connection(Wire, host, port, local_addr=local)
        except TimeoutError:
            raise httpcore.ConnectTimeout(_silent(timeout)) from None
        except OSError as error:
            raise httpcore.ConnectError(_words(error)) from None
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return Stream(wire)


def _silent(timeout: float | None) -> str:
    return f"nothing within {timeout:g} s" if timeout is not None else "nothing in time"


def _words(error: OSError) -> str:
    return str(error) if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__
