"""A fuzzer before the running endpoint: whatever comes, it answers in its own words, and nothing is left behind."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import CANARY, Served, encoded, request, signed

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

KNOWN = {0, 200, 400, 401, 404, 405, 408, 409, 413, 415, 422, 429, 431}
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature", "authorization", "content-type", "content-length",
         "transfer-encoding", "content-encoding", "expect", "connection", "upgrade", "host", "cookie", "x-org-id")  # fmt: skip

texts = st.text(st.characters(max_codepoint=255), max_size=60)
values = st.one_of(
    texts,
    st.sampled_from(["", "v1,", "chunked", "gzip", "100-continue", "close", "0", "-1", "9" * 30, "Bearer x", "*/*"]),
)
headers = st.dictionaries(st.one_of(st.sampled_from(NAMES), texts), values, max_size=6)
lines = st.one_of(
    st.sampled_from(["POST /trigger HTTP/1.1", "POST /tick HTTP/1.1", "GET /readyz HTTP/1.1", "HEAD /livez HTTP/1.1"]),
    st.builds("{} {} HTTP/1.1".format, st.sampled_from(["GET", "POST", "PUT", "x"]), texts),
    texts,
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=20,
)
FIELDS = ("orgId", "org_id", "type", "data", "key", "tick", "priority", "run_at", "delay", "max_attempts", "expires_at",
          "trace", "budget")  # fmt: skip
envelopes = st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), anything, max_size=6)


def quiet(served: Served, said: int) -> None:
    log = served.said()[said:]
    assert "Traceback" not in log
    assert '"level": "error"' not in log
    assert CANARY not in log


@FUZZ
@given(line=lines, fields=headers, body=st.binary(max_size=200))
def test_bytes_of_strangers_leave_nothing_behind(
    served: Served, line: str, fields: dict[str, str], body: bytes
) -> None:
    before, said = served.rows(), len(served.said())
    reply = served.raw(request(body, fields, line=line), shut=True)
    assert reply.status in KNOWN
    assert served.rows() == before
    quiet(served, said)


@FUZZ
@given(raw=st.binary(max_size=300))
def test_bytes_that_are_no_request_are_survived(served: Served, raw: bytes) -> None:
    said = len(served.said())
    assert served.raw(raw, shut=True).status in KNOWN
    quiet(served, said)


@FUZZ
@given(fields=st.dictionaries(st.sampled_from(NAMES[:4]), values, min_size=1, max_size=3))
def test_a_signed_call_with_any_header_of_its_proof_changed_is_refused(served: Served, fields: dict[str, str]) -> None:
    """Another authorization takes nothing from a signature, so it stands only beside another change."""
    body = encoded({"orgId": "acme", "type": "echo", "data": {"secret": CANARY}})
    good = signed(body)
    before, said = served.rows(), len(served.said())
    reply = served.raw(request(body, {**good, **fields}))
    if set(fields) <= {"authorization"}:
        assert reply.status in {200, 400}
    else:
        assert reply.status in {400, 401}
        assert served.rows() == before
    quiet(served, said)


@FUZZ
@given(body=st.one_of(anything, envelopes), path=st.sampled_from(["/trigger", "/tick"]))
def test_whatever_a_known_caller_sends_is_answered_in_words(served: Served, body: Any, path: str) -> None:
    said = len(served.said())
    # NaN, Infinity and lone surrogates as well: this is what careless clients write.
    raw = json.dumps(body).encode()
    answer = served.send(raw, path, signed(raw))
    assert answer.status_code in KNOWN
    assert answer.headers["content-type"] == "application/json"
    quiet(served, said)


@FUZZ
@given(data=st.dictionaries(st.text(max_size=10), anything, max_size=4), key=st.one_of(st.none(), st.text(max_size=20)))
def test_any_data_of_an_allowed_type_ends_as_a_job_or_as_a_refusal(
    served: Served, data: dict[str, Any], key: str | None
) -> None:
    said = len(served.said())
    raw = json.dumps({"orgId": "acme", "type": "echo", "data": data, "key": key}).encode()
    answer = served.send(raw, "/trigger", signed(raw))
    assert answer.status_code in {200, 400, 422}
    if answer.status_code == 200:
        assert answer.json()["outcome"] in {"succeeded", "duplicate"}
    quiet(served, said)
