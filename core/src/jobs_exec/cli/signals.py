"""What signals do to a running executor: the first drains it, the second aborts it, the third ends the process.

The handlers are Python's own rather than the event loop's: they also run while a handler that never awaits
blocks the loop, so the third signal always ends the process. What they say goes past the stream: a signal that
arrives while a log line is being written would otherwise enter it again, which Python refuses with an error in
place of the drain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """An executor, as far as signals are concerned."""

    def drain(self) -> None:
        """Stop claiming, let running jobs finish."""

    def abort(self) -> None:
        """Cancel running jobs at once."""


@contextmanager
def stopped_by_signals(executor: Stoppable) -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM stop `executor`; must be entered in the main thread, in its event loop."""
    loop = asyncio.get_running_loop()
    received = 0

    def receive(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == 1:
            loop.call_soon_threadsafe(executor.drain)
            _say_at_once("draining: running jobs may finish; a second signal cancels them")
        elif received == 2:
            loop.call_soon_threadsafe(executor.abort)
            _say_at_once("aborting: running jobs are cancelled and given back; a third signal ends the process")
        else:
            # Not sys.exit: a thread or a coroutine that swallows everything must not survive this.
            os._exit(128 + number)

    before = {each: signal.signal(each, receive) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _say_at_once(text: str) -> None:
    """A line on stderr without its buffer; a stderr that is closed or none at all takes nothing, and that is fine."""
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())
