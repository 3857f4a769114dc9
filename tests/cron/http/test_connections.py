"""Connections that misbehave are ended, quietly, and those that behave are kept."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from hosting import hosted
from serving import request
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from jobs_exec_cron.http import serving

PATIENCE = 10.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers /refuse without reading, and any other path with what it read."""
    incoming = Request(scope, receive)
    text = "refused" if scope["path"] == "/refuse" else str(len(await incoming.body()))
    await PlainTextResponse(text)(scope, receive, send)


async def talk(client: httpx.AsyncClient, *parts: bytes) -> bytes:
    """Everything that comes back until the server hangs up."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Any:
    """Nothing of it reaches the log but a line."""
    yield
    assert not [each for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]


@pytest.mark.parametrize("sent", [b"", b"POST /", b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: "])
async def test_headers_that_never_end_are_hung_up_on(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.2)
    async with hosted(app, "off") as client:
        assert await talk(client, sent) == b""


async def test_so_are_those_of_a_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.2)
    async with hosted(app, "off") as client:
        answer = await talk(client, request(b"{}"), b"POST / HTTP/1.1\r\n")
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_request_under_way_has_all_the_time_its_handler_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.05)
    late = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().call_later(0.2, late.set)
        await late.wait()
        await PlainTextResponse("late")(scope, receive, send)

    async with hosted(slow, "off") as client:
        assert (await client.get("/")).text == "late"


async def test_the_rest_of_a_refused_body_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    head = request(b"", line="POST /refuse HTTP/1.1", content_length="", transfer_encoding="chunked")
    async with hosted(app, "off") as client:
        assert b"refused" in await talk(client, head)


@pytest.mark.parametrize("broken", [b"zz\r\n", b"-1\r\n", b"3\r\nabcXYZ", b"\0" * 50, b"FFFFFFFFFFFFFFFFFFFFFFF\r\n"])
async def test_a_broken_chunk_ends_the_connection_whatever_is_under_way(broken: bytes) -> None:
    head = request(b"", content_length="", transfer_encoding="chunked")
    async with hosted(app, "off") as client:
        assert b"200 OK" not in await talk(client, head, b"2\r\nab\r\n", broken, b"\r\n\r\n")
        assert (await client.post("/", content=b"abc")).text == "3"


async def test_what_follows_an_answer_and_is_no_request_ends_the_connection() -> None:
    async with hosted(app, "off") as client:
        answer = await talk(client, request(b"{}"), b"\x16\x03\x01\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") <= 2


async def test_requests_in_one_piece_are_answered_in_turn() -> None:
    async with hosted(app, "off") as client:
        last = request(b"{}", connection="close")
        answer = await talk(client, request(b"{}") * 3 + last)
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_body_with_a_length_and_in_chunks_ends_the_connection(method: str) -> None:
    """What comes behind it would be answered too, and whoever is in front may take that for another caller's answer."""
    head = request(b"", line=f"{method} / HTTP/1.1", content_length="4", transfer_encoding="chunked")
    async with hosted(serving.unambiguous(app), "off") as client:
        answer = await talk(client, head + b"0\r\n\r\n" + request(b"{}"))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nx-slow: ", request(b"{}")], ids=["idle", "slow", "kept"])
async def test_however_many_connections_say_nothing_a_call_is_answered(sent: bytes) -> None:
    async with hosted(app, "off", limit_concurrency=5) as client, AsyncExitStack() as held:
        host, port = client.base_url.host, client.base_url.port
        for _ in range(20):
            reader, writer = await asyncio.open_connection(host, port)
            held.callback(writer.close)
            writer.write(sent)
            if sent == request(b"{}"):
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert (await client.post("/", content=b"abc")).text == "3"


async def test_calls_under_way_are_never_ended_for_others() -> None:
    begun, late = asyncio.Semaphore(0), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.release()
        await late.wait()
        await PlainTextResponse("late")(scope, receive, send)

    async with hosted(slow, "off", limit_concurrency=4) as client, asyncio.TaskGroup() as group:
        calls = [group.create_task(client.get("/")) for _ in range(3)]
        for _ in calls:
            await begun.acquire()
        assert (await client.get("/")).status_code == 503
        late.set()
    assert [each.result().text for each in calls] == ["late"] * 3


async def test_a_connection_carries_one_call_after_another() -> None:
    async with hosted(app, "off") as client:
        sizes = [(await client.post("/", content=b"x" * size)).text for size in (1, 2, 300_000)]
    assert sizes == ["1", "2", "300000"]
