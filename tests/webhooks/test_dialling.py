"""Streams over real sockets: all bytes arrive, neither side fills memory, every end is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpcore
import pytest
import trustme

from jobs_exec_webhooks.dialling import HIGH, Dialler, Stream

MEGABYTE = 1024 * 1024
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking_to(server_side: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Stream]:
    """A stream to a server on loopback whose only connection is served by `server_side`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server_side(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    stream = await Dialler().connect_tcp("127.0.0.1", server.sockets[0].getsockname()[1], 5)
    try:
        yield stream
    finally:
        await stream.aclose()
        server.close()
        await server.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (the stream has no event for what is looked at)
            await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def exchanged(stream: Stream, data: bytes) -> bytes:
    """Sends `data` and reads as much, both at once."""
    received = bytearray()

    async def receive() -> None:
        while len(received) < len(data):
            received.extend(await stream.read(65536, 5))

    async with asyncio.TaskGroup() as both:
        both.create_task(stream.write(data, 5))
        both.create_task(receive())
    return bytes(received)


async def test_megabytes_go_both_ways() -> None:
    data = bytes(range(256)) * 4096 * 8
    async with talking_to(echo) as stream:
        assert await exchanged(stream, data) == data


async def test_megabytes_go_both_ways_encrypted() -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("hooks.example").configure_cert(theirs)
    data = bytes(range(256)) * 4096 * 8
    async with talking_to(echo, theirs) as plain:
        stream = await plain.start_tls(ours, "hooks.example", 5)
        assert stream.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        assert await exchanged(stream, data) == data
        await stream.aclose()


async def test_reading_stops_when_nobody_takes_what_arrives() -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with talking_to(flood) as stream:
        await until(lambda: stream._wire._paused)
        assert len(stream._wire._buffer) <= HIGH + 256 * 1024
        assert await stream.read(10) == b"x" * 10
        while stream._wire._paused:
            await stream.read(65536)
        assert len(await stream.read(1)) == 1


async def test_a_receiver_that_does_not_read_ends_in_a_write_timeout() -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with talking_to(deaf) as stream:
        with pytest.raises(httpcore.WriteTimeout, match=r"0\.05 s"):
            await stream.write(b"x" * 64 * MEGABYTE, 0.05)


async def test_what_came_before_the_end_is_read_and_then_the_end() -> None:
    async def farewell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"goodbye")
        writer.write_eof()
        await writer.drain()
        await _reader.read()

    async with talking_to(farewell) as stream:
        received = b""
        while part := await stream.read(3, 5):
            received += part
        assert received == b"goodbye"
        assert stream.get_extra_info("is_readable")


async def test_an_unasked_word_on_an_idle_connection_is_noticed() -> None:
    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 408 Too slow\r\n\r\n")
        await reader.read()

    async with talking_to(talkative) as stream:
        await until(lambda: stream.get_extra_info("is_readable"))


async def test_silence_ends_in_a_read_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking_to(silent) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, 0.01)


async def test_a_connection_that_breaks_is_an_error_and_not_an_end() -> None:
    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()  # what was not read makes it a reset

    async with talking_to(breaking) as stream:
        await stream.write(b"x" * MEGABYTE, 5)
        with pytest.raises(httpcore.ReadError):
            await stream.read(1, 5)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x", 5)


async def test_a_handshake_that_never_comes_ends_in_a_connect_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking_to(silent) as stream:
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(ssl.create_default_context(), "hooks.example", 0.05)


async def test_a_handshake_with_something_else_is_a_connect_error() -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async with talking_to(smtp) as stream:
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(ssl.create_default_context(), "hooks.example", 5)
