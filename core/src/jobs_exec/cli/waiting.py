"""Waiting for one job to end, by asking for it at growing intervals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from jobs_exec.job import RunStatus

if TYPE_CHECKING:
    from jobs_exec.contracts.operator import Operator
    from jobs_exec.job import JobView

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
_ENDED = frozenset(RunStatus)


async def final_view(operator: Operator, job_id: UUID, timeout: float | None) -> JobView | None:
    """The run that the job ended as, or None after `timeout` seconds; a duplicate is answered by the run that counts.

    Raises `JobNotFound`, also when the run was purged meanwhile.
    """
    try:
        async with asyncio.timeout(timeout):
            view = await _until_ended(operator, job_id)
            if view.status == RunStatus.DUPLICATE and view.of is not None:
                return await operator.job(view.of)
            return view
    except TimeoutError:
        return None


async def _until_ended(operator: Operator, job_id: UUID) -> JobView:
    pause = FIRST_PAUSE
    while (view := await operator.job(job_id)).status not in _ENDED:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return view
