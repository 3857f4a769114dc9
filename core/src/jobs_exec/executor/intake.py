"""From claimed to started: what the claimers of all queues share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from jobs_exec.contracts.backend import Ended
from jobs_exec.contracts.observer import JobEndedAtClaim
from jobs_exec.executor.accounts import Accounts
from jobs_exec.executor.attempt import Attempt, Lane, Route
from jobs_exec.executor.membership import Member, Membership
from jobs_exec.executor.running import Runner
from jobs_exec.executor.screening import Screening
from jobs_exec.executor.settling import Settler
from jobs_exec.job import Action, ClaimedJob, Settlement

log = logging.getLogger(__name__)

_NOT_OURS_DELAY = 60.0
"""Seconds for which a job is put off that a backend hands out although its type was not asked for."""


class Intake:
    """Admits claimed jobs and starts those that may run; `ending` says whether anything is started at all."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        membership: Membership,
        screening: Screening,
        runner: Runner,
        settler: Settler[Attempt],
        accounts: Accounts,
        ending: Callable[[], bool],
    ) -> None:
        self._routes = routes
        self._membership = membership
        self._screening = screening
        self._runner = runner
        self._settler = settler
        self._accounts = accounts
        self._ending = ending

    @property
    def ending(self) -> bool:
        """True when nothing is started any more."""
        return self._ending()

    @property
    def member(self) -> Member:
        """The identity to claim with."""
        return self._membership.current

    async def failed(self, member: Member) -> None:
        """A claim with `member` failed and its reply may be lost: it claims no more."""
        await self._membership.retire(member)

    async def room(self) -> None:
        """Returns when little enough is unwritten."""
        await self._settler.room()

    def admit(self, job: ClaimedJob, lane: Lane, member: Member) -> Attempt | None:
        """Takes a slot for `job`; None when it was sent back at once."""
        lane.take(job.org_id)
        self._accounts.tally.claimed += 1
        route = self._routes.get(job.type)
        attempt = Attempt(job, job.ref, route or next(iter(self._routes.values())), lane, member)
        member.open.add(attempt)
        if route is not None:
            return attempt
        log.error("the backend handed out a job of a type that was not asked for", extra={"type": job.type})
        self._runner.refuse(attempt, Settlement(attempt.ref, Action.GIVE_BACK, delay=_NOT_OURS_DELAY))
        return None

    async def begin(self, attempts: Sequence[Attempt]) -> None:
        """Screens and starts them; an executor that ends gives them back instead."""
        for attempt in await self._screening.passed(attempts):
            if self._ending() or not attempt.member.may_run:
                self._runner.refuse(attempt, Settlement(attempt.ref, Action.GIVE_BACK))
            else:
                self._runner.start(attempt)

    def put_off(self, attempt: Attempt, reason: str, delay: float) -> None:
        """Gives an admitted job back for `delay` seconds."""
        self._runner.refuse(attempt, Settlement(attempt.ref, Action.GIVE_BACK, reason=reason, delay=delay))

    def ended(self, ended: Sequence[Ended]) -> None:
        """These ended at the claim, as duplicates or expired."""
        for each in ended:
            self._accounts.ended_at_claim(JobEndedAtClaim(each.job_id, each.org_id, each.type, each.status))
