"""From a definition to what the book keeps: its data as JSON text, checked, and its first tick."""

from __future__ import annotations

from datetime import datetime

from jobs_exec.contracts.schedule import Schedule, ScheduleRecord
from jobs_exec.scheduling.checking import payload_text
from jobs_exec.scheduling.ticks import first_tick


def record_of(made: Schedule, now: datetime, max_payload_bytes: int) -> ScheduleRecord:
    """`made` on its way into the book. Raises `InvalidSchedule` when a job's payload would be too long.

    The data is stored as it was defined: a payload model fills its defaults when the handler is called.
    """
    return ScheduleRecord(made, payload_text(made, max_payload_bytes), first_tick(made, now))
