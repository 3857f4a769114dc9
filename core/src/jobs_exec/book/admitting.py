"""What a schedule is held to on its way into the book: its definition, its job type, its data, and who defined it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs_exec.contracts.schedule import Audience, Schedule, ScheduleRecord
from jobs_exec.errors import InvalidJob, InvalidSchedule, UnknownJobType

if TYPE_CHECKING:
    from jobs_exec.host import Host

log = logging.getLogger(__name__)


async def admitted(host: Host, made: Sequence[Schedule], *, allow_unregistered: bool) -> list[ScheduleRecord]:
    """All of `made` as records, or none. Raises `InvalidSchedule`, and `UnknownJobType` as `enqueue` does.

    They are checked anew: a definition that was changed with `dataclasses.replace` was not.
    """
    from jobs_exec.scheduling.defining import rechecked
    from jobs_exec.scheduling.records import record_of

    book = host.backend.schedules
    checked = [rechecked(_of_run_time(each)) for each in made]
    if not allow_unregistered:
        await _check_types(host, checked)
    for each in checked:
        _check_data(host, each)
        if each.orgs is Audience.ALL and host.directory is None:
            log.warning("%s is for all orgs, but there is no org directory here (JOB_ORG_TABLE)", each.ref)
    now = await book.now()
    return [record_of(each, now, host.policy.max_payload_bytes) for each in checked]


def _of_run_time(made: Schedule) -> Schedule:
    """One of code would be orphaned, or replaced by the next executor that carries it."""
    if made.owner:
        raise InvalidSchedule("owner", f"is {made.owner}, whose executors bring it into the book by themselves")
    return made


async def _check_types(host: Host, made: Sequence[Schedule]) -> None:
    """Jobs of a type that nobody knows would wait for ever."""
    if all(each.type in host.job_types for each in made):
        return
    known = {*host.job_types, *await host.backend.known_types()}
    for each in made:
        if each.type not in known:
            raise UnknownJobType(each.type, known)


def _check_data(host: Host, made: Schedule) -> None:
    """A payload that no handler would take is refused now, not at every tick."""
    from jobs_exec.scheduling.checking import sample_data

    job_type = host.job_types.get(made.type)
    if job_type is None:
        return
    try:
        job_type.payload.encode(sample_data(made), host.policy.max_payload_bytes)
    except InvalidJob as error:
        raise InvalidSchedule(error.field, error.problem) from None
