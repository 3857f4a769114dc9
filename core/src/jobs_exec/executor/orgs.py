"""What the org directory says, asked in batches and never cached.

A directory that fails or does not answer in time cannot say: the jobs of those orgs are given back with a delay
that doubles for each org from 1 second to 60, and starts again after the next answer about it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from jobs_exec.active import active_orgs
from jobs_exec.contracts.directory import OrgDirectory, OrgStatus
from jobs_exec.executor.outage import Outage

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0


@dataclass(frozen=True, slots=True)
class Unsaid:
    """The directory could not say; ask again after `delay` seconds."""

    delay: float


class Orgs:
    """The directory of an executor, or none: then every org is active."""

    def __init__(self, directory: OrgDirectory | None, timeout: float) -> None:
        self._directory = directory
        self._timeout = timeout
        self._outage = Outage("org directory")
        self._listing = Outage("listing the active orgs")
        self._list_again = 0.0
        self._failures: dict[str, int] = {}
        self.suspended: set[str] = set()
        """Orgs whose last answer was so."""

    def __bool__(self) -> bool:
        return self._directory is not None

    async def standings(self, org_ids: AbstractSet[str]) -> dict[str, OrgStatus | Unsaid]:
        """What is known of each of `org_ids`."""
        answers = await self._ask(org_ids)
        return {org: self._noted(org, answers.get(org)) for org in org_ids}

    async def active(self) -> tuple[str, ...] | None:
        """All active orgs, read anew; None when the directory cannot say, or just could not."""
        if self._directory is None or time.monotonic() < self._list_again:
            return None
        try:
            found = await active_orgs(self._directory)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled_by_us():
                raise
            self._list_again = time.monotonic() + self._listing.failed(error)
            return None
        self._listing.recovered()
        return found

    async def _ask(self, org_ids: AbstractSet[str]) -> dict[str, OrgStatus]:
        if self._directory is None:
            return dict.fromkeys(org_ids, OrgStatus.ACTIVE)
        try:
            async with asyncio.timeout(self._timeout):
                answers = dict(await self._directory.check(org_ids))
        except BaseException as error:
            # It is somebody's code: an exit, or a cancel that nobody asked us for, would end the role that asks.
            if isinstance(error, asyncio.CancelledError) and _cancelled_by_us():
                raise
            self._outage.failed(error)
            return {}
        self._outage.recovered()
        return answers

    def _noted(self, org: str, said: object) -> OrgStatus | Unsaid:
        answer = _status(org, said)
        if answer is OrgStatus.SUSPENDED:
            self.suspended.add(org)
        else:
            self.suspended.discard(org)
        if answer is not None:
            self._failures.pop(org, None)
            return answer
        failures = self._failures[org] = self._failures.get(org, 0) + 1
        return Unsaid(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 10)))


def _cancelled_by_us() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _status(org: str, said: object) -> OrgStatus | None:
    """A directory is somebody's plugin: what it answers may be a word of its own. That says nothing about the org."""
    if said is None:
        return None
    try:
        return OrgStatus(str(said))
    except Exception:
        log.warning(
            "the org directory answered what is no OrgStatus; the jobs of the org are given back with a delay",
            extra={"org_id": org, "answer_type": type(said).__name__},
        )
        return None
