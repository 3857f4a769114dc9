"""Connections are kept, replaced when the server ends them, and never shared or leaked."""

from __future__ import annotations

import asyncio

import pytest
from receivers import Received, Receiver, receiving, reply

from jobs_exec import Success


async def test_deliveries_one_after_another_share_a_connection(send, receiver: Receiver) -> None:
    for _ in range(5):
        await send(receiver.url())
    assert receiver.connections == 1


async def test_deliveries_at_the_same_time_have_connections_of_their_own(send, receiver: Receiver) -> None:
    together = asyncio.Barrier(20)

    async def answer(_request: Received) -> bytes:
        await together.wait()
        return reply(200)

    receiver.answer = answer
    outcomes = await asyncio.gather(*(send(receiver.url(), effect_key=f"job_{n}") for n in range(20)))
    assert outcomes == [Success({"status": 200})] * 20
    assert receiver.connections == 20


async def test_a_kept_connection_that_the_server_ended_is_replaced(send, receiver: Receiver) -> None:
    await send(receiver.url())
    await receiver.hang_up()
    assert isinstance(await send(receiver.url()), Success)
    assert receiver.connections == 2


async def test_a_server_that_ends_a_kept_connection_on_the_next_request_is_asked_again_once(
    send, receiver: Receiver
) -> None:
    """As it happens when its keep-alive ends just as we send."""
    await send(receiver.url())

    async def hang_up_first(request: Received) -> bytes:
        if request.connection == 1:
            await receiver.hang_up()
        return reply(200)

    receiver.answer = hang_up_first
    assert isinstance(await send(receiver.url()), Success)
    assert [each.headers["webhook-id"] for each in receiver.requests[1:]] == ["job_1", "job_1"]


async def test_no_more_connections_are_kept_than_allowed(opened, receiver: Receiver) -> None:
    send = await opened(max_idle=2)
    together = asyncio.Barrier(5)

    async def answer(_request: Received) -> bytes:
        await together.wait()
        return reply(200)

    receiver.answer = answer
    await asyncio.gather(*(send(receiver.url()) for _ in range(5)))
    assert send.courier._open is not None
    assert send.courier._open.connections.idle == 2


async def test_connections_of_different_origins_are_kept_apart(send) -> None:
    async with receiving() as first, receiving() as second:
        for _ in range(3):
            await send(first.url())
            await send(second.url())
        assert (first.connections, second.connections) == (1, 1)
        assert (len(first.requests), len(second.requests)) == (3, 3)


async def test_a_cancelled_delivery_leaves_no_connection_behind(send, receiver: Receiver) -> None:
    arrived = asyncio.Event()

    async def answer(_request: Received) -> bytes:
        arrived.set()
        return await asyncio.get_running_loop().create_future()

    receiver.answer = answer
    task = asyncio.create_task(send(receiver.url()))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert send.courier._open is not None
    assert send.courier._open.connections.idle == 0
