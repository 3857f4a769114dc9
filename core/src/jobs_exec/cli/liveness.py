"""A sign of life for whoever supervises the process: a port that answers, or a file that stays fresh.

Both are served by the event loop that runs the jobs. A loop that a handler blocks neither answers nor touches,
which is what the supervisor wants to know.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jobs_exec.cli.output import say
from jobs_exec.errors import ConfigurationError

log = logging.getLogger(__name__)

OPTION = "--liveness"
TOUCH_SECONDS = 1.0
REQUEST_SECONDS = 5.0
"""Longest time a prober may take for its request."""

_ADDRESS = re.compile(r"(?:(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):)?(?P<port>\d{1,5})")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nalive\n"


@asynccontextmanager
async def liveness(target: str | None) -> AsyncIterator[None]:
    """Shows life at `target` during the block: ``PORT`` (on loopback), ``HOST:PORT`` or the path of a file.

    Raises `ConfigurationError` when the port cannot be bound or the file cannot be written.
    """
    if target is None:
        yield
    elif (address := _ADDRESS.fullmatch(target)) is not None:
        async with _port((address["host"] or "127.0.0.1").strip("[]"), int(address["port"])):
            yield
    else:
        async with _file(Path(target)):
            yield


@asynccontextmanager
async def _port(host: str, port: int) -> AsyncIterator[None]:
    try:
        server = await asyncio.start_server(_answer, host, port)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(OPTION, f"cannot listen on {host}:{port} ({error}); choose another port") from None
    say(f"liveness on http://{host}:{server.sockets[0].getsockname()[1]}/")
    try:
        yield
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def _file(path: Path) -> AsyncIterator[None]:
    _touch(path)
    toucher = asyncio.create_task(_keep_fresh(path))
    try:
        yield
    finally:
        toucher.cancel()
        await asyncio.gather(toucher, return_exceptions=True)
        _remove(path)


async def _keep_fresh(path: Path) -> None:
    """A file that cannot be touched for a while (a full disk) is fresh again as soon as it can."""
    failing = False
    while True:
        await asyncio.sleep(TOUCH_SECONDS)
        try:
            _touch(path)
        except ConfigurationError as error:
            if not failing:
                log.warning("no sign of life, trying again: %s", error)
            failing = True
        else:
            failing = False


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        raise ConfigurationError(OPTION, f"cannot write {path} ({error.strerror}); choose another file") from None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
