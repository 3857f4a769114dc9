"""From a host to tables that nothing is looked up in twice: a route for each type, a lane for each queue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from jobs_exec.contracts.handler import JobType
from jobs_exec.executor.attempt import Lane, Route
from jobs_exec.executor.chain import fold
from jobs_exec.executor.outcomes import terms_of
from jobs_exec.executor.threads import Threads
from jobs_exec.host import Host

log = logging.getLogger(__name__)

_TYPES_SAID = 20


def routes_of(host: Host, threads: Threads) -> dict[str, Route]:
    """The job types of the queues that are served, compiled: only these are carried."""
    served = host.settings.queue_slots
    return {
        name: Route(made, terms_of(made, host.policy), made.payload.decode, fold(made, host.middleware, threads))
        for name, made in host.job_types.items()
        if made.queue in served
    }


def lanes_of(host: Host, routes: Mapping[str, Route]) -> tuple[Lane, ...]:
    """The queues that are served and have types here, each with its slots."""
    if not host.job_types:
        log.warning(
            "no job type is registered, so nothing will be run; name the modules that register them in JOB_MODULES or "
            "with --import, or install a plugin"
        )
        return ()
    lanes = []
    for queue, slots in host.settings.queue_slots.items():
        made = [route.type for route in routes.values() if route.type.queue == queue]
        if made:
            lanes.append(_lane(host, queue, slots, made))
        else:
            others = ", ".join(sorted({each.queue for each in host.job_types.values()}))
            log.warning(
                "no job type belongs to queue %r; it is not served (job types here belong to %s)", queue, others
            )
    return tuple(lanes)


def serves(lanes: Sequence[Lane]) -> dict[str, str]:
    """Queues and job types for a log line: ``default:100`` and the first names."""
    types = sorted(name for lane in lanes for name in lane.types)
    more = [f"{len(types) - _TYPES_SAID} more"] if len(types) > _TYPES_SAID else []
    return {
        "queues": ", ".join(f"{lane.queue}:{lane.slots}" for lane in lanes) or "none",
        "types": ", ".join([*types[:_TYPES_SAID], *more]) or "none",
    }


def _lane(host: Host, queue: str, slots: int, made: list[JobType]) -> Lane:
    """A queue of sync handlers alone has no use for more slots than there are threads."""
    if not any(each.is_async for each in made):
        slots = min(slots, host.settings.threads)
    share = max(1, int(slots * host.settings.org_max_share))
    return Lane(queue, slots, share, frozenset(each.name for each in made))
