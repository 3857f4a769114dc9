"""How an executor ends.

::

    asked (drain) -> claims stop, unstarted jobs are given back -> running ones may end, for `grace` seconds
                  -> the rest is cancelled and given back -> what is unwritten is written -> done
    hurried (abort): the grace is over at once

An executor that ends by itself is never asked; then running jobs have all the time they need, until it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class Shutdown:
    """The two signals, and waiting under them."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        """The first signal."""
        self.asked.set()

    def hurry(self) -> None:
        """The second signal; includes the first."""
        self.asked.set()
        self.hurried.set()

    async def unless_asked(self, done: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Waits for `done`, or until the executor is asked to end."""
        await first(done(), _event(self.asked))

    async def within_grace(self, done: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Waits for `done`, but once asked no longer than the grace, and once hurried no longer at all."""
        await first(done(), self._over())

    async def _over(self) -> None:
        await self.asked.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await self.hurried.wait()


async def _event(event: asyncio.Event) -> None:
    await event.wait()


async def first(*waits: Coroutine[Any, Any, None]) -> None:
    """Returns with the first of `waits`, the others are cancelled; raises what one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def within(seconds: float, done: Awaitable[None]) -> bool:
    """True when `done` came in time."""
    try:
        async with asyncio.timeout(seconds):
            await done
    except TimeoutError:
        return False
    return True
