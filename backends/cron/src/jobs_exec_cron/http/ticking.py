"""``POST /tick``: claims and runs what is due, for a time. The driver where no process may stay: a scheduler calls it.

One at a time: two in one process would share its slots and only wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from jobs_exec.inline import ExitReport, Inline
from jobs_exec_cron.http.entering import Door
from jobs_exec_cron.http.refusing import Refused
from jobs_exec_cron.http.statuses import tick_response

MIN_BUDGET = 0.1


class Ticks:
    """Answers ``POST /tick``; a caller may ask for less than `budget` seconds, never for more."""

    def __init__(self, door: Door, budget: float, inline: Callable[[], Inline]) -> None:
        self._door = door
        self._budget = budget
        self._inline = inline
        self._running: asyncio.Task[ExitReport] | None = None

    async def __call__(self, request: Request) -> Response:
        """Raises `Refused`, and the errors that `refusal_of` knows."""
        entered = await self._door.enter(request, "/tick")
        budget = self._budget_of(entered.value)
        if self._running is not None:
            raise Refused(409, "in_flight", "a tick is under way", retry_after=1)
        self._running = asyncio.create_task(self._inline().drain(budget), name="tick")
        self._running.add_done_callback(self._done)
        return tick_response(await asyncio.shield(self._running))

    def _done(self, task: asyncio.Task[ExitReport]) -> None:
        """Also when its caller has gone: the next may come once this one has really ended."""
        self._running = None
        if not task.cancelled():
            task.exception()

    def _budget_of(self, value: object) -> float:
        if not isinstance(value, Mapping):
            raise Refused(422, "invalid", "must be an object", field="body")
        unknown = sorted(str(name)[:64] for name in value if name != "budget")
        if unknown:
            raise Refused(422, "invalid", "is not known here; there is only budget", field=unknown[0])
        wanted = value.get("budget", self._budget)
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float)) or not wanted >= MIN_BUDGET:
            raise Refused(422, "invalid", f"must be seconds, at least {MIN_BUDGET}", field="budget")
        return float(min(wanted, self._budget))
