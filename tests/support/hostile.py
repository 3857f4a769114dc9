"""Requests of people who mean no good, each as bytes for a socket and with the statuses that are right for it.

Status 0 stands for a connection that ends without an answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from serving import CANARY, SECRET, TOKEN, Reply, Served, encoded, request, signed

Send = Callable[[Served], Reply]

JOB = {"orgId": "acme", "type": "echo", "data": {"secret": CANARY}}
BODY = encoded(JOB)
MAX_BODY = 512 * 1024


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request."""

    name: str
    send: Send
    statuses: tuple[int, ...]


def everything() -> list[Hostile]:
    """All of them."""
    return [*_unproven(), *_bodies(), *_envelopes(), *_protocol(), *_ticks()]


def _case(name: str, data: bytes | Callable[[], bytes], *statuses: int, shut: bool = False) -> Hostile:
    """Bytes that hold a time are made when they are sent."""
    return Hostile(name, lambda served: served.raw(data() if callable(data) else data, shut=shut), statuses)


def _altered(**changed: str) -> Callable[[], bytes]:
    """A signed call with other headers."""
    return lambda: request(BODY, signed(BODY), **changed)


def _forged(**options: object) -> Callable[[], bytes]:
    """A call that is signed otherwise than it should be."""
    return lambda: request(BODY, signed(BODY, **options))  # type: ignore[arg-type]


def _proven(body: object, **changed: str) -> Callable[[], bytes]:
    """A call whose signature is right, and whose body is not."""
    raw = encoded(body)
    return lambda: request(raw, signed(raw), **changed)


def _twice(name: str) -> Callable[[], bytes]:
    def made() -> bytes:
        headers = signed(BODY)
        line = f"{name}: {headers[name]}\r\n".encode()
        return request(BODY, headers).replace(line, line + line)

    return made


def _unproven() -> Iterator[Hostile]:
    yield _case("no proof at all", request(BODY), 401)
    for name in ("webhook_id", "webhook_timestamp", "webhook_signature"):
        yield _case(f"no {name}", _altered(**{name: ""}), 401)
        yield _case(f"{name} twice", _twice(name.replace("_", "-")), 401)
    yield _case("signed with another secret", _forged(secret="whsec_" + "A" * 43 + "="), 401)
    yield _case("signature of another body", _forged(text='{"orgId":"other","type":"echo"}'), 401)
    yield _case("signature of another id", _altered(webhook_id="msg_other"), 401)
    yield _case("signature of another second", _altered(webhook_timestamp=str(int(time.time()) - 7)), 401)
    yield _case("expired", lambda: _forged(at=time.time() - 310)(), 401)
    yield _case("from the future", lambda: _forged(at=time.time() + 310)(), 401)
    for stamp in ("soon", "nan", "-1", "1e9", "9" * 400, "\xb2", "1.5", " "):
        yield _case(f"timestamp {stamp[:5]!r}", _altered(webhook_timestamp=stamp), 401)
    for signature in ("v1", "v1,", ",", "v1,?", "v2,AAAA", "v1,AAAA", "v1;AAAA", "\xff\xfe", "v1, v1,"):
        yield _case(f"signature {signature!r}", _altered(webhook_signature=signature), 401)
    yield _case("half a signature", lambda: request(BODY, _shortened()), 401)
    yield _case("a thousand signatures", _altered(webhook_signature=" ".join(["v1,AAAA"] * 1000)), 401)
    yield _case("the right one behind sixteen", lambda: request(BODY, _buried()), 401)
    yield _case("thousands of signatures", _altered(webhook_signature=" ".join(["v1,AAAA"] * 8000)), 400, 431)
    yield _case("an id of three thousand characters", _altered(webhook_id="x" * 3000), 401)
    yield _case("an unknown token", request(BODY, authorization="Bearer guessed"), 401)
    yield _case("an empty token", request(BODY, authorization="Bearer "), 401)
    yield _case("the token as a password", request(BODY, authorization=f"Basic {TOKEN}"), 401)
    yield _case("the token in a cookie", request(BODY, cookie=f"authorization=Bearer {TOKEN}"), 401)
    yield _case("the token in the query", request(BODY, line=f"POST /trigger?token={TOKEN} HTTP/1.1"), 400, 401)
    yield _case("a foreign org in the query", lambda: _queried("orgId=victim"), 400)
    yield _case("a foreign org added to the body", lambda: request(_with_org(), signed(BODY)), 401)


def _shortened() -> dict[str, str]:
    headers = signed(BODY)
    return {**headers, "webhook-signature": headers["webhook-signature"][:20]}


def _buried() -> dict[str, str]:
    headers = signed(BODY)
    return {**headers, "webhook-signature": "v1,AAAA " * 16 + headers["webhook-signature"]}


def _queried(query: str) -> bytes:
    return request(BODY, signed(BODY), line=f"POST /trigger?{query} HTTP/1.1")


def _with_org() -> bytes:
    return BODY[:-1] + b',"org_id":"victim"}'


def _bodies() -> Iterator[Hostile]:
    for kind in (
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application",
    ):
        yield _case(f"content type {kind!r}", _altered(content_type=kind), 415)
    yield _case("compressed", _altered(content_encoding="gzip"), 415)
    yield _case("says it is huge", request(b"", signed(b""), content_length=str(10**12)), 413)
    yield _case("says it is endless", request(b"", signed(b""), content_length="9" * 30), 400, 413)
    yield Hostile("is huge", lambda served: served.raw(_chunked_head(), *_chunks(MAX_BODY + 200_000)), (413, 0))
    yield _case("a length that is no number", _altered(content_length="many"), 400)
    yield _case("a negative length", _altered(content_length="-5"), 400)
    yield _case(
        "two lengths", lambda: _altered()().replace(b"content-length", b"content-length: 3\r\ncontent-length"), 400
    )
    yield _case("ends early", lambda: _altered(content_length=str(len(BODY) + 10))(), 400, 0, shut=True)
    yield _case("comes too slowly", _altered(content_length=str(len(BODY) + 10)), 408)
    yield _case("a chunk that is none", _chunked_head() + b"zz\r\n", 400, 0)
    yield _case("no body", _proven(b""), 400)
    yield _case("no JSON", _proven(b"{orgId:"), 400)
    yield _case("JSON and more", _proven(BODY + b"{}"), 400)
    yield _case("not UTF-8", lambda: request(b'{"a":"\xff"}', signed(b'{"a":"\xff"}')), 400, 401)
    yield _case("UTF-16", lambda: request(b"\xff\xfe{\x00", signed(b"\xff\xfe{\x00")), 400, 401)
    yield _case("a hundred thousand brackets", _proven(b"[" * 100_000), 400)
    yield _case("a hundred thousand braces", _proven(b'{"a":' * 100_000), 400)
    yield _case("not a number", _proven(b'{"orgId":"acme","type":"echo","data":{"n":NaN}}'), 400)
    yield _case("a number of 100,000 digits", _proven(b'{"orgId":"acme","priority":' + b"9" * 100_000 + b"}"), 400)
    yield _case("an org twice", _proven(b'{"orgId":"acme","type":"echo","orgId":"victim"}'), 400)
    yield _case(
        "an org twice, once in disguise", _proven(b'{"orgId":"acme","type":"echo","org\\u0049d":"victim"}'), 400
    )
    yield _case("a name twice in the data", _proven(b'{"orgId":"acme","type":"echo","data":{"n":1,"n":2}}'), 400)
    yield _case("a length and chunks", lambda: _in_chunks(content_length="4"), 400)
    yield _case("half a character", _proven(b'{"orgId":"acme","type":"echo","data":{"n":"\\ud800"}}'), 400)


def _chunked_head() -> bytes:
    return request(b"", signed(b""), content_length="", transfer_encoding="chunked")


def _in_chunks(content_length: str) -> bytes:
    """Signed and complete."""
    head = request(b"", signed(BODY), content_length=content_length, transfer_encoding="chunked")
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 65_536 + 1):
        yield b"10000\r\n" + b" " * 65_536 + b"\r\n"


def _envelopes() -> Iterator[Hostile]:
    deep: object = {}
    for _ in range(80):
        deep = {"n": deep}
    for name, value in {
        "a list": [JOB],
        "null": None,
        "a text": "echo",
        "no org": {"type": "echo"},
        "a blank org": JOB | {"orgId": " "},
        "an org that is a number": JOB | {"orgId": 7},
        "an org with a line break": JOB | {"orgId": "acme\r\nx-org: victim"},
        "two orgs": JOB | {"org_id": "victim"},
        "an org of 300 characters": JOB | {"orgId": "x" * 300},
        "no type": {"orgId": "acme"},
        "an unknown type": JOB | {"type": "nowhere"},
        "a type that is not allowed": JOB | {"type": "kept"},
        "an allowed type that nobody knows": JOB | {"type": "ghost"},
        "a type that is a path": JOB | {"type": "os.system('id')"},
        "an unknown field": JOB | {"queue": "default"},
        "data that is a list": JOB | {"data": [1]},
        "data nested too deep": JOB | {"data": deep},
        "data with NUL": JOB | {"data": {"n": "\0"}},
        "an integer that changes": JOB | {"data": {"n": 2**70}},
        "a number beyond all bounds": encoded(JOB).replace(b'"canary-in-a-payload"', b"1e999"),
        "a delay": JOB | {"delay": 5},
        "a time to run": JOB | {"run_at": "2030-01-01T00:00:00Z"},
        "a tick that is no time": JOB | {"tick": "noon"},
        "a tick beyond all times": JOB | {"tick": "9999-12-31T23:59:59Z"},
        "a tick that is a list": JOB | {"tick": ["@1"]},
        "the key of another call": JOB | {"key": "webhook-id:msg_1"},
        "a key that is an object": JOB | {"key": {"a": 1}},
        "a trace that is none": JOB | {"trace": "00"},
        "a million attempts": JOB | {"max_attempts": 10**6},
    }.items():
        yield _case(f"an envelope: {name}", _proven(value), 422)
    yield _case("a payload over its bound", _proven(JOB | {"data": {"n": "x" * 300_000}}), 413)
    none = encoded({"orgId": "acme", "type": "each"})
    yield _case("a token without a key for work of its own", request(none, authorization=f"Bearer {TOKEN}"), 422)


def _protocol() -> Iterator[Hostile]:
    yield _case("a line break in a header", _altered(webhook_id="a\nx-org: victim"), 400, 401)
    yield _case("NUL in a header", _altered(webhook_id="a\0b"), 400)
    yield _case("a header without a name", _altered().__call__().replace(b"host", b"", 1), 400)
    yield _case("headers without end", request(BODY, {f"x-{n}": "y" * 1000 for n in range(40)}), 400, 431, 0)
    yield _case("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, 400, 0)
    yield _case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 404, 0)
    yield _case("HTTP/9", request(BODY, line="POST /trigger HTTP/9.9"), 400, 401)
    yield _case(
        "a websocket", request(b"", line="GET /trigger HTTP/1.1", connection="Upgrade", upgrade="websocket"), 405
    )
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "EVIL"):
        yield _case(f"{method} instead of POST", lambda each=method: _on(f"{each} /trigger HTTP/1.1"), 405)
    paths = ("/", "/trigger/", "//trigger", "/trigger/../trigger", "/%2e%2e/etc/passwd", "/x%00y", "/" + "a" * 4000)
    for path in paths:
        yield _case(f"the path {path[:30]}", lambda each=path: _on(f"POST {each} HTTP/1.1"), 404)
    yield _case("a path that is a URL", lambda: _on("POST http://victim/trigger2 HTTP/1.1"), 400, 404)


def _on(line: str) -> bytes:
    return request(BODY, signed(BODY), line=line)


def _ticks() -> Iterator[Hostile]:
    line = "POST /tick HTTP/1.1"
    yield _case("a tick of a stranger", request(b"{}", line=line), 401)
    yield _case("a tick signed otherwise", lambda: request(b"{}", signed(b"{}", text="{ }"), line=line), 401)
    yield _case("a call sent to the tick", lambda: _on(line), 422)
    yield _case("a tick sent to the trigger", _proven(b"{}"), 422)
    for budget in ("long", -1, 0, True, None, [1]):
        body = json.dumps({"budget": budget}).encode()
        yield _case(f"a budget of {budget!r}", lambda raw=body: request(raw, signed(raw), line=line), 422)
    yield _case("a tick with an org", lambda: request(_VICTIM, signed(_VICTIM), line=line), 422)


_VICTIM = b'{"orgId":"victim"}'
assert SECRET not in str(JOB)
