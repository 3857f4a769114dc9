"""Screening: which of the claimed jobs may run.

In this order: a job without an org never runs, whoever handed it out; the org directory decides about the orgs; an
idempotency store that is not the backend's ledger decides about the pieces of work. A batch costs one question to
each of them, and nothing at all where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobs_exec.contracts.directory import OrgStatus
from jobs_exec.contracts.store import ReserveAnswer, Reserved
from jobs_exec.executor.attempt import Attempt
from jobs_exec.executor.orgs import Orgs, Unsaid
from jobs_exec.executor.reserving import Reservations
from jobs_exec.job import Action, Settlement

BUSY_DELAY = 1.0
"""Seconds until a job is tried again whose piece of work another attempt holds, or whose store cannot say."""

RESERVED = "reserved"
"""Why an attempt is given back whose work another attempt has reserved."""


class Screening:
    """`passed` settles what may not run through `refuse` and returns the rest."""

    def __init__(
        self,
        orgs: Orgs,
        reservations: Reservations | None,
        refuse: Callable[[Attempt, Settlement], None],
        busy_delay: float = BUSY_DELAY,
    ) -> None:
        self._orgs = orgs
        self._reservations = reservations
        self._refuse = refuse
        self._busy_delay = busy_delay

    async def passed(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Those of a claimed batch that may run."""
        attempts = self._with_org(attempts)
        if self._orgs and attempts:
            attempts = await self._of_good_standing(attempts)
        if self._reservations is not None and attempts:
            attempts = await self._not_done_elsewhere(self._reservations, attempts)
        return attempts

    def _with_org(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        nobodys = [each for each in attempts if not each.job.org_id or each.job.org_id.isspace()]
        for attempt in nobodys:
            error = "the job has no org; every job belongs to one"
            self._refuse(attempt, Settlement(attempt.ref, Action.REJECT, error=error, reason="org"))
        return [each for each in attempts if each not in nobodys] if nobodys else attempts

    async def _of_good_standing(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        standings = await self._orgs.standings({attempt.job.org_id for attempt in attempts})
        return [each for each in attempts if self._may_run(each, standings[each.job.org_id])]

    def _may_run(self, attempt: Attempt, standing: OrgStatus | Unsaid) -> bool:
        match standing:
            case Unsaid(delay):
                self._refuse(attempt, _not_now(attempt, "directory", delay))
            case OrgStatus.UNKNOWN:
                error = f"the org directory does not know {attempt.job.org_id!r}"
                self._refuse(attempt, Settlement(attempt.ref, Action.REJECT, error=error, reason="org"))
            case OrgStatus.SUSPENDED:
                self._refuse(attempt, Settlement(attempt.ref, Action.HOLD, reason="org"))
            case OrgStatus.ACTIVE:
                return True
        return False

    async def _not_done_elsewhere(self, reservations: Reservations, attempts: Sequence[Attempt]) -> list[Attempt]:
        answers = await reservations.reserve(attempts)
        if answers is None:
            for attempt in attempts:
                self._refuse(attempt, _not_now(attempt, "store"))
            return []
        return [each for each, answer in zip(attempts, answers, strict=True) if self._owns(reservations, each, answer)]

    def _owns(self, reservations: Reservations, attempt: Attempt, answer: ReserveAnswer | None) -> bool:
        match answer:
            case None:
                return True
            case ReserveAnswer(outcome=Reserved.DONE, run=run):
                # The run may stand in another database; its result is what whoever waits for this job asks for.
                of, result = (run.job_id, run.result) if run is not None else (None, None)
                self._refuse(attempt, Settlement(attempt.ref, Action.DUPLICATE, of=of, result=result))
                return False
            case ReserveAnswer(outcome=Reserved.HELD):
                self._refuse(attempt, _not_now(attempt, RESERVED, self._busy_delay))
                return False
        reservations.own(attempt)
        return True


def _not_now(attempt: Attempt, reason: str, delay: float = BUSY_DELAY) -> Settlement:
    return Settlement(attempt.ref, Action.GIVE_BACK, reason=reason, delay=delay)
