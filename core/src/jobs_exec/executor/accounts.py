"""What came of it all: figures, events and the counts of identities, kept where writes are answered."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jobs_exec.contracts.observer import JobEndedAtClaim, JobLost, JobSettled
from jobs_exec.executor import endings
from jobs_exec.executor.attempt import Attempt
from jobs_exec.executor.observing import Observing
from jobs_exec.executor.reserving import Reservations
from jobs_exec.executor.values import OnProgress, Tally
from jobs_exec.job import Action

log = logging.getLogger(__name__)


class Accounts:
    """Told of every answer to a settle, to a commit and to a claim."""

    def __init__(
        self,
        tally: Tally,
        observing: Observing,
        reservations: Reservations | None,
        told: OnProgress,
    ) -> None:
        self.tally = tally
        self._observing = observing
        self._reservations = reservations
        self._told = told

    async def settled(self, accepted: Sequence[Attempt], lost: Sequence[Attempt]) -> None:
        """The answer to one batch."""
        debug = log.isEnabledFor(logging.DEBUG)
        for attempt in accepted:
            self._written(attempt)
            if attempt.settlement.action is not Action.SUCCEED:
                endings.say(attempt)
            elif debug:
                log.debug("settled as succeeded", extra=attempt.fields())
        for attempt in lost:
            self._lost(attempt)
        if self._reservations is not None:
            await self._reservations.release([*accepted, *lost])
        self._told(self.tally.progress())

    async def committed(self, attempt: Attempt, kept: bool) -> None:
        """The answer to an attempt's own commit; False: it was lost, nothing was written."""
        if not kept:
            self._lost(attempt)
        else:
            self._written(attempt)
        if self._reservations is not None:
            await self._reservations.committed(attempt, kept)
        self._told(self.tally.progress())

    def ended_at_claim(self, event: JobEndedAtClaim) -> None:
        """A job ended without an attempt."""
        self.tally.settled[Action(event.status.value)] += 1
        if self._observing:
            self._observing.emit(event)

    def _written(self, attempt: Attempt) -> None:
        self.tally.settled[attempt.settlement.action] += 1
        attempt.member.settled(attempt)
        if attempt.settled is not None:
            attempt.settled.set()
        if self._observing:
            self._observing.emit(_event(attempt))

    def _lost(self, attempt: Attempt) -> None:
        self.tally.lost += 1
        attempt.lost = True
        attempt.member.settled(attempt)
        if attempt.settled is not None:
            attempt.settled.set()
        log.debug("the attempt was taken over by somebody else", extra=attempt.fields())
        if self._observing:
            self._observing.emit(JobLost(attempt.ref, attempt.job.org_id, attempt.job.type))


def _event(attempt: Attempt) -> JobSettled:
    job, settlement = attempt.job, attempt.settlement
    return JobSettled(
        ref=attempt.ref,
        org_id=job.org_id,
        type=job.type,
        queue=job.queue,
        attempt=job.attempt,
        action=settlement.action,
        reason=settlement.reason,
        error=settlement.error,
        seconds=attempt.seconds,
    )
