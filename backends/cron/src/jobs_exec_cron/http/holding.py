"""The executor behind the endpoint, kept open in a task of its own.

Its end is asked for while calls are still being answered: their jobs then have ``JOB_SHUTDOWN_GRACE`` to end, are given
back after it, and each caller is told so, before the connections go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobs_exec.inline import ExitReport, Host, Inline
from jobs_exec_cron.http.refusing import unavailable


class Held:
    """One executor, opened once."""

    def __init__(self, host: Host, slots: int) -> None:
        self._host = host
        self._slots = slots
        self._inline: Inline | None = None
        self._opened = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[ExitReport] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Works inside the block; raises what `Inline.open` raises."""
        if self._task is not None:
            raise RuntimeError("an endpoint runs once; make a new one")
        self._task = asyncio.create_task(self._hold(), name="endpoint executor")
        opened = asyncio.create_task(self._opened.wait())
        try:
            await asyncio.wait([opened, self._task], return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                self._task.result()
            yield
        finally:
            opened.cancel()
            self.stop()
            await asyncio.wait([self._task])

    @property
    def started(self) -> bool:
        """True once it was opened."""
        return self._inline is not None

    @property
    def ready(self) -> bool:
        """True while jobs are started: it has its lease and is not ending."""
        return self._inline is not None and self._inline.ready

    @property
    def inline(self) -> Inline:
        """The executor. Raises `Refused` before it is open and once it ends."""
        if self._inline is None or self._stopping.is_set():
            raise unavailable()
        return self._inline

    def stop(self) -> None:
        """Starts nothing more; running jobs have the grace."""
        self._stopping.set()

    def abort(self) -> None:
        """Cancels what runs and gives it back."""
        self._stopping.set()
        if self._inline is not None:
            self._inline.abort()

    async def ended(self) -> ExitReport:
        """Returns when the executor has ended, asked or by itself."""
        assert self._task is not None, "it was never opened"  # noqa: S101
        return await asyncio.shield(self._task)

    async def _hold(self) -> ExitReport:
        async with Inline.open(host=self._host, slots=self._slots) as inline:
            self._inline = inline
            self._opened.set()
            await _first(inline, self._stopping)
            self._stopping.set()
        return await inline.ended()


async def _first(inline: Inline, stopping: asyncio.Event) -> None:
    """Returns when either ends."""
    waits = [asyncio.create_task(inline.ended()), asyncio.create_task(stopping.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        # What the executor raised is raised again where its report is asked for.
        await asyncio.gather(*waits, return_exceptions=True)
