"""What cannot be delivered is refused when it is enqueued, by field and without its value."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jobs_exec import job_type
from jobs_exec.errors import InvalidJob
from jobs_exec_webhooks.payload import Delivery
from jobs_exec_webhooks.targets import parse_url


def refused(**payload: object) -> str:
    with pytest.raises(ValidationError) as error:
        Delivery.model_validate({"url": "https://hooks.example", "body": {}, **payload})
    return str(error.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://hooks.example/", "https:// or http://"),
        ("file:///etc/passwd", "https:// or http://"),
        ("//hooks.example/", "https:// or http://"),
        ("hooks.example", "https:// or http://"),
        ("", "ASCII"),
        ("https://user:pass@hooks.example/", "user name"),
        ("https://user@hooks.example/", "user name"),
        ("https://good.example\\@bad.example/", "user name"),
        ("https://good.example\\.bad.example/", "name a host"),
        ("https:///path", "name a host"),
        ("https://:443/", "name a host"),
        ("https://hooks%2eexample/", "name a host"),
        ("https://[::1%25eth0]/", "name a host"),
        ("https://[]/", "name a host"),
        ("https://hooks.example:0/", "1 to 65535"),
        ("https://hooks.example:65536/", "1 to 65535"),
        ("https://hooks.example:http/", "name a host"),
        ("https://hooks.example/a b", "ASCII"),
        ("https://hooks.example/\r\nx-injected: 1", "ASCII"),
        ("https://hooks.example/\t", "ASCII"),
        ("https://höoks.example/", "ASCII"),
        ("https://hooks.example/" + "x" * 2048, "at most 2048"),
    ],
)
def test_a_url_that_can_never_work_is_refused(url: str, problem: str) -> None:
    text = refused(url=url)
    assert problem in text
    assert "pass@" not in text


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("HTTPS://Hooks.Example", "https://hooks.example", "/"),
        ("https://hooks.example:443/a/../b", "https://hooks.example", "/a/../b"),
        ("http://hooks.example:8080?x=1#y", "http://hooks.example:8080", "/?x=1"),
        ("http://[2606:4700::1]:81/a#b?c", "http://[2606:4700::1]:81", "/a"),
        ("https://hooks.example/@team/%7Bx%7D", "https://hooks.example", "/@team/%7Bx%7D"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str, path: str) -> None:
    target = parse_url(url)
    assert (target.origin, target.path) == (origin, path)
    assert path not in repr(target) or path == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-a": "1\r\nx-injected: 1"},
        {"x-a": "1\nx-injected: 1"},
        {"x-a\r\nx-injected": "1"},
        {"x-a": "\0"},
        {"x-a": "ü"},
        {"x-a": " padded "},
        {"x-a": ""},
        {"x-a": "x" * 1025},
        {"x a": "1"},
        {"x-a:": "1"},
        {"": "1"},
        {"X-A": "1", "x-a": "2"},
        {f"x-{n}": "1" for n in range(21)},
        *(
            {name: "1"}
            for name in (
                "Host", "Content-Length", "Transfer-Encoding", "Connection", "content-type", "Webhook-Id",
                "webhook-signature", "webhook-anything", "Proxy-Authorization", "Upgrade", "Expect", "TE",
                "Accept-Encoding",
            )
        ),
    ],
)  # fmt: skip
def test_a_header_that_could_change_the_request_is_refused(headers: dict[str, str]) -> None:
    assert "headers" in refused(headers=headers)


@pytest.mark.parametrize("name", ["Authorization", "cookie"])
def test_a_secret_among_the_headers_is_refused_with_the_reason(name: str) -> None:
    text = refused(headers={name: "Bearer canary"})
    assert "does not belong into a payload" in text
    assert "canary" not in text


def test_an_unknown_field_is_refused() -> None:
    assert "secret" in refused(secret="whsec_x")


def test_any_json_is_a_body_and_the_url_is_stored_as_it_was_given() -> None:
    async def handler(ctx: object, data: Delivery) -> None: ...

    payload = job_type("webhook.deliver", handler).payload
    stored = payload.encode({"url": "HTTPS://Hooks.Example", "body": [1, None, {"a": 1.5}]}, 10_000)
    assert payload.decode(stored.text) == Delivery(url="HTTPS://Hooks.Example", body=[1, None, {"a": 1.5}])


def test_what_is_refused_at_enqueue_names_the_field_and_not_the_value() -> None:
    async def handler(ctx: object, data: Delivery) -> None: ...

    with pytest.raises(InvalidJob) as error:
        job_type("webhook.deliver", handler).payload.encode({"url": "ftp://canary.example", "body": {}}, 10_000)
    assert error.value.field == "data.url"
    assert "canary" not in str(error.value)


def test_a_repr_shows_neither_url_nor_body_nor_headers() -> None:
    shown = repr(Delivery(url="https://hooks.example/canary", body="canary", headers={"x": "canary"}))
    assert "canary" not in shown
