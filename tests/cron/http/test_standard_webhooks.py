"""Signed calls: what the Standard Webhooks library signs is accepted, and nothing else."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from jobs_exec_cron.verifiers.standard_webhooks import MOST_SIGNATURES, WINDOW, StandardWebhooksVerifier
from jobs_exec_cron.verifying import Presented, Verified

KEYS = (b"k" * 24, b"l" * 32)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BODY = b'{"orgId":"acme","type":"echo"}'


def verifier(*keys: bytes) -> StandardWebhooksVerifier:
    return StandardWebhooksVerifier(keys or KEYS, lambda: NOW.timestamp())


def signature(key: bytes = KEYS[0], call_id: str = "msg_1", at: datetime = NOW, body: bytes = BODY) -> str:
    return Webhook(base64.b64encode(key).decode()).sign(call_id, at, body.decode())


def presented(body: bytes = BODY, **changed: str | None) -> Presented:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": signature(),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return Presented("/trigger", tuple((name, value) for name, value in headers.items() if value is not None), body)


def test_what_the_library_signs_is_accepted_and_the_id_of_the_call_is_known() -> None:
    assert verifier().verify(presented()) == Verified("msg_1")


@pytest.mark.parametrize("key", KEYS)
def test_every_configured_secret_verifies_while_they_are_rotated(key: bytes) -> None:
    assert verifier().verify(presented(webhook_signature=signature(key))) is not None


def test_one_valid_signature_among_others_is_enough() -> None:
    mixed = f"v2,AAAA v1,{base64.b64encode(b'x' * 32).decode()} {signature()}"
    assert verifier().verify(presented(webhook_signature=mixed)) is not None


@pytest.mark.parametrize("seconds", [-WINDOW, 0, WINDOW])
def test_a_call_is_accepted_within_the_window(seconds: int) -> None:
    at = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
    call = presented(webhook_timestamp=str(int(at.timestamp())), webhook_signature=signature(at=at))
    assert verifier().verify(call) is not None


@pytest.mark.parametrize("seconds", [-WINDOW - 1, WINDOW + 1])
def test_a_call_is_refused_beyond_the_window_either_way(seconds: int) -> None:
    at = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
    call = presented(webhook_timestamp=str(int(at.timestamp())), webhook_signature=signature(at=at))
    assert verifier().verify(call) is None


@pytest.mark.parametrize("name", ["webhook_id", "webhook_timestamp", "webhook_signature"])
@pytest.mark.parametrize(
    "value", [None, "", " ", ",", "v1", "v1,", "v1,?", "nan", "-1", "1e9", "\xb2", "٣", "x" * 5000]
)
def test_a_malformed_header_is_a_strangers_and_never_an_error(name: str, value: str | None) -> None:
    assert verifier().verify(presented(**{name: value})) is None


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_comes_twice_is_refused_even_when_both_are_valid(name: str) -> None:
    call = presented()
    twice = (*call.headers, *((each, value) for each, value in call.headers if each == name))
    assert verifier().verify(Presented(call.path, twice, call.body)) is None


def test_a_signature_of_another_body_id_or_secret_is_refused() -> None:
    assert verifier().verify(presented(BODY + b" ")) is None
    assert verifier().verify(presented(webhook_id="msg_2")) is None
    assert verifier().verify(presented(webhook_signature=signature(b"z" * 32))) is None


def test_a_valid_signature_among_too_many_is_refused() -> None:
    many = " ".join(["v1,AAAA"] * MOST_SIGNATURES)
    assert verifier().verify(presented(webhook_signature=f"{many} {signature()}")) is None


def test_every_secret_is_compared_with_every_signature_also_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def counted(ours: bytes, theirs: bytes) -> bool:
        compared.append(theirs)
        return real(ours, theirs)

    monkeypatch.setattr("hmac.compare_digest", counted)
    both = f"{signature()} {signature(KEYS[1])}"
    assert verifier().verify(presented(webhook_signature=both)) is not None
    assert len(compared) == 4


def test_a_body_that_is_no_text_is_refused_without_an_error() -> None:
    assert verifier().verify(presented(b"\xff\xfe")) is None


def test_no_secret_is_in_the_repr() -> None:
    assert repr(verifier()) == "StandardWebhooksVerifier(2 keys)"
    assert "acme" not in repr(presented())
    assert "v1," not in repr(presented())
