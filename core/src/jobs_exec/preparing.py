"""Where an envelope becomes a job: the one place for every way in.

Client, sync client, ``ctx.enqueue``, the command and triggers all come through `prepare`, so the same rules,
the same identity and the same stored form hold everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobs_exec.contracts.backend import Capability
from jobs_exec.contracts.handler import JobTable
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.contracts.plugin import Policy
from jobs_exec.contracts.schedule import tick_text
from jobs_exec.envelope import Envelope
from jobs_exec.errors import CapabilityMissing, InvalidJob, UnknownJobType
from jobs_exec.identity import Identity, digest, new_job_id, payload_digest, run_hash
from jobs_exec.job import Handed, NewJob
from jobs_exec.payload import Payload

_UNTYPED = Payload(dict)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a type, from this process or from the backend's announcements."""

    payload: Payload
    queue: str
    identity: Identity
    max_attempts: int | None


def unregistered(envelopes: Iterable[Envelope], table: JobTable) -> bool:
    """True when the backend's known types are needed to prepare `envelopes`."""
    return any(envelope.type not in table for envelope in envelopes)


def prepare(
    envelope: Envelope,
    table: JobTable,
    known: Mapping[str, TypeRecord],
    policy: Policy,
    *,
    allow_unregistered: bool = False,
    tick: datetime | None = None,
) -> NewJob:
    """The job to insert. Raises `InvalidJob` (also `UnknownJobType`, `PayloadTooLarge`) naming the field.

    With `tick` the identity is that time and the key, or else the payload.
    """
    facts = _facts(envelope.type, table, known, allow_unregistered)
    payload = facts.payload.encode(envelope.data, policy.max_payload_bytes)
    job_id = new_job_id()
    of_payload = payload_digest(payload.canonical)
    if tick is not None:
        mode, identity = Identity.KEY, _at_tick(tick, envelope.key, of_payload)
    else:
        mode = Identity.KEY if envelope.key is not None else facts.identity
        identity = _identity(mode, envelope, payload.canonical, job_id)
    full_hash = run_hash(envelope.org_id, envelope.type, mode, identity)
    return NewJob(
        id=job_id,
        org_id=envelope.org_id,
        type=envelope.type,
        queue=facts.queue,
        payload=payload.text,
        identity=mode,
        run_hash=full_hash,
        digest=digest(full_hash),
        payload_digest=of_payload,
        max_attempts=envelope.max_attempts or facts.max_attempts or policy.max_attempts,
        priority=envelope.priority,
        run_at=envelope.run_at,
        delay=envelope.delay,
        expires_at=envelope.expires_at,
        trace=envelope.trace,
        handed=Handed(payload.handed, envelope.key, envelope.max_attempts),
    )


def require(backend: str, capabilities: frozenset[Capability], envelope: Envelope) -> None:
    """Raises `CapabilityMissing` when `envelope` asks for what the backend does not do."""
    if Capability.DELAY not in capabilities and (envelope.run_at is not None or envelope.delay):
        raise CapabilityMissing(backend, Capability.DELAY, "enqueue without run_at and delay")
    if Capability.PRIORITY not in capabilities and envelope.priority != 5:
        raise CapabilityMissing(backend, Capability.PRIORITY, "enqueue without priority")


def _at_tick(tick: datetime, key: str | None, payload: UUID) -> bytes:
    """Two ways to write one time are one tick; the prefix keeps it apart from keys of callers."""
    return f"tick:{tick_text(tick)}:{payload.hex if key is None else key}".encode()


def _identity(mode: Identity, envelope: Envelope, canonical: bytes, job_id: UUID) -> bytes:
    match mode:
        case Identity.PAYLOAD:
            return canonical
        case Identity.NONE:
            return job_id.bytes
        case Identity.KEY if envelope.key is not None:
            return envelope.key.encode()
    raise InvalidJob("key", f"is missing; jobs of type {envelope.type!r} are told apart by the caller's key")


def _facts(name: str, table: JobTable, known: Mapping[str, TypeRecord], allow_unregistered: bool) -> _Facts:
    made = table.get(name)
    if made is not None:
        return _Facts(made.payload, made.queue, made.identity, made.max_attempts)
    record = known.get(name)
    if record is not None:
        return _Facts(_UNTYPED, record.queue, record.identity, record.max_attempts)
    if allow_unregistered:
        return _Facts(_UNTYPED, "default", Identity.PAYLOAD, None)
    raise UnknownJobType(name, {*table, *known})
