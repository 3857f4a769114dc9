"""From a definition to what the book keeps: its data as JSON text, checked, and its first tick."""

from __future__ import annotations

from datetime import datetime

from jobs_exec.contracts.schedule import Schedule, ScheduleRecord, tick_payload
from jobs_exec.envelope import encode_payload
from jobs_exec.errors import InvalidSchedule, PayloadTooLarge
from jobs_exec.scheduling.checking import SOME_TICK
from jobs_exec.scheduling.ticks import first_tick


def record_of(made: Schedule, now: datetime, max_payload_bytes: int) -> ScheduleRecord:
    """`made` on its way into the book. Raises `InvalidSchedule` when a job's payload would be too long.

    The data is stored as it was defined: a payload model fills its defaults when the handler is called.
    """
    return ScheduleRecord(made, payload_text(made, max_payload_bytes), first_tick(made, now))


def payload_text(made: Schedule, max_payload_bytes: int) -> str:
    """The data as JSON text; raises `InvalidSchedule` when it is too long, with the tick in it."""
    try:
        text = encode_payload(made.data, max_payload_bytes)
        size = len(tick_payload(text, made.tick_as, SOME_TICK).encode())
        if size > max_payload_bytes:
            raise PayloadTooLarge(size, max_payload_bytes)
    except PayloadTooLarge as error:
        raise InvalidSchedule("data", error.problem) from None
    return text
