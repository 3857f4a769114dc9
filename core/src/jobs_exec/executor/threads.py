"""Threads for sync handlers: a bounded pool that can give a stuck one up.

A thread cannot be cancelled. A call that is cancelled before its turn never runs; after that its caller goes on at
once and the thread is *stuck* until its function returns; it keeps its place in the pool, so that stuck threads cannot pile up without
bound. Threads are daemons: the process can end without them. (`ThreadPoolExecutor` joins its threads at exit.)
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class NeverBegan(asyncio.CancelledError):
    """The call was cancelled while it waited for a thread: its function was not called and will not be."""


@dataclass(slots=True, eq=False)
class _Work:
    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[tuple[Any, BaseException | None]]
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Taken once and kept: by the thread that begins it, or by its caller who gives it up before that."""
    abandoned: bool = False
    ended: bool = False


class Threads:
    """A pool of at most `size` threads, started when first needed. Lives on one event loop."""

    def __init__(self, size: int, on_change: Callable[[], None] = lambda: None, name: str = "job") -> None:
        self.size = size
        self.busy = 0
        self.stuck = 0
        self.loop_thread = threading.get_ident()
        """Where it was made: the thread of the loop."""
        self._on_change = on_change
        self.on_abandoned: Callable[[Callable[[], bool]], None] = _nobody_asks
        """Called in the context of a call whose thread is stuck; what it is given says whether that still is so."""
        self._name = name
        self._started = 0
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    @property
    def free(self) -> int:
        """Threads without work."""
        return self.size - self.busy

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)`` in a thread, in a copy of this task's context."""
        loop = asyncio.get_running_loop()
        run = contextvars.copy_context().run
        work = _Work(lambda: run(function, *arguments), loop, loop.create_future())
        self._submit(work)
        try:
            value, error = await work.done
        except asyncio.CancelledError:
            if self._withdraw(work):
                raise NeverBegan from None
            self._abandon(work)
            raise
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Lets idle threads end; busy ones end after their work."""
        for _ in range(self._started):
            self._work.put(None)
        self._started = 0

    def _submit(self, work: _Work) -> None:
        self.busy += 1
        self._work.put(work)
        if self._started < min(self.size, self.busy):
            self._started += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            if not work.turn.acquire(blocking=False):
                continue
            result = _run(work.call)
            try:
                work.loop.call_soon_threadsafe(self._finished, work, result)
            except RuntimeError:
                return  # the loop is closed: the process is ending without us
            del work, result

    def _finished(self, work: _Work, result: tuple[Any, BaseException | None]) -> None:
        self.busy -= 1
        work.ended = True
        if work.abandoned:
            self.stuck -= 1
        elif not work.done.done():
            work.done.set_result(result)
        self._on_change()

    def _withdraw(self, work: _Work) -> bool:
        """True when no thread has begun it, and none will."""
        if not work.turn.acquire(blocking=False):
            return False
        self.busy -= 1
        return True

    def _abandon(self, work: _Work) -> None:
        """It has begun, and may run for any time."""
        if work.done.cancelled():
            work.abandoned = True
            self.stuck += 1
            self._on_change()
            self.on_abandoned(lambda: not work.ended)


def _nobody_asks(_goes_on: Callable[[], bool]) -> None:
    """Stuck threads are only counted."""


def _run(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # whatever a handler raises is that job's failure, also SystemExit
        return None, error
