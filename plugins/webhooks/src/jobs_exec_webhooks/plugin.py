"""The hooks of the webhooks plugin.

Identity is ``payload``: the same body to the same URL is one piece of work of its org and is delivered once per
retention window. Events that may recur word for word (a ping) say which one they are with ``key=``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any

from jobs_exec import Backoff, Identity, JobType, job_type
from jobs_exec.contracts import PluginHost, hookimpl
from jobs_exec_webhooks.courier import Courier
from jobs_exec_webhooks.secrets import SecretResolver, WebhookHookSpecs, settings_resolver
from jobs_exec_webhooks.settings import WebhooksSettings

TYPE = "webhook.deliver"
_SPARE_SECONDS = 10.0


def _courier(host: PluginHost) -> Courier:
    """One courier for each host: its job type delivers over the connections that its lifespan opens."""
    return _made(host)  # type: ignore[arg-type]  # a protocol promises no hash, every host has one


@lru_cache(maxsize=16)
def _made(host: PluginHost) -> Courier:
    # The hook answers with its first result, and our own implementation always has one.
    return Courier(host.settings(WebhooksSettings), host.hook.webhook_secrets(host=host))


@hookimpl
def settings_class() -> type[Any]:
    """``JOB_WEBHOOKS_*``."""
    return WebhooksSettings


@hookimpl
def hook_specs() -> object:
    """Adds the hook `webhook_secrets`."""
    return WebhookHookSpecs


@hookimpl(trylast=True)
def webhook_secrets(host: PluginHost) -> SecretResolver:
    """Secrets from ``JOB_WEBHOOKS_SECRETS`` and ``JOB_WEBHOOKS_SECRET``."""
    settings = host.settings(WebhooksSettings)
    return settings_resolver(settings.secrets, settings.secret)


@hookimpl
def job_types(host: PluginHost) -> Sequence[JobType]:
    """The type ``webhook.deliver``."""
    courier = _courier(host)
    settings = courier.settings
    backoff = Backoff(base=settings.backoff_seconds)
    made = job_type(
        TYPE,
        courier.deliver,
        identity=Identity.PAYLOAD,
        max_attempts=settings.max_attempts,
        backoff=backoff,
        # The delivery ends by itself before; this only catches a secrets hook that hangs.
        timeout=settings.timeout_seconds + _SPARE_SECONDS,
    )
    return [made]


@hookimpl
def lifespan(host: PluginHost) -> AbstractAsyncContextManager[Any]:
    """Connections that live as long as the executor."""
    return _courier(host)
