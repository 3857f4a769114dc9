"""Callers that bring a token: ``Authorization: Bearer TOKEN``, compared with the SHA-256 digests of known tokens.

The configuration holds digests only, so that whoever reads it cannot call. A token proves who calls, not what was
sent or when: a call that is repeated is accepted as often as it comes, and has no id of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from jobs_exec_cron.verifying import Presented, Verified

_HEADER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([\x21-\x7e]{1,4096})")


class BearerVerifier:
    """Accepts tokens whose SHA-256 is among `digests` (hexadecimal, lower case)."""

    name = "bearer"

    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = tuple(digests)

    def __repr__(self) -> str:
        return f"BearerVerifier({len(self._digests)} digests)"

    def verify(self, call: Presented) -> Verified | None:
        """See `Verifier.verify`; `Verified.call_id` is None."""
        token = _HEADER.fullmatch(call.header("authorization") or "")
        if token is None:
            return None
        digest = hashlib.sha256(token[1].encode()).hexdigest()
        # A sum, not any(): the time must not tell which digest it was.
        known = sum(hmac.compare_digest(digest, each) for each in self._digests)
        return Verified() if known else None
