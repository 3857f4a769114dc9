"""What makes two jobs one piece of work: canonical JSON, the run hash, job ids.

``run_hash = SHA-256(version || org || type || kind || identity)`` with every field preceded by its
length (4 bytes, big-endian), so that no two inputs share a serialisation. The org is inside the hash:
one org can never suppress another's job.

Canonical JSON is RFC 8785. The `rfc8785` package is exact and slow; a sorted dump is about 45 times
faster and gives the same bytes as long as there is no float and every key is in the basic multilingual
plane (there, code-point order and UTF-16 order agree). The fast path is taken exactly then; their
equality is property-tested.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

import rfc8785

HASH_VERSION = b"jobs-exec/1"

_BMP_END = "\uffff"
_EDGE = 2**53


class Identity(StrEnum):
    """What decides that two jobs of one org and type are the same piece of work."""

    PAYLOAD = "payload"
    """The canonical JSON of the data as handed in."""
    KEY = "key"
    """The caller's key."""
    NONE = "none"
    """Nothing: the job's own id."""


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """The RFC 8785 form of validated `data` (finite numbers, integers within ±2^53, string keys)."""
    if _needs_rfc8785(data):
        try:
            return rfc8785.dumps(data)
        except rfc8785.IntegerDomainError:
            return rfc8785.dumps(_edges_as_floats(data))
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _edges_as_floats(value: Any) -> Any:
    """`value` with ±2^53 as floats: the package takes integers up to one below, and writes the float the same."""
    if isinstance(value, Mapping):
        return {key: _edges_as_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_edges_as_floats(item) for item in value]
    return float(value) if isinstance(value, int) and abs(value) == _EDGE else value


def _needs_rfc8785(value: Any) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float):
            return True
        if isinstance(item, Mapping):
            if any(max(key, default="") > _BMP_END for key in item):
                return True
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return False


def run_hash(org_id: str, type_name: str, kind: Identity, identity: bytes) -> bytes:
    """The 32-byte hash under which this piece of work is queued and recorded."""
    fields = (HASH_VERSION, org_id.encode(), type_name.encode(), kind.encode(), identity)
    return sha256(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).digest()


def digest(full_hash: bytes) -> UUID:
    """The first 16 bytes of a SHA-256 as a UUID: 40 B a row in a Postgres index, against 105 B for (org, bytea)."""
    return UUID(bytes=full_hash[:16])


def payload_digest(canonical: bytes) -> UUID:
    """Tells two payloads under one key apart."""
    return digest(sha256(canonical).digest())


def new_job_id() -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): Unix milliseconds, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
