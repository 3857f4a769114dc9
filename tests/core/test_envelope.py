"""The rules of the envelope: each violation is one error that names the field, and shows no value of the payload."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs_exec.envelope import MAX_DEPTH, Envelope, envelope_from_json, seconds
from jobs_exec.errors import InvalidJob, InvalidPayload, MissingOrg, UndecodablePayload
from jobs_exec.payload import Payload


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth - 1):
        data = {"a": data}
    return data


def test_both_spellings_are_read_from_json() -> None:
    ours = envelope_from_json({"org_id": "acme", "type": "mail", "run_at": "2030-01-31T08:00:00Z"})
    theirs = envelope_from_json({"orgId": "acme", "type": "mail", "runAt": "2030-01-31T08:00:00+00:00"})
    assert ours == theirs == Envelope("acme", "mail", run_at=datetime(2030, 1, 31, 8, tzinfo=UTC))


@pytest.mark.parametrize("org", [None, "", "  ", "\t"])
def test_a_job_without_an_org_is_refused(org: str | None) -> None:
    with pytest.raises(MissingOrg):
        Envelope(org, "mail")  # type: ignore[arg-type]
    with pytest.raises(MissingOrg):
        envelope_from_json({"orgId": org, "type": "mail"})


@pytest.mark.parametrize(
    ("envelope", "field"),
    [
        ({"type": "mail"}, "orgId"),
        ({"orgId": " acme", "type": "mail"}, "orgId"),
        ({"orgId": "a\nb", "type": "mail"}, "orgId"),
        ({"orgId": "a" * 256, "type": "mail"}, "orgId"),
        ({"orgId": 7, "type": "mail"}, "orgId"),
        ({"orgId": "a", "org_id": "a", "type": "mail"}, "org_id"),
        ({"orgId": "a"}, "type"),
        ({"orgId": "a", "type": "1mail"}, "type"),
        ({"orgId": "a", "type": "m" * 129}, "type"),
        ({"orgId": "a", "type": "mail", "colour": 1}, "colour"),
        ({"orgId": "a", "type": "mail", "data": []}, "data"),
        ({"orgId": "a", "type": "mail", "data": {"x": {"y": [1, float("nan")]}}}, "data.x.y[1]"),
        ({"orgId": "a", "type": "mail", "data": {"x": 2**53 + 1}}, "data.x"),
        ({"orgId": "a", "type": "mail", "data": {"x": "\0"}}, "data.x"),
        ({"orgId": "a", "type": "mail", "data": {"x": "\ud800"}}, "data.x"),
        ({"orgId": "a", "type": "mail", "data": nested(MAX_DEPTH + 1)}, "data"),
        ({"orgId": "a", "type": "mail", "key": ""}, "key"),
        ({"orgId": "a", "type": "mail", "priority": 10}, "priority"),
        ({"orgId": "a", "type": "mail", "priority": True}, "priority"),
        ({"orgId": "a", "type": "mail", "delay": -1}, "delay"),
        ({"orgId": "a", "type": "mail", "delay": 1, "runAt": "2030-01-31T08:00:00Z"}, "delay"),
        ({"orgId": "a", "type": "mail", "runAt": "tomorrow"}, "run_at"),
        ({"orgId": "a", "type": "mail", "runAt": "2030-01-31T08:00:00"}, "run_at"),
        ({"orgId": "a", "type": "mail", "maxAttempts": 0}, "max_attempts"),
        ({"orgId": "a", "type": "mail", "expiresAt": 5}, "expires_at"),
        ({"orgId": "a", "type": "mail", "trace": "00-1-2-3"}, "trace"),
        ([], "envelope"),
    ],
)
def test_a_violation_names_its_field(envelope: object, field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        envelope_from_json(envelope)
    assert refused.value.field == field
    assert str(refused.value).startswith(field)


def test_the_deepest_allowed_payload_is_taken() -> None:
    assert envelope_from_json({"orgId": "a", "type": "mail", "data": nested(MAX_DEPTH)}).data == nested(MAX_DEPTH)


@pytest.mark.parametrize("text", ['{"a": 1e5000}', "[" * 1000 + "]" * 1000, '{"a": NaN}', "{", "[]", '"x"'])
def test_a_stored_payload_that_breaks_the_rules_is_undecodable(text: str) -> None:
    with pytest.raises(UndecodablePayload):
        Payload(dict).decode(text)


def test_a_stored_payload_another_model_would_take_is_only_invalid() -> None:
    with pytest.raises(InvalidPayload) as refused:
        Payload(dict[str, int]).decode('{"a": "secret"}')
    assert "secret" not in str(refused.value)


def test_no_repr_shows_a_payload() -> None:
    envelope = Envelope("acme", "mail", {"card": "4111"})
    encoded = Payload(dict).encode(envelope.data, 1000)
    assert "4111" not in repr(envelope) + repr(encoded)


@pytest.mark.parametrize("delay", ["5m", True, object()])
def test_a_delay_that_is_no_number_is_refused_by_name(delay: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^delay: must be seconds or a timedelta, not .*timedelta\(minutes=5\)"):
        seconds(delay)
