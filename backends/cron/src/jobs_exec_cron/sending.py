"""`enqueue` on the cron backend: each job is one signed call, and its answer becomes a receipt.

Calls of one batch are independent of each other: what was accepted stays so when another is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import cast
from uuid import UUID

from jobs_exec.errors import BackendUnavailable, InvalidJob, JobsError
from jobs_exec.job import NewJob, Receipt, ReceiptOutcome
from jobs_exec_cron.answering import TriggerAnswer, TriggerOutcome
from jobs_exec_cron.calling import Caller
from jobs_exec_cron.errors import JobRefused
from jobs_exec_cron.replies import answer_in
from jobs_exec_cron.wire import body_of_job

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Calls of one batch that are under way together; an endpoint takes 20 by default, from everybody."""


async def send(caller: Caller, jobs: Sequence[NewJob]) -> list[Receipt]:
    """Receipts in the order of `jobs`.

    At the first error no further job is sent, and it is raised when those under way have been answered; of several jobs
    its text says how many were accepted. They are duplicates when the call is repeated, but for those of types without
    identity. Raises what `answer_in` raises, and `JobRefused`.
    """
    batch = _Batch(caller)
    async with asyncio.TaskGroup() as group:
        sent = [group.create_task(batch.send(job)) for job in jobs]
    receipts = [each.result() for each in sent]
    if batch.error is not None:
        raise _counted(batch.error, sum(each is not None for each in receipts), len(jobs))
    return cast(list[Receipt], receipts)


class _Batch:
    """Jobs of one `send` on their way."""

    def __init__(self, caller: Caller) -> None:
        self.error: JobsError | None = None
        self._caller = caller
        self._room = asyncio.Semaphore(AT_ONCE)

    async def send(self, job: NewJob) -> Receipt | None:
        """None when it was not accepted, or not sent after an error."""
        async with self._room:
            if self.error is not None:
                return None
            try:
                reply = await self._caller.call(str(job.id), body_of_job(job))
                return receipt_of(answer_in(reply, self._caller.place.origin), job)
            except JobsError as error:
                self.error = self.error or error
                return None


def receipt_of(answer: TriggerAnswer, job: NewJob) -> Receipt:
    """What became of `job`. Raises `InvalidJob`, `JobRefused`, and `BackendUnavailable` when nobody can say."""
    if answer.job_id is None:
        raise BackendUnavailable("cron", "the same work is being brought by somebody else; repeat the call")
    match answer.outcome:
        case TriggerOutcome.DUPLICATE:
            return _duplicate(answer, answer.of or answer.job_id, answer.of_state or "succeeded")
        case TriggerOutcome.IN_FLIGHT:
            return _duplicate(answer, answer.job_id, "running")
        case TriggerOutcome.DEAD:
            raise JobRefused(answer.job_id, "is dead; see `jobs-exec show`, and `jobs-exec retry` to run it again")
        case TriggerOutcome.REJECTED:
            raise InvalidJob("orgId", "is no org that the endpoint knows; the job was rejected")
        case TriggerOutcome.EXPIRED:
            raise InvalidJob("expires_at", "had passed when the job was to start; it has expired")
        case TriggerOutcome.FAILED | TriggerOutcome.HELD:
            log.warning(
                "job %s of type %s has %s at the endpoint; it stays there, for its next call, a tick or an executor",
                answer.job_id,
                job.type,
                "failed" if answer.outcome is TriggerOutcome.FAILED else "been held",
            )
    return Receipt(answer.job_id, ReceiptOutcome.CREATED, conflict=answer.conflict)


def _duplicate(answer: TriggerAnswer, of: UUID, state: str) -> Receipt:
    return Receipt(of, ReceiptOutcome.DUPLICATE, of, state, conflict=answer.conflict)


def _counted(error: JobsError, accepted: int, sent: int) -> JobsError:
    """`error`, which says how many of several jobs were accepted."""
    if sent == 1:
        return error
    error.args = (f"{error}; {accepted} of {sent} jobs were accepted", *error.args[1:])
    return error
