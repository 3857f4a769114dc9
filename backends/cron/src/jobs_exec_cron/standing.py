"""The queue that a cron backend stands on, had when it is first needed.

A process that only sends jobs has no database and needs none: nothing is looked up, imported or opened for it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jobs_exec.contracts import QueueBackend


class Standing:
    """Opens the queue once, for whatever is asked of it first; `queue` raises what its plugin host says is missing."""

    def __init__(self, find: Callable[[], QueueBackend]) -> None:
        self._find = find
        self._opened: QueueBackend | None = None
        self._opening = asyncio.Lock()

    @property
    def queue(self) -> QueueBackend:
        """Not open."""
        return self._find()

    async def opened(self) -> QueueBackend:
        """Open until `close`."""
        async with self._opening:
            if self._opened is None:
                queue = self.queue
                await queue.open()
                self._opened = queue
        return self._opened

    async def close(self) -> None:
        """Closes what was opened here."""
        queue, self._opened = self._opened, None
        if queue is not None:
            await queue.close()


class Deferred:
    """Stands for an object of the queue whose methods are all async: each opens the queue first."""

    def __init__(self, standing: Standing, pick: Callable[[QueueBackend], object]) -> None:
        self._standing = standing
        self._pick = pick

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            target = self._pick(await self._standing.opened())
            return await getattr(target, name)(*args, **kwargs)

        return call
