"""A receiver, a courier that is open, and the context of one attempt."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from receivers import Receiver, receiving

from jobs_exec import Outcome
from jobs_exec_webhooks.courier import Courier
from jobs_exec_webhooks.payload import Delivery
from jobs_exec_webhooks.resolving import Resolver
from jobs_exec_webhooks.secrets import settings_resolver
from jobs_exec_webhooks.settings import WebhooksSettings

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def context(org_id: str = "acme", effect_key: str = "job_1") -> Any:
    """The part of a `JobContext` that a delivery reads."""
    return SimpleNamespace(org_id=org_id, effect_key=effect_key, log=logging.getLogger("test"))


@dataclass(frozen=True, slots=True)
class Sender:
    """Delivers through an open courier."""

    courier: Courier

    async def __call__(
        self, url: str, body: Any = None, *, org_id: str = "acme", effect_key: str = "job_1", **more: Any
    ) -> Outcome:
        data = Delivery(url=url, body={"n": 1} if body is None else body, **more)
        return await self.courier.deliver(context(org_id, effect_key), data)


Opened = Callable[..., Awaitable[Sender]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Opens couriers with settings, and closes them at the end."""
    couriers: list[Courier] = []

    async def make(
        secrets_of: Any = None,
        make_resolver: Callable[[bool], Resolver] = Resolver,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        **settings: Any,
    ) -> Sender:
        resolver = secrets_of or settings_resolver({}, SecretStr(SECRET))
        courier = Courier(WebhooksSettings(**{"allow_private": True, **settings}), resolver, make_resolver, now)
        await courier.__aenter__()
        couriers.append(courier)
        return Sender(courier)

    yield make
    for courier in couriers:
        await courier.__aexit__(None, None, None)


@pytest.fixture
async def send(opened: Opened) -> Sender:
    return await opened()
