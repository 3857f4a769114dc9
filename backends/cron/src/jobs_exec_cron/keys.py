"""The key in a signing secret: ``whsec_`` and base64 of 24 to 64 bytes, as Standard Webhooks has it."""

from __future__ import annotations

import base64
import binascii

from pydantic import SecretStr

PREFIX = "whsec_"
_BYTES = range(24, 65)


def key_of(secret: SecretStr) -> bytes:
    """The bytes that sign. Raises `ValueError`, whose text does not show them."""
    encoded = secret.get_secret_value().removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"must be {PREFIX} and base64; make one with: echo {PREFIX}$(openssl rand -base64 32)"
        ) from None
    if len(key) not in _BYTES:
        raise ValueError(f"has {len(key)} bytes, must have 24 to 64; make one with: openssl rand -base64 32")
    return key
