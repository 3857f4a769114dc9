"""The signature of a call: Standard Webhooks, HMAC-SHA256 over ``{webhook-id}.{webhook-timestamp}.{body}``.

https://www.standardwebhooks.com has the whole text; `verifiers.standard_webhooks` is the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import SecretStr


def signed(secret: SecretStr, call_id: str, body: str, now: datetime) -> Mapping[str, str]:
    """The three headers of one call. `secret` was checked with the settings, `call_id` stays when it is sent again."""
    from standardwebhooks import Webhook

    moment = now.astimezone(UTC)
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret.get_secret_value()).sign(call_id, moment, body),
    }
