"""How much is taken on at once. What is beyond is refused at once: a queue in here would only hide the load."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from jobs_exec_cron.http.refusing import Refused, busy

PATIENCE = 1.0
"""Seconds that a call may take to arrive while others want its place."""


class Entrance:
    """Calls whose callers are not known yet, `size` at once: strangers take no slot from jobs, however slowly they send.

    When it is full, the one that has been at it longest gives way, after `PATIENCE` seconds: a few dozen strangers that
    send a byte now and then would keep everybody else out.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._inside: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """A place until the end of the block; raises `Refused` when there is none, or when this one gave way."""
        now = asyncio.get_running_loop().time()
        if len(self._inside) >= self._size:
            self._make_room(now)
        place = asyncio.timeout(None)
        self._inside[place] = now
        try:
            async with place:
                yield
        except TimeoutError:
            if not place.expired():
                raise
            raise Refused(408, "too_slow", "the call took so long to arrive that others came first") from None
        finally:
            self._inside.pop(place, None)

    def _make_room(self, now: float) -> None:
        longest = next(iter(self._inside))
        if now - self._inside[longest] < PATIENCE:
            raise busy("too many calls are being read; call again")
        del self._inside[longest]
        longest.reschedule(now)


class Slots:
    """Jobs of verified callers, `size` at once, of which one org may have the part `share`, at least one."""

    def __init__(self, size: int, share: float) -> None:
        self._free = size
        self._of_one_org = max(1, math.floor(size * share))
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, org_id: str) -> Iterator[None]:
        """A slot until the end of the block; raises `Refused` when there is none for `org_id`."""
        if not self._free:
            raise busy("as many jobs as may run at once are running; call again")
        if self._held[org_id] >= self._of_one_org:
            raise busy("this org runs as many jobs as it may at once; call again")
        self._free -= 1
        self._held[org_id] += 1
        try:
            yield
        finally:
            self._free += 1
            self._held[org_id] -= 1
            if not self._held[org_id]:
                del self._held[org_id]
