"""Threads for sync handlers: bounded, with the caller's context, and able to give a stuck one up."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest
from executing import PATIENCE, come_true

from jobs_exec.executor.threads import NeverBegan, Threads

CURRENT: ContextVar[str] = ContextVar("current", default="nobody")


async def test_a_call_returns_what_the_function_returns_and_raises_what_it_raises() -> None:
    threads = Threads(1)
    assert await threads.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.call(divmod, 7, 0)
    threads.close()


async def test_a_function_sees_the_context_of_its_caller() -> None:
    threads = Threads(1)
    CURRENT.set("acme")
    assert await threads.call(CURRENT.get) == "acme"
    threads.close()


async def test_no_more_threads_are_started_than_the_pool_has() -> None:
    threads = Threads(2)
    names = await asyncio.gather(*[threads.call(lambda: threading.current_thread().name) for _ in range(20)])
    assert len(set(names)) <= 2
    assert threads.busy == 0
    threads.close()


async def test_a_cancelled_call_returns_at_once_and_its_thread_is_stuck_until_it_ends() -> None:
    changes: list[int] = []
    threads = Threads(1, on_change=lambda: changes.append(threads.stuck))
    started, let_go = threading.Event(), threading.Event()

    def stubborn() -> None:
        started.set()
        let_go.wait(PATIENCE)

    call = asyncio.ensure_future(threads.call(stubborn))
    await come_true(started.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (threads.stuck, threads.free) == (1, 0)
    let_go.set()
    await come_true(lambda: threads.stuck == 0)
    assert (threads.free, changes) == (1, [1, 0])
    threads.close()


async def test_a_call_that_was_cancelled_before_its_turn_never_runs() -> None:
    threads = Threads(1)
    let_go, ran = threading.Event(), threading.Event()
    first = asyncio.ensure_future(threads.call(let_go.wait, PATIENCE))
    second = asyncio.ensure_future(threads.call(ran.set))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(NeverBegan):
        await second
    assert threads.stuck == 0
    let_go.set()
    assert await first
    await come_true(lambda: threads.busy == 0)
    assert not ran.is_set()
    threads.close()


async def test_an_exit_raised_in_a_thread_is_the_callers() -> None:
    def leave() -> None:
        raise SystemExit(3)

    threads = Threads(1)
    caught: list[BaseException] = []

    async def call() -> None:
        try:
            await threads.call(leave)
        except BaseException as error:
            caught.append(error)

    await call()
    assert isinstance(caught[0], SystemExit)
    assert await threads.call(abs, -1) == 1
    threads.close()
