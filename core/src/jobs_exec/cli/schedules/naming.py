"""Names of schedules where only small letters, digits and hyphens are allowed."""

from __future__ import annotations

import json
import re
from hashlib import sha256

from jobs_exec.contracts.schedule import ScheduleRef

LONGEST = 52
"""Characters of a CronJob's name: Kubernetes adds 11 for each of its Jobs."""

DIGITS = 10
"""40 bits of the hash: among a thousand schedules one in two million has a namesake."""


def dns_name(ref: ScheduleRef) -> str:
    """A DNS label that begins as the name does; two schedules never share one but by an accident of the hash.

    Name, owner and tenant are all hashed: ``A.b`` and ``a-b`` would look alike without it.
    """
    whole = json.dumps([ref.name, ref.owner, ref.org_id])
    digits = sha256(whole.encode()).hexdigest()[:DIGITS]
    readable = re.sub(r"[^a-z0-9]+", "-", ref.name.lower()).strip("-")[: LONGEST - DIGITS - 1].strip("-")
    return f"{readable or 'schedule'}-{digits}"
