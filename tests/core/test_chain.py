"""Middleware and handlers folded into one call for each job type."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, cast

import pytest

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import CallNext, Middleware
from jobs_exec.executor.chain import fold
from jobs_exec.executor.threads import Threads

CTX = cast(JobContext, object())
CURRENT: ContextVar[str] = ContextVar("current", default="nobody")


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = Threads(1)
    yield pool
    pool.close()


async def test_an_async_handler_is_called_with_context_and_payload(threads: Threads) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> list[object]:
        return [ctx, data]

    assert await fold(job_type("t", handler), (), threads)(CTX, {"a": 1}) == [CTX, {"a": 1}]


async def test_a_sync_handler_runs_in_a_thread_with_the_attempts_context(threads: Threads) -> None:
    def handler(ctx: JobContext, data: dict[str, Any]) -> list[object]:
        return [threading.current_thread() is threading.main_thread(), CURRENT.get()]

    CURRENT.set("acme")
    assert await fold(job_type("t", handler), (), threads)(CTX, {}) == [False, "acme"]


async def test_a_handler_may_take_the_context_alone(threads: Threads) -> None:
    async def handler(ctx: JobContext) -> str:
        return "ran"

    assert await fold(job_type("t", handler, identity="none"), (), threads)(CTX, {}) == "ran"


async def test_the_first_middleware_is_the_outermost_and_may_change_the_answer(threads: Threads) -> None:
    steps: list[str] = []

    def named(name: str) -> Middleware:
        async def middleware(ctx: JobContext, call_next: CallNext) -> Any:
            steps.append(f"{name} in")
            answer = await call_next(ctx)
            steps.append(f"{name} out")
            return [*answer, name]

        return middleware

    async def handler(ctx: JobContext, data: dict[str, Any]) -> list[str]:
        return ["handler"]

    chain = fold(job_type("t", handler), (named("outer"), named("inner")), threads)
    assert await chain(CTX, {}) == ["handler", "inner", "outer"]
    assert steps == ["outer in", "inner in", "inner out", "outer out"]


async def test_a_middleware_may_answer_without_the_handler(threads: Threads) -> None:
    async def stop(ctx: JobContext, call_next: CallNext) -> Any:
        return "stopped"

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        raise AssertionError("the handler was called")

    assert await fold(job_type("t", handler), (stop,), threads)(CTX, {}) == "stopped"
