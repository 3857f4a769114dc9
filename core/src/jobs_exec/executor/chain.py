"""Middleware folded around a handler, once for each job type: nothing is looked up per job.

The first middleware is the outermost. A handler that is not async is called in a thread of the given pool, with
the context variables of the attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from jobs_exec.contracts.handler import CallNext, JobContext, JobType, Middleware
from jobs_exec.executor.threads import Threads

Call: TypeAlias = Callable[[JobContext, Any], Awaitable[Any]]
"""The whole chain of one job type: from context and decoded payload to what the handler returned."""


def fold(made: JobType, middleware: Sequence[Middleware], threads: Threads) -> Call:
    """The chain for `made`; without middleware it is the handler itself."""
    handler = _handler(made, threads)
    return _wrapped(handler, tuple(middleware)) if middleware else handler


def _handler(made: JobType, threads: Threads) -> Call:
    function: Callable[..., Any] = made.handler if made.takes_payload else _without_payload(made.handler)
    return function if made.is_async else _in_thread(function, threads)


def _without_payload(handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(ctx: JobContext, _data: Any) -> Any:
        return handler(ctx)

    return call


def _in_thread(function: Callable[..., Any], threads: Threads) -> Call:
    async def call(ctx: JobContext, data: Any) -> Any:
        return await threads.call(function, ctx, data)

    return call


def _wrapped(handler: Call, middleware: tuple[Middleware, ...]) -> Call:
    async def call(ctx: JobContext, data: Any) -> Any:
        async def innermost(inner: JobContext) -> Any:
            return await handler(inner, data)

        chain: CallNext = innermost
        for each in reversed(middleware):
            chain = _around(each, chain)
        return await chain(ctx)

    return call


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    async def call(ctx: JobContext) -> Any:
        return await middleware(ctx, call_next)

    return call
