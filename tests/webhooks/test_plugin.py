"""The plugin as an installed distribution: found, configured, open for as long as the executor."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributions import Site
from receivers import Receiver
from standardwebhooks import Webhook

from jobs_exec import Identity, Success
from jobs_exec.errors import ConfigurationError
from jobs_exec.host import Host, build_host
from jobs_exec_webhooks.errors import SecretMissing, WebhooksNotOpen
from jobs_exec_webhooks.settings import WebhooksSettings

SECRET = "whsec_" + "QUJD" * 10 + "QQ=="

VAULT = """
    from jobs_exec.contracts import hookimpl

    @hookimpl(optionalhook=True)
    def webhook_secrets(host):
        async def secrets_of(org_id):
            return ["{secret}"] if org_id == "acme" else []
        return secrets_of
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if "vault" in name:
            del sys.modules[name]


def build(**settings: str) -> Host:
    return build_host({"JOB_QUEUE_BACKEND": "memory", "JOB_WEBHOOKS_ALLOW_PRIVATE": "1", **settings})


async def deliver(host: Host, url: str, org_id: str = "acme") -> object:
    made = host.job_types["webhook.deliver"]
    return await made.handler(
        SimpleNamespace(org_id=org_id, effect_key="job_1"),
        made.payload.decode(json.dumps({"url": url, "body": {"n": 1}})),
    )


async def test_a_host_delivers_while_its_lifespan_is_entered(receiver: Receiver) -> None:
    host = build(JOB_WEBHOOKS_SECRET=SECRET)
    (lifespan,) = host.lifespans
    for _ in range(2):  # an executor may be started again
        async with lifespan:
            assert await deliver(host, receiver.url()) == Success({"status": 200, "body": "ok"})
    with pytest.raises(WebhooksNotOpen):
        await deliver(host, receiver.url())
    Webhook(SECRET).verify(receiver.requests[0].body, receiver.requests[0].headers)


async def test_two_hosts_have_connections_and_settings_of_their_own(receiver: Receiver) -> None:
    first, second = build(JOB_WEBHOOKS_SECRET=SECRET), build()
    async with first.lifespans[0], second.lifespans[0]:
        await deliver(first, receiver.url())
        with pytest.raises(SecretMissing):
            await deliver(second, receiver.url())
        async with build(JOB_WEBHOOKS_ALLOW_UNSIGNED="1").lifespans[0]:
            pass
        await deliver(first, receiver.url())
    assert receiver.connections == 1


def test_the_type_is_idempotent_by_payload_and_follows_the_settings() -> None:
    made = build(
        JOB_WEBHOOKS_MAX_ATTEMPTS="7", JOB_WEBHOOKS_TIMEOUT_SECONDS="3", JOB_WEBHOOKS_BACKOFF_SECONDS="0"
    ).job_types["webhook.deliver"]
    assert (made.identity, made.max_attempts, made.owner) == (Identity.PAYLOAD, 7, "jobs-exec-webhooks")
    assert made.timeout is not None
    assert made.timeout > 3
    assert made.backoff(5) == 0


def test_its_settings_are_known_and_secrets_are_masked() -> None:
    host = build(JOB_WEBHOOKS_SECRETS=json.dumps({"acme": [SECRET], "b": SECRET}), JOB_WEBHOOKS_SECRET=SECRET)
    assert not [warning for warning in host.warnings if "JOB_WEBHOOKS" in warning]
    assert SECRET.removeprefix("whsec_") not in repr(host.loader.report([WebhooksSettings]))


async def test_secrets_come_from_a_json_object_by_org(receiver: Receiver) -> None:
    host = build(JOB_WEBHOOKS_SECRETS=json.dumps({"acme": [SECRET, SECRET]}))
    async with host.lifespans[0]:
        await deliver(host, receiver.url())
        assert len(receiver.only.headers["webhook-signature"].split()) == 2
        with pytest.raises(SecretMissing, match="'initech'"):
            await deliver(host, receiver.url(), "initech")


@pytest.mark.parametrize(
    "given",
    [
        {"JOB_WEBHOOKS_SECRET": "canary-that-is-no-base64"},
        {"JOB_WEBHOOKS_SECRETS": '{"acme": "canary-that-is-no-base64"}'},
        {"JOB_WEBHOOKS_SECRETS": '{"acme": ["canary'},
        {"JOB_WEBHOOKS_SECRETS": "canary"},
    ],
)
def test_a_wrong_secret_stops_the_start_by_the_name_of_its_setting(given: dict[str, str]) -> None:
    (name,) = given
    with pytest.raises(Exception, match=name) as refused:
        build(**given)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None or isinstance(refused.value, ConfigurationError)


async def test_a_plugin_with_a_vault_replaces_the_settings(site: Site, receiver: Receiver) -> None:
    site.install("a-vault", entry_points={"plugins:a_vault": "a_vault"}, module=VAULT.format(secret=SECRET))
    host = build(JOB_WEBHOOKS_SECRET="whsec_" + "A" * 43)
    async with host.lifespans[0]:
        await deliver(host, receiver.url())
        Webhook(SECRET).verify(receiver.only.body, receiver.only.headers)
        with pytest.raises(SecretMissing):
            await deliver(host, receiver.url(), "initech")
