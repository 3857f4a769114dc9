"""The gate before every start: open for all claims, or shut around one suspect.

A suspect is a job that was running when its executor was lost. It may be what killed it, so it is run with nothing
started beside it: `alone` waits for the claims under way and lets none begin until its block ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Many may be `inside`, or one `alone`."""

    def __init__(self) -> None:
        self._inside = 0
        self._changed = asyncio.Condition()
        self._shut = False

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """A claim and the start of its jobs."""
        if self._shut:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._shut)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if self._shut:
                async with self._changed:
                    self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The claim of a suspect and its whole run."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._shut)
            self._shut = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._inside)
            yield
        finally:
            async with self._changed:
                self._shut = False
                self._changed.notify_all()
