"""A server of its own for the endpoint: uvicorn, with what it leaves open closed.

Uvicorn waits for ever for a request that never becomes complete, and raises where a broken request meets an answer under
way. `Guarded` ends such connections; nothing of them reaches a log but a line. It counts connections that say nothing like
those that carry calls, and refuses everybody, probes too, when there are many: `Guarded` gives their places away. And it
goes on reading behind a body whose end can be found in two ways, which `unambiguous` does not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from jobs_exec.errors import ConfigurationError
from jobs_exec.inline import ExitReport
from jobs_exec_cron.http.application import Endpoint
from jobs_exec_cron.http.entering import HEAD_BYTES
from jobs_exec_cron.http.refusing import Refused

HEAD_SECONDS = 10.0
"""From connecting, or from the first byte of a further request, to the end of its headers."""

SPARE_CONNECTIONS = 100
"""Beyond those that carry calls: probes, and connections kept alive."""


class Guarded(H11Protocol):
    """HTTP/1.1 with a clock on headers, and no reading on after an answer."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock, and keeps room for whoever speaks."""
        super().connection_made(transport)
        self._make_room()
        self._await_head()

    def _make_room(self) -> None:
        """The connection that has been silent for longest goes: one that means to call speaks at once."""
        if self.limit_concurrency is None or len(self.connections) < self.limit_concurrency:
            return
        others = [each for each in self.connections if isinstance(each, Guarded) and each is not self]
        silent = [(since, each) for each in others if (since := each._silent_since()) is not None]
        if silent:
            _, longest = min(silent, key=itemgetter(0))
            longest._end()

    def _silent_since(self) -> float | None:
        """By the loop's clock; None while a call is under way."""
        if self._head_timer is not None:
            return self._head_timer.when() - HEAD_SECONDS
        kept = self.timeout_keep_alive_task
        return None if kept is None else kept.when() - self.timeout_keep_alive

    def _end(self) -> None:
        """Ends it at once, and counts it no more."""
        self._head_came()
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Stops it when the headers are there, starts it when some of them are."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_head()
        else:
            self._head_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self._head_came()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer that came before the end of the body was a refusal: nobody reads the rest."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """While another answer is under way there is no room for this one, and uvicorn's own raises."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and (
            self.cycle is None or self.cycle.response_complete
        ):
            super().send_400_response(msg)
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.abort()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def unambiguous(app: ASGIApp) -> ASGIApp:
    """Refuses a request that has both a length and chunks, and ends its connection (RFC 9112, 6.1).

    Whoever passes it on may have found its end elsewhere; what we would read as the next request, and answer, would be
    somebody's that never sent it.
    """

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope.get("headers", ())}
        if not names >= {b"content-length", b"transfer-encoding"}:
            await app(scope, receive, send)
            return
        response = Refused(400, "malformed", "a body has a length or is in chunks, not both").response()
        response.headers["connection"] = "close"
        await response(scope, receive, send)

    return checked


class Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and tells when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn would raise them again after its end, and the process would not end with our code."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens."""
        await super().startup(sockets)
        self._on_listening()


class Serving:
    """The endpoint behind a server; `drain` and `abort` are the first and the second signal."""

    def __init__(self, endpoint: Endpoint, grace: float, on_listening: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._server = Server(_config(endpoint, grace), on_listening)

    def drain(self) -> None:
        """Accepts nothing more; running jobs have the grace, and every caller gets an answer."""
        self._endpoint.stop()
        self._server.should_exit = True

    def abort(self) -> None:
        """Cancels what runs and gives it back."""
        self._endpoint.abort()
        self._server.should_exit = True

    async def run(self, listener: socket.socket) -> ExitReport:
        """Until `drain`, `abort`, or until the executor ends by itself. Raises what `Endpoint.running` raises."""
        async with self._endpoint.running():
            watching = asyncio.create_task(self._end_with_the_executor())
            try:
                await self._server.serve(sockets=[listener])
            finally:
                self._endpoint.stop()
                await watching
        return await self._endpoint.ended()

    async def _end_with_the_executor(self) -> None:
        try:
            await self._endpoint.ended()
        finally:
            self._server.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """A socket that accepts connections there (port 0: any free one). Raises `ConfigurationError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
        why = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise ConfigurationError("--host, --port", f"cannot listen on {host} port {port}: {why}") from error
    # What it accepts inherits this. Asyncio sets it only on sockets whose protocol number is known, which these are not,
    # and then every answer over a kept connection waited 42 ms for the acknowledgement of its headers.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _config(endpoint: Endpoint, grace: float) -> uvicorn.Config:
    return uvicorn.Config(
        unambiguous(endpoint),
        http=Guarded,
        ws="none",
        lifespan="off",  # the endpoint is entered around the server, so that its errors keep their exit codes
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        # The header of whoever asks says nothing about whom we talk to.
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        limit_concurrency=endpoint.capacity + SPARE_CONNECTIONS,
        timeout_keep_alive=5,
        # The executor cuts off at the end of the grace; this is for a connection that does not take its answer.
        timeout_graceful_shutdown=int(grace) + 15,
    )
