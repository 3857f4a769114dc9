"""`trigger`: one job, run here and now, for code that something outside wakes up.

The caller becomes an executor for as long as the job takes: it joins the queue's executors, starts the job under the
lock of its identity, runs it by the engine's rules, writes its end and leaves. Whoever else brings the same work in the
meantime, from wherever, is told that it is in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack, overload

from jobs_exec import Envelope
from jobs_exec.inline import Call, Host, Inline
from jobs_exec_cron.answering import TriggerAnswer, answer_of
from jobs_exec_cron.calls import CallOptions, call_of


@overload
async def trigger(
    envelope: Envelope | Mapping[str, Any],
    /,
    *,
    tick: datetime | str | None = None,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
) -> TriggerAnswer: ...
@overload
async def trigger(
    *,
    org_id: str,
    type: str,
    tick: datetime | str | None = None,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
    **options: Unpack[CallOptions],
) -> TriggerAnswer: ...
async def trigger(
    envelope: Envelope | Mapping[str, Any] | None = None,
    /,
    *,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
    **fields: Any,
) -> TriggerAnswer:
    """Runs one job of one org, unless the same work was done before or is being done, and says what came of it.

    The job is an envelope (a JSON object as over HTTP, or an `Envelope`), or is given by name. `tick` is the time the call
    is for, with an offset or as ``@`` and Unix seconds: together with it a repeated call is the same work, and the next
    tick is another. A failure is an answer, not an error. `overrides` are settings by name, `host` is one that was
    built and that no other call is using.

    Raises `InvalidJob` naming the field; `ConfigurationError`, `PluginError`, `SchemaMismatch`; `BackendUnavailable`
    when nothing was started; `RuntimeError` for a host that is in use.
    """
    return await _triggered(call_of(envelope, fields), overrides, host)


@overload
def trigger_sync(
    envelope: Envelope | Mapping[str, Any],
    /,
    *,
    tick: datetime | str | None = None,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
) -> TriggerAnswer: ...
@overload
def trigger_sync(
    *,
    org_id: str,
    type: str,
    tick: datetime | str | None = None,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
    **options: Unpack[CallOptions],
) -> TriggerAnswer: ...
def trigger_sync(
    envelope: Envelope | Mapping[str, Any] | None = None,
    /,
    *,
    overrides: Mapping[str, str] | None = None,
    host: Host | None = None,
    **fields: Any,
) -> TriggerAnswer:
    """`trigger` for scheduled functions without an event loop: it runs one of its own until the job has ended.

    Raises `RuntimeError` inside a running loop, and what `trigger` raises.
    """
    call = call_of(envelope, fields)
    _refuse_in_loop()
    return asyncio.run(_triggered(call, overrides, host))


async def _triggered(call: Call, overrides: Mapping[str, str] | None, host: Host | None) -> TriggerAnswer:
    async with Inline.open(overrides, host=host, slots=1, name="trigger") as inline:
        return answer_of(await inline.trigger(call), call)


def _refuse_in_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("trigger_sync was called inside a running event loop; write `await trigger(...)` there")
