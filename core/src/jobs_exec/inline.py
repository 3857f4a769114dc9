"""Running jobs that are handed over, for whoever drives the engine from outside: a scheduled function, an endpoint.

`Inline` is an executor without claims. It joins, keeps its lease, does the upkeep of every executor, and runs what
`trigger` brings, by the same rules: a job that it starts is fenced, recorded and tried again like any other. `drain`
claims from the queue for a while, beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from jobs_exec.contracts.backend import Capability, QueueBackend, StartOutcome
from jobs_exec.contracts.handler import JobTable
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.envelope import Envelope, envelope_from_json, time_of_tick
from jobs_exec.errors import CapabilityMissing, InvalidJob, UnknownJobType
from jobs_exec.executor import Executor
from jobs_exec.executor.handing import Ending
from jobs_exec.executor.resources import opened
from jobs_exec.executor.values import ExitReport, Mode, Progress
from jobs_exec.host import Host, build_host
from jobs_exec.identity import Identity
from jobs_exec.job import NewJob, Receipt
from jobs_exec.preparing import prepare

__all__ = ["Call", "Ending", "ExitReport", "Host", "Inline", "build_host", "call_from_json", "time_of_tick"]


_NOTHING: Mapping[str, TypeRecord] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Call:
    """One job as a caller brings it. `tick` is the time it is for: together with it a repetition is the same work."""

    envelope: Envelope
    tick: datetime | None = None


def call_from_json(value: object) -> Call:
    """Reads a decoded JSON envelope with ``tick`` beside its fields; raises `InvalidJob` naming the field."""
    if not isinstance(value, Mapping):
        return Call(envelope_from_json(value))
    fields: dict[Any, Any] = dict(value)
    tick = fields.pop("tick", None)
    return Call(envelope_from_json(fields), None if tick is None else time_of_tick(tick))


class Inline:
    """Jobs handed over, one executor for all of them; made by `Inline.open`, safe to share between tasks of one loop."""

    def __init__(self, host: Host, executor: Executor, working: asyncio.Task[ExitReport]) -> None:
        self._host = host
        self._executor = executor
        self._working = working
        self._drains: dict[Executor, asyncio.Task[ExitReport]] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        overrides: Mapping[str, str] | None = None,
        *,
        host: Host | None = None,
        slots: int = 100,
        name: str | None = None,
    ) -> AsyncIterator[Inline]:
        """Joined and working inside the block; at its end running jobs have ``JOB_SHUTDOWN_GRACE`` to end.

        `slots` is how many jobs of a queue are expected at once, the measure of an org's share and of connections.
        Raises `ConfigurationError`, `PluginError`, `BackendUnavailable`, `SchemaMismatch`, and `RuntimeError` for a host
        that is in use already.
        """
        host = _on_the_queue(host or build_host(overrides))
        with _alone(host.backend):
            async with _working(host, slots, name) as made:
                yield made

    @property
    def host(self) -> Host:
        """What it stands on; its backend is the queue's."""
        return self._host

    @property
    def job_types(self) -> JobTable:
        """The types it can run."""
        return self._host.job_types

    @property
    def progress(self) -> Progress:
        """The figures of what was handed over."""
        return self._executor.progress

    @property
    def ready(self) -> bool:
        """True while it holds its lease and is not ending."""
        return self._executor.accepts

    async def ended(self) -> ExitReport:
        """Returns when it works no more: by itself (`ExitReport.problem` says why), after `abort`, or after the block."""
        return await asyncio.shield(self._working)

    def abort(self) -> None:
        """Cancels what runs at once and gives it back; starts nothing more."""
        for each in (self._executor, *self._drains):
            each.abort()

    async def trigger(self, call: Call) -> Ending:
        """Runs one job here and now, or says why not; returns when its end is written.

        Raises `InvalidJob` naming the field, and `BackendUnavailable` when nothing can be started.
        """
        if call.envelope.type not in self.job_types:
            raise UnknownJobType(call.envelope.type, self.job_types, ": it runs here")
        return await self._executor.hand(self._prepared(call))

    async def accept(self, call: Call) -> Receipt | Ending:
        """Only enqueues it, by the identity under which `trigger` would run it.

        A call that is repeated is answered as `trigger` would when its work is dead or was cancelled.
        """
        backend = self._host.backend
        known = {} if call.envelope.type in self.job_types else await backend.known_types()
        job = self._prepared(call, known)
        past = await backend.past(job)
        if past is not None and past.outcome is not StartOutcome.SUCCEEDED:
            return Ending(past)
        (receipt,) = await backend.enqueue([job])
        return receipt

    async def drain(self, budget: float) -> ExitReport:
        """Claims and runs what is due for `budget` seconds at most, beside what is handed over.

        A caller that is cancelled changes nothing about it; it ends with the block at the latest.
        """
        executor = Executor(self._host, mode=Mode.DRAIN, budget=budget)
        self._drains[executor] = working = asyncio.create_task(executor.work(), name="inline drain")
        working.add_done_callback(lambda _: self._drains.pop(executor))
        return await asyncio.shield(working)

    async def _end(self) -> None:
        """Everything that works here ends, each within the grace, before what it stands on is closed."""
        tasks = [self._working, *self._drains.values()]
        for each in (self._executor, *self._drains):
            each.drain()
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            # The second signal. What runs would otherwise go on, on resources that are closed.
            self.abort()
            await asyncio.wait(tasks)
            raise
        await self._working

    def _prepared(self, call: Call, known: Mapping[str, TypeRecord] = _NOTHING) -> NewJob:
        job = prepare(call.envelope, self._host.job_types, known, self._host.policy, tick=call.tick)
        if job.identity is Identity.NONE:
            raise InvalidJob(
                "tick",
                f"is missing; every job of type {job.type!r} is work of its own, so a call that is repeated would run "
                "again: pass tick (the time it is for) or key",
            )
        return job


@asynccontextmanager
async def _working(host: Host, slots: int, name: str | None) -> AsyncIterator[Inline]:
    async with opened(host):
        executor = Executor(_with_slots(host, slots), mode=Mode.HANDED, name=name)
        working = asyncio.create_task(executor.work(), name="inline")
        made = Inline(host, executor, working)
        try:
            await _until_ready(executor, working)
            yield made
        finally:
            await made._end()


_in_use: set[int] = set()


@contextmanager
def _alone(backend: QueueBackend) -> Iterator[None]:
    """Whoever is done first would close the backend for the other, whose job would then run on without a lease."""
    if id(backend) in _in_use:
        raise RuntimeError(
            "this host is in use by another call; share one Inline (`Inline.open`) between them, or pass overrides, "
            "not a host"
        )
    _in_use.add(id(backend))
    try:
        yield
    finally:
        _in_use.discard(id(backend))


def _on_the_queue(host: Host) -> Host:
    """The host on the backend where triggered jobs run: a backend that is only pushed to stands on another's queue."""
    queue = host.backend.queue
    if Capability.START not in queue.capabilities:
        raise CapabilityMissing(queue.name, Capability.START, "trigger needs the table backend's queue")
    return host if queue is host.backend else replace(host, backend=queue)


def _with_slots(host: Host, slots: int) -> Host:
    """Every queue is served: what is handed over is not chosen by ``JOB_QUEUES``."""
    queues = sorted({made.queue for made in host.job_types.values()}) or ["default"]
    served = {"queues": ",".join(f"{queue}:{slots}" for queue in queues)}
    return replace(host, settings=host.settings.model_copy(update=served))


async def _until_ready(executor: Executor, working: asyncio.Task[ExitReport]) -> None:
    ready = asyncio.ensure_future(executor.ready.wait())
    try:
        await asyncio.wait([ready, working], return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    if working.done():
        working.result()
