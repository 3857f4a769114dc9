"""``POST /trigger``: one verified call becomes one job, run here and now or only enqueued.

Org and type are read from the verified body and from nowhere else. What the caller does meanwhile changes nothing: a
job that was started goes on, and keeps its slot, also when the connection is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from jobs_exec.errors import InvalidJob
from jobs_exec.inline import Call, Inline, call_from_json
from jobs_exec.job import Receipt
from jobs_exec_cron.answering import answer_of
from jobs_exec_cron.calls import at_once
from jobs_exec_cron.http.admitting import Slots
from jobs_exec_cron.http.entering import Door
from jobs_exec_cron.http.noting import note
from jobs_exec_cron.http.refusing import not_triggered
from jobs_exec_cron.http.statuses import accepted_response, trigger_response
from jobs_exec_cron.verifying import Verified

CALL_KEY = "webhook-id:"
"""Keys that the endpoint makes of verified call ids begin so; a caller's own key may not, or it could stand for another
call's job."""

ANY = "*"


@dataclass(frozen=True, slots=True)
class TriggerRules:
    """Which `types` may be triggered (`ANY` for all), and whether jobs are only enqueued."""

    types: frozenset[str]
    only_enqueue: bool


class Triggers:
    """Answers ``POST /trigger``; `inline` raises `Refused` while there is no executor."""

    def __init__(self, door: Door, slots: Slots, rules: TriggerRules, inline: Callable[[], Inline]) -> None:
        self._door = door
        self._slots = slots
        self._rules = rules
        self._inline = inline
        self._running: set[asyncio.Task[Response]] = set()

    async def __call__(self, request: Request) -> Response:
        """Raises `Refused`, and the errors that `refusal_of` knows."""
        entered = await self._door.enter(request, "/trigger")
        call = self._call(entered.value)
        note(request, org_id=call.envelope.org_id, type=call.envelope.type)
        task = asyncio.create_task(self._carried_out(call, entered.verified), name="triggered")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def _call(self, value: object) -> Call:
        call = call_from_json(value)
        if ANY not in self._rules.types and call.envelope.type not in self._rules.types:
            raise not_triggered()
        if (call.envelope.key or "").startswith(CALL_KEY):
            raise InvalidJob("key", f"must not begin with {CALL_KEY!r}, which stands for calls without a key")
        if not self._rules.only_enqueue:
            at_once(call)
        return call

    async def _carried_out(self, call: Call, verified: Verified) -> Response:
        with self._slots.held(call.envelope.org_id):
            try:
                return await self._act(call)
            except InvalidJob as error:
                keyed = _keyed(call, verified, error)
                if keyed is None:
                    raise
            return await self._act(keyed)

    async def _act(self, call: Call) -> Response:
        inline = self._inline()
        if self._rules.only_enqueue:
            accepted = await inline.accept(call)
            if isinstance(accepted, Receipt):
                return accepted_response(accepted)
            return trigger_response(answer_of(accepted, call))
        return trigger_response(answer_of(await inline.trigger(call), call))


def _keyed(call: Call, verified: Verified, error: InvalidJob) -> Call | None:
    """The same call with its verified id as key, when it was refused for having neither tick nor key."""
    given = call.tick is not None or call.envelope.key is not None
    if error.field != "tick" or given or verified.call_id is None:
        return None
    return replace(call, envelope=replace(call.envelope, key=f"{CALL_KEY}{verified.call_id}"))
