"""Standard Webhooks signatures: what is signed is ``{webhook-id}.{webhook-timestamp}.{body}``, with HMAC-SHA256.

Several secrets make several signatures in one header, newest first, so that a receiver can change its secret at
any time during a rotation. https://www.standardwebhooks.com has the whole text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook

from jobs_exec_webhooks.errors import SecretInvalid

PREFIX = "whsec_"
_BYTES = range(24, 65)
"""The length of a key that the specification asks for."""


def signature_headers(secrets: Sequence[SecretStr], message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The three headers of one delivery (no signature without secrets); raises `SecretInvalid`."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
    if secrets:
        text, moment = body.decode(), now.astimezone(UTC)
        headers["webhook-signature"] = " ".join(_signer(each).sign(message_id, moment, text) for each in secrets)
    return headers


def check_secret(secret: SecretStr) -> SecretStr:
    """Returns `secret` if it can sign; raises `SecretInvalid`, whose text does not show it."""
    encoded = secret.get_secret_value().removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretInvalid("is not base64") from None
    if len(key) not in _BYTES:
        raise SecretInvalid(f"has {len(key)} bytes")
    return secret


def _signer(secret: SecretStr) -> Webhook:
    # The library decodes leniently and raises whatever base64 raises, so the check comes first.
    return Webhook(check_secret(secret).get_secret_value())
