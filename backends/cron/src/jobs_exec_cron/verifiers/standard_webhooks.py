"""Callers that sign: Standard Webhooks, HMAC-SHA256 over ``{webhook-id}.{webhook-timestamp}.{body}``.

The package `standardwebhooks` signs for us, but does not verify here: it stops at the first signature that matches,
looks at as many as the header holds, knows one secret, and answers malformed headers with whatever Python raises.
Here every configured key is tried against every signature that is looked at, each comparison in constant time and none
left out, so that the time of an answer tells neither which key matched nor where.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence

from jobs_exec_cron.verifying import MAX_CALL_ID, Presented, Verified

WINDOW = 300
"""Seconds that a timestamp may be away from now, either way; the specification's own figure."""

MOST_SIGNATURES = 16
"""A header with more is refused, not cut: nobody rotates through so many keys, and each costs a comparison a key."""

_LONGEST_HEADER = 64 * MOST_SIGNATURES
_ID = re.compile(rf"[\x21-\x7e]{{1,{MAX_CALL_ID}}}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class StandardWebhooksVerifier:
    """Accepts what was signed with one of `keys` within the last 300 seconds; `clock` is the time of day."""

    name = "standard-webhooks"

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        self._keys = tuple(keys)
        self._clock = clock

    def __repr__(self) -> str:
        return f"StandardWebhooksVerifier({len(self._keys)} keys)"

    def verify(self, call: Presented) -> Verified | None:
        """See `Verifier.verify`. A call without the three headers, or with one of them malformed, is a stranger's."""
        call_id, timestamp = call.header("webhook-id"), call.header("webhook-timestamp")
        signatures = _signatures(call.header("webhook-signature"))
        if call_id is None or timestamp is None or not signatures:
            return None
        if not _ID.fullmatch(call_id) or not self._timely(timestamp):
            return None
        signed = f"{call_id}.{timestamp}.".encode() + call.body
        return Verified(call_id) if self._signed(signed, signatures) else None

    def _timely(self, timestamp: str) -> bool:
        return bool(_TIMESTAMP.fullmatch(timestamp)) and abs(self._clock() - int(timestamp)) <= WINDOW

    def _signed(self, signed: bytes, signatures: Sequence[bytes]) -> bool:
        expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in self._keys]
        # A sum, not any(), which would stop at the first match.
        return sum(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures) > 0


def _signatures(header: str | None) -> list[bytes]:
    """The ``v1`` signatures of a header; none when any part of it is malformed or there are too many."""
    if header is None or len(header) > _LONGEST_HEADER:
        return []
    parts = header.split(" ")
    if len(parts) > MOST_SIGNATURES:
        return []
    found = []
    for part in parts:
        version, comma, encoded = part.partition(",")
        if not comma:
            return []
        if version == "v1":
            found.append(_decoded(encoded))
    return [each for each in found if each]


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        return b""
