"""Tasks that handlers start, kept from ending the process.

`SystemExit` and `KeyboardInterrupt` raised in any task leave the event loop by design of asyncio, and everything on
it with them. The attempt's own task catches them; those that a handler starts beside it (`asyncio.TaskGroup`,
`gather`, `create_task`) raise `ContainedExit` instead, which reaches the handler as any other failure does.

Tasks of the engine and of others on the loop are left as they are: a context variable tells which belong to an attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs_exec.executor.attempt import Attempt

inside: ContextVar[Attempt | None] = ContextVar("jobs_exec_inside_attempt", default=None)
"""The attempt in whose task this is, or in a task or thread that it has started."""


class ContainedExit(Exception):
    """A task of the handler's raised `SystemExit` or `KeyboardInterrupt`."""


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises `ContainedExit` where the other would end the loop.

    A class, not an ``async def`` around it: cancelled before its first step, that would never await the other.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Coroutine[Any, Any, Any]) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._of.__await__()

    def send(self, value: Any, /) -> Any:
        """See `collections.abc.Coroutine`."""
        try:
            return self._of.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise ContainedExit(f"a task raised {type(error).__name__}") from error

    def throw(self, *error: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        try:
            return self._of.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise ContainedExit(f"a task raised {type(raised).__name__}") from raised

    def close(self) -> None:
        """See `collections.abc.Coroutine`."""
        self._of.close()


@contextmanager
def contained(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Until the block ends, tasks that handlers start on `loop` cannot end it; another factory stays in use."""
    before = loop.get_task_factory()

    def make(on: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        given = coro if inside.get() is None else _Contained(coro)
        return asyncio.Task(given, loop=on, **options) if before is None else before(on, given, **options)

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)
