"""Whose secret signs a delivery: the hook `webhook_secrets`, and its default from settings.

A plugin that keeps secrets elsewhere (a table, a vault) implements the hook::

    @hookimpl(optionalhook=True)
    def webhook_secrets(host):
        async def secrets_of(org_id):
            return await vault.webhook_secrets(org_id)   # newest first
        return secrets_of

The hook is called once at start; the resolver it returns is called for every delivery, so it caches what is slow
to get, and a sync one returns at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from pydantic import SecretStr

from jobs_exec.contracts import PluginHost, hookspec
from jobs_exec_webhooks.errors import SecretMissing

__all__ = ["SecretResolver", "WebhookHookSpecs", "secrets_for", "settings_resolver"]

Secrets = Sequence[SecretStr | str]


class SecretResolver(Protocol):
    """From an org to its signing secrets, newest first; async or sync."""

    def __call__(self, org_id: str, /) -> Secrets | Awaitable[Secrets]:
        """``whsec_`` secrets as text or `SecretStr`; empty when the org has none."""


class WebhookHookSpecs(Protocol):
    """The hook this plugin adds."""

    @hookspec(firstresult=True)
    def webhook_secrets(self, host: PluginHost) -> SecretResolver | None:
        """The resolver of signing secrets; None leaves it to the next plugin, at last to the settings."""


def settings_resolver(by_org: Mapping[str, tuple[SecretStr, ...]], shared: SecretStr | None) -> SecretResolver:
    """The default: an org's own secrets, else the one for all."""
    for_all = () if shared is None else (shared,)

    def secrets_of(org_id: str) -> Sequence[SecretStr]:
        return by_org.get(org_id) or for_all

    return secrets_of


async def secrets_for(org_id: str, resolver: SecretResolver, allow_unsigned: bool) -> tuple[SecretStr, ...]:
    """The secrets of `org_id`; raises `SecretMissing` where there is none and unsigned is not allowed."""
    answer = resolver(org_id)
    found = await answer if inspect.isawaitable(answer) else answer
    if not found and not allow_unsigned:
        raise SecretMissing(org_id)
    # A lone text is a sequence too, of its characters.
    each = (found,) if isinstance(found, (str, SecretStr)) else found
    return tuple(secret if isinstance(secret, SecretStr) else SecretStr(secret) for secret in each)
