"""A real HTTP receiver on loopback whose answers a test decides, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came over the wire; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = Callable[[Received], bytes | Awaitable[bytes]]


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A complete response; ``retry_after="5"`` becomes ``retry-after: 5``."""
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(slots=True)
class Receiver:
    """What arrived, and what is answered next."""

    port: int = 0
    answer: Answer = lambda _request: reply(200, b"ok")
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    server_names: list[str | None] = field(default_factory=list)
    close_after: bool = False
    """End the connection after each answer, without saying so in it."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def only(self) -> Received:
        """The one request that arrived."""
        (request,) = self.requests
        return request

    def url(self, host: str = "127.0.0.1", path: str = "/hook", scheme: str = "http") -> str:
        """A URL that leads here."""
        return f"{scheme}://{host}:{self.port}{path}"

    async def hang_up(self) -> None:
        """Ends every open connection."""
        for writer in list(self._writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def abort(self) -> None:
        """Drops every open connection without a farewell, which over TLS would wait for the other side's."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while (request := await _read(reader, number)) is not None:
                self.requests.append(request)
                answer = self.answer(request)
                writer.write(answer if isinstance(answer, bytes) else await answer)
                await writer.drain()
                if self.close_after:
                    return
        except (OSError, asyncio.IncompleteReadError):
            return  # the client hung up, as some tests want it to
        finally:
            self._writers.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    return Received(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))), connection)


@contextlib.asynccontextmanager
async def receiving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens on `host` while the block runs."""
    receiver = Receiver()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: receiver.server_names.append(name)
    server = await asyncio.start_server(receiver._serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        receiver.abort()
        await server.wait_closed()
