"""From a host name to the addresses a delivery may reach.

Looking a name up blocks a thread for as long as its name servers like, and a tenant chooses the name. So the
look-ups have threads of their own: names that hang can delay other look-ups, but no sync handler and no file read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jobs_exec_webhooks.addresses import Address, is_public, literal
from jobs_exec_webhooks.errors import AddressRefused, UnresolvedHost

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]
"""The signature of `socket.getaddrinfo`."""

THREADS = 64
_MOST_ADDRESSES = 8


class Resolver:
    """Resolves and vets; whoever connects must use exactly what it answers and never resolve again."""

    def __init__(self, allow_private: bool, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._allow_private = allow_private
        self._getaddrinfo = getaddrinfo
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks-resolver")

    async def addresses(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses of `host` that may be reached, best first.

        Raises `UnresolvedHost`, or `AddressRefused` when none of them may be.
        """
        own = literal(host)
        found = (own,) if own is not None else await self._look_up(host, port)
        public = tuple(each for each in found if self._allow_private or is_public(each))
        if not public:
            raise AddressRefused(host, tuple(map(str, found)))
        return public[:_MOST_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> tuple[Address, ...]:
        loop = asyncio.get_running_loop()
        try:
            rows = await loop.run_in_executor(self._threads, self._ask, host, port)
        except (OSError, UnicodeError) as error:
            raise UnresolvedHost(host, _words(error)) from None
        found = (literal(str(row[4][0])) for row in rows)
        unique = tuple(dict.fromkeys(each for each in found if each is not None))
        if not unique:
            raise UnresolvedHost(host, "it has no address")
        return unique

    def _ask(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        return self._getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def close(self) -> None:
        """Takes no more look-ups; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or "the name is malformed")
