"""A job as it travels to an endpoint: the envelope as a JSON object, with the tick beside its fields.

The other side prepares it again. What it must compute the same is the identity, so the data travels as it was handed
in, as text: one that was read and written again would change its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs_exec.contracts import tick_text
from jobs_exec.job import Handed, NewJob

if TYPE_CHECKING:
    from jobs_exec.inline import Call


def body_of_job(job: NewJob) -> str:
    """The call that makes `job` on the other side, which has its own say in queue and attempts where nobody asked."""
    handed = job.handed or Handed(job.payload)
    fields = {
        "orgId": job.org_id,
        "type": job.type,
        "key": handed.key,
        "maxAttempts": handed.max_attempts,
        "expiresAt": None if job.expires_at is None else job.expires_at.isoformat(),
        "trace": job.trace,
    }
    return _with_data(fields, handed.data)


def body_of_call(call: Call) -> str:
    """The same for a call whose data is JSON."""
    envelope = call.envelope
    fields = {
        "orgId": envelope.org_id,
        "type": envelope.type,
        "key": envelope.key,
        "tick": None if call.tick is None else tick_text(call.tick),
        "maxAttempts": envelope.max_attempts,
        "expiresAt": None if envelope.expires_at is None else envelope.expires_at.isoformat(),
        "trace": envelope.trace,
    }
    return _with_data(fields, _text(envelope.data))


def _with_data(fields: Mapping[str, Any], data: str) -> str:
    given = {name: value for name, value in fields.items() if value is not None}
    return f'{_text(given)[:-1]},"data":{data}}}'


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
