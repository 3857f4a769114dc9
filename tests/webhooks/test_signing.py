"""Signatures that the Standard Webhooks library verifies, secrets of the right org, and none of them anywhere."""

from __future__ import annotations

import base64
import json
import logging
import os
import traceback
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from receivers import Received, Receiver, reply
from standardwebhooks import Webhook, WebhookVerificationError

from jobs_exec import Success
from jobs_exec_webhooks.errors import SecretInvalid, SecretMissing
from jobs_exec_webhooks.secrets import settings_resolver


def made_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


OLD, NEW, OTHER = made_secret(), made_secret(), made_secret()


def verified(request: Received, secret: str) -> object:
    return Webhook(secret).verify(request.body, request.headers)


async def test_a_receiver_verifies_the_delivery_with_the_library(opened, receiver: Receiver) -> None:
    send = await opened(lambda _org: [NEW])
    await send(receiver.url(), {"type": "order.created", "note": "ä\u2028€"}, effect_key="job_42")
    assert verified(receiver.only, NEW) == {"type": "order.created", "note": "ä\u2028€"}
    assert receiver.only.headers["webhook-id"] == "job_42"


async def test_the_id_is_the_same_in_every_attempt_and_the_time_is_new(opened, receiver: Receiver) -> None:
    times = iter([datetime.now(UTC) - timedelta(seconds=60), datetime.now(UTC)])
    now = next(times)
    send = await opened(lambda _org: [NEW], now=lambda: now)
    receiver.answer = lambda _request: reply(500)
    await send(receiver.url(), effect_key="job_42")
    now = next(times)
    await send(receiver.url(), effect_key="job_42")
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "job_42"
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 60
    assert verified(first, NEW) == verified(second, NEW) == {"n": 1}


async def test_during_a_rotation_both_secrets_verify_and_no_other_does(opened, receiver: Receiver) -> None:
    send = await opened(lambda _org: [NEW, OLD])
    await send(receiver.url())
    assert len(receiver.only.headers["webhook-signature"].split(" ")) == 2
    verified(receiver.only, NEW)
    verified(receiver.only, OLD)
    with pytest.raises(WebhookVerificationError):
        verified(receiver.only, OTHER)


async def test_a_changed_body_does_not_verify(opened, receiver: Receiver) -> None:
    send = await opened(lambda _org: [NEW])
    await send(receiver.url(), {"amount": 1})
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(b'{"amount":2}', receiver.only.headers)


async def test_each_org_is_signed_with_its_own_secret(opened, receiver: Receiver) -> None:
    resolver = settings_resolver({"acme": (SecretStr(NEW),)}, SecretStr(OTHER))
    send = await opened(resolver)
    await send(receiver.url(), org_id="acme")
    await send(receiver.url(), org_id="initech")
    verified(receiver.requests[0], NEW)
    verified(receiver.requests[1], OTHER)


async def test_an_async_resolver_is_awaited_for_each_delivery(opened, receiver: Receiver) -> None:
    asked = []

    async def secrets_of(org_id: str) -> list[SecretStr]:
        asked.append(org_id)
        return [SecretStr(NEW)]

    send = await opened(secrets_of)
    await send(receiver.url(), org_id="a")
    await send(receiver.url(), org_id="b")
    assert asked == ["a", "b"]
    verified(receiver.requests[1], NEW)


async def test_a_lone_secret_is_a_list_of_one(opened, receiver: Receiver) -> None:
    await (await opened(lambda _org: NEW))(receiver.url())
    verified(receiver.only, NEW)


async def test_an_org_without_a_secret_fails_and_nothing_is_sent(opened, receiver: Receiver) -> None:
    send = await opened(settings_resolver({"other": (SecretStr(NEW),)}, None))
    with pytest.raises(SecretMissing, match=r"'acme'.*JOB_WEBHOOKS_SECRETS.*webhook_secrets"):
        await send(receiver.url())
    assert receiver.connections == 0


async def test_unsigned_delivery_needs_a_setting_of_its_own(opened, receiver: Receiver) -> None:
    send = await opened(settings_resolver({}, None), allow_unsigned=True)
    assert isinstance(await send(receiver.url()), Success)
    assert "webhook-signature" not in receiver.only.headers
    assert receiver.only.headers["webhook-id"] == "job_1"


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("whsec_not*base64*at*all", "is not base64"),
        ("ünïcode", "is not base64"),
        ("whsec_", "has 0 bytes"),
        ("whsec_" + base64.b64encode(b"short").decode(), "has 5 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "has 65 bytes"),
    ],
)
async def test_a_secret_that_cannot_sign_fails_without_being_shown(
    opened, receiver: Receiver, secret: str, problem: str
) -> None:
    send = await opened(lambda _org: [secret])
    with pytest.raises(SecretInvalid, match=problem) as refused:
        await send(receiver.url())
    bare = secret.removeprefix("whsec_")
    assert not bare or bare not in str(refused.value)
    assert receiver.connections == 0


async def test_a_secret_without_padding_signs_all_the_same(opened, receiver: Receiver) -> None:
    bare = NEW.rstrip("=")
    assert bare != NEW
    await (await opened(lambda _org: [bare]))(receiver.url())
    verified(receiver.only, NEW)


async def test_secrets_and_payloads_are_in_no_log_repr_result_or_error(
    opened, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary-in-the-payload"
    send = await opened(settings_resolver({"acme": (SecretStr(NEW),)}, None))
    outcomes = []
    for status in (200, 302, 410, 500, 503):
        receiver.answer = lambda _request, status=status: reply(status)
        outcomes.append(await send(receiver.url(path=f"/{canary}"), {"a": canary}, headers={"x-token": canary}))
    receiver.answer = lambda _request: b"no http\r\n\r\n"
    outcomes.append(await send(receiver.url(path=f"/{canary}"), {"a": canary}))
    try:
        await send(receiver.url(path=f"/{canary}"), {"a": canary}, org_id="nobody")
    except SecretMissing as error:
        outcomes.append("".join(traceback.format_exception(error)))
    said = json.dumps([repr(outcomes), repr(send.courier), repr(send.courier.settings), caplog.text])
    for word in (canary, NEW.removeprefix("whsec_")):
        assert word not in said
