"""What goes over the wire, and what each answer means for the job."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from receivers import Received, Receiver, receiving, reply

from jobs_exec import Cancel, Retry, Snooze, Success
from jobs_exec_webhooks.answers import wait_asked_for
from jobs_exec_webhooks.errors import WebhooksNotOpen

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


async def test_the_body_is_posted_as_json_with_host_and_path(send, receiver: Receiver) -> None:
    outcome = await send(receiver.url(path="/a/b?c=d#fragment"), {"ä": [1, 2.5, None, True]})
    assert outcome == Success({"status": 200, "body": "ok"})
    got = receiver.only
    assert got.line == "POST /a/b?c=d HTTP/1.1"
    assert got.body == '{"ä":[1,2.5,null,true]}'.encode()
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["accept-encoding"] == "identity"


async def test_a_url_without_a_path_asks_for_the_root(send, receiver: Receiver) -> None:
    await send(receiver.url(path="?a=1"))
    assert receiver.only.line == "POST /?a=1 HTTP/1.1"


async def test_ipv6_is_delivered_to_with_brackets_in_the_host_header(send) -> None:
    async with receiving("::1") as receiver:
        assert isinstance(await send(receiver.url("[::1]")), Success)
        assert receiver.only.headers["host"] == f"[::1]:{receiver.port}"


async def test_own_headers_are_sent_beside_ours(send, receiver: Receiver) -> None:
    await send(receiver.url(), headers={"X-Event": "order.created"})
    assert receiver.only.headers["x-event"] == "order.created"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(send, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request: reply(status)
    assert await send(receiver.url()) == Success({"status": status})


async def test_410_cancels_the_job(send, receiver: Receiver) -> None:
    receiver.answer = lambda _request: reply(410)
    outcome = await send(receiver.url())
    assert isinstance(outcome, Cancel)
    assert "410" in outcome.reason


@pytest.mark.parametrize("status", [400, 401, 404, 408, 500, 502, 599])
async def test_every_other_status_is_a_failure_that_names_it(send, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request: reply(status, b"echo of what was sent", retry_after="7")
    outcome = await send(receiver.url(path="/secret-path"))
    assert isinstance(outcome, Retry)
    assert outcome.delay is None
    assert outcome.reason == f"http://127.0.0.1:{receiver.port} answered {status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(send, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request: reply(status, location=receiver.url(path="/elsewhere"))
    outcome = await send(receiver.url())
    assert isinstance(outcome, Retry)
    assert "redirects are not followed" in outcome.reason
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_seconds_snoozes(send, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request: reply(status, retry_after="120")
    assert await send(receiver.url()) == Snooze(120)


async def test_retry_after_as_a_date_snoozes_until_then(opened, receiver: Receiver) -> None:
    send = await opened(now=lambda: NOW)
    date = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    receiver.answer = lambda _request: reply(503, retry_after=date)
    assert await send(receiver.url()) == Snooze(90)


async def test_without_retry_after_429_and_503_are_failures(send, receiver: Receiver) -> None:
    for status in (429, 503):
        receiver.answer = lambda _request, status=status: reply(status)
        assert isinstance(await send(receiver.url()), Retry)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1.0),
        ("0", 1.0),
        (" 30 ", 30.0),
        ("3600", 3600.0),
        ("86400", 3600.0),
        ("9999999999", 3600.0),
        ("Wed, 25 Nov 2026 12:05:00 GMT", 300.0),
        ("Wednesday, 25-Nov-26 12:05:00 GMT", 300.0),
        ("Wed Nov 25 12:05:00 2026", 300.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 1.0),
        ("Thu, 26 Nov 2026 12:00:00 GMT", 3600.0),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("9" * 5000, None),
        ("soon", None),
        ("", None),
        ("Wed, 99 Nov 2026 12:00:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_bounded_and_nonsense_is_nothing(value: str | None, seconds: float | None) -> None:
    assert wait_asked_for(value, NOW) == seconds


async def test_a_huge_answer_is_cut_and_its_connection_closed(send, receiver: Receiver) -> None:
    receiver.answer = lambda _request: reply(200, b"x" * 50_000_000)
    outcome = await send(receiver.url())
    assert outcome == Success({"status": 200, "body": "x" * 500})
    receiver.answer = lambda _request: reply(200)
    await send(receiver.url())
    assert receiver.requests[-1].connection == 2


async def test_an_answer_that_is_no_text_is_kept_readable(send, receiver: Receiver) -> None:
    receiver.answer = lambda _request: reply(200, b"\xff\x00ok")
    assert await send(receiver.url()) == Success({"status": 200, "body": "\ufffd\x00ok"})


async def test_a_success_whose_body_never_ends_is_a_success(send, receiver: Receiver, monkeypatch) -> None:
    monkeypatch.setattr("jobs_exec_webhooks.courier.BODY_SECONDS", 0.05)
    receiver.answer = lambda _request: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning"
    assert await send(receiver.url()) == Success({"status": 200, "body": "beginning"})


async def test_a_success_whose_body_breaks_off_is_a_success(send, receiver: Receiver) -> None:
    receiver.close_after = True
    receiver.answer = lambda _request: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning"
    assert await send(receiver.url()) == Success({"status": 200, "body": "beginning"})


def silent(_request: Received) -> asyncio.Future[bytes]:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("setting", ["timeout_seconds", "silence_seconds"])
async def test_a_receiver_that_does_not_answer_is_a_failure_in_time(opened, receiver: Receiver, setting: str) -> None:
    send = await opened(**{setting: 0.05})
    receiver.answer = silent
    outcome = await send(receiver.url())
    assert isinstance(outcome, Retry)
    assert str(receiver.port) in outcome.reason


async def test_headers_that_never_end_are_ended_by_the_total_time(opened, receiver: Receiver) -> None:
    send = await opened(timeout_seconds=0.1, silence_seconds=30)
    receiver.answer = lambda _request: b"HTTP/1.1 200 OK\r\nx-slow: "
    outcome = await send(receiver.url())
    assert isinstance(outcome, Retry)
    assert "0.1 s" in outcome.reason


async def test_nobody_listening_is_a_failure_that_names_the_origin_only(send, unused_tcp_port: int) -> None:
    outcome = await send(f"http://127.0.0.1:{unused_tcp_port}/secret-path")
    assert isinstance(outcome, Retry)
    assert f"http://127.0.0.1:{unused_tcp_port}: ConnectError" in outcome.reason
    assert "secret-path" not in outcome.reason


async def test_an_answer_that_is_no_http_is_a_failure(send, receiver: Receiver) -> None:
    receiver.answer = lambda _request: b"220 mail.example ESMTP\r\n\r\n"
    outcome = await send(receiver.url())
    assert isinstance(outcome, Retry)
    assert "RemoteProtocolError" in outcome.reason


async def test_endless_response_headers_are_a_failure(send, receiver: Receiver) -> None:
    receiver.answer = lambda _request: b"HTTP/1.1 200 OK\r\n" + b"x-more: 1\r\n" * 100_000
    assert isinstance(await send(receiver.url()), Retry)


async def test_proxies_of_the_environment_are_ignored(opened, receiver: Receiver, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(await (await opened())(receiver.url()), Success)


async def test_a_delivery_outside_of_the_lifespan_says_so(opened, receiver: Receiver) -> None:
    send = await opened()
    await send.courier.__aexit__(None, None, None)
    with pytest.raises(WebhooksNotOpen, match="executor"):
        await send(receiver.url())
