"""Enqueueing from an application: one statement, in its own transaction or in yours.

`Client` is async. `SyncClient` works in a sync connection that the caller passes, with one execute: no hidden
loop, no hidden thread. Both prepare envelopes the same way and return `Receipt`s in input order.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from jobs_exec.book.schedules import Schedules
from jobs_exec.contracts.backend import Capability, QueueBackend
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.envelope import Envelope, seconds, unknown_field
from jobs_exec.errors import CapabilityMissing, ConfigurationError
from jobs_exec.job import NewJob, Receipt
from jobs_exec.masking import masked
from jobs_exec.preparing import prepare, require, unregistered

if TYPE_CHECKING:
    from jobs_exec.host import Host

_log = logging.getLogger(__name__)


class EnqueueOptions(TypedDict, total=False):
    """Options of one job."""

    data: Any
    """A JSON object (default ``{}``) or an instance of the type's payload model; checked here and before it runs."""
    key: str | None
    """The caller's name for this piece of work, 1 to 512 characters; selects the identity ``key`` for this job."""
    priority: int
    """0 (first) to 9, default 5; orders the jobs of one org and never reaches across orgs."""
    run_at: datetime | None
    """Not before this time, which has an offset; default now. Not together with `delay`."""
    delay: timedelta | float | None
    """Not before this long from now, a timedelta or seconds."""
    max_attempts: int | None
    """1 to 1000; default the type's own, else ``JOB_MAX_ATTEMPTS``."""
    expires_at: datetime | None
    """A job that was not started by then ends as ``expired``; a time with an offset."""
    trace: str | None
    """A W3C traceparent, handed on as ``ctx.trace``."""


def envelope(org_id: str, type: str, options: EnqueueOptions) -> Envelope:
    """The validated envelope of one call; raises `InvalidJob` naming the field."""
    given: dict[str, Any] = dict(options)
    for name in given.keys() - EnqueueOptions.__annotations__.keys():
        raise unknown_field(name)
    if given.get("delay") is not None:
        given["delay"] = seconds(given["delay"])
    if given.get("data") is None:
        given["data"] = {}
    return Envelope(org_id, type, **given)


KNOWN_FOR = 60.0
"""Seconds for which an announced type is believed: a deploy may move it to another queue or change its identity."""


class _Preparer:
    """Turns envelopes into jobs with the types of the process and, only where needed, those of the backend."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: Mapping[str, TypeRecord] = {}
        self._learned_at = -math.inf

    def jobs(self, envelopes: Sequence[Envelope], allow_unregistered: bool) -> list[NewJob]:
        """Raises `InvalidJob` for the first envelope that breaks a rule; nothing was written then."""
        host, backend = self._host, self._host.backend
        for each in envelopes:
            require(backend.name, backend.capabilities, each)
        return [
            prepare(each, host.job_types, self._known, host.policy, allow_unregistered=allow_unregistered)
            for each in envelopes
        ]

    def needs_lookup(self, envelopes: Sequence[Envelope]) -> bool:
        """True when a type is known neither here nor from a look-up of the last minute."""
        fresh = self._known if time.monotonic() < self._learned_at + KNOWN_FOR else {}
        return unregistered((each for each in envelopes if each.type not in fresh), self._host.job_types)

    def learn(self, known: Mapping[str, TypeRecord]) -> None:
        """Keeps what the backend has announced."""
        self._known, self._learned_at = known, time.monotonic()


class Client:
    """Enqueues jobs; made by `Client.open`, safe to share between tasks."""

    def __init__(self, host: Host) -> None:
        self.backend: QueueBackend = host.backend
        self._host = host
        self._preparer = _Preparer(host)
        self._touched: set[str] = set()

    @classmethod
    def open(cls, overrides: Mapping[str, str] | None = None, *, host: Host | None = None) -> Opening:
        """A connected client, closed at the end of the block: ``async with Client.open() as client``.

        `overrides` are settings by name (``{"JOB_QUEUE_BACKEND": "table"}``). Raises `ConfigurationError`,
        `BackendUnavailable` or `SchemaMismatch`, all of them when the block is entered.
        """
        return Opening(lambda: cls(host or _client_host(overrides)))

    @property
    def schedules(self) -> Schedules:
        """Adds, changes, pauses, fires and removes schedules of tenants."""
        return Schedules(self._host)

    async def enqueue(
        self,
        *,
        org_id: str,
        type: str,
        allow_unregistered: bool = False,
        connection: object | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Receipt:
        """Enqueues one job of `org_id`, in the caller's `connection` (a transaction of theirs) when one is passed.

        Raises `InvalidJob` naming the field, `EnqueueConflict` (run the transaction again), `BackendUnavailable`.
        """
        one = envelope(org_id, type, options)
        (receipt,) = await self.enqueue_many([one], allow_unregistered=allow_unregistered, connection=connection)
        return receipt

    async def enqueue_many(
        self,
        envelopes: Sequence[Envelope],
        *,
        allow_unregistered: bool = False,
        connection: object | None = None,
    ) -> list[Receipt]:
        """Enqueues all of `envelopes` or, when one is refused, none; receipts in input order."""
        _check_connection(self.backend, connection)
        if self._preparer.needs_lookup(envelopes):
            self._preparer.learn(await self.backend.known_types(connection))
        jobs = self._preparer.jobs(envelopes, allow_unregistered)
        receipts = await self.backend.enqueue(jobs, connection)
        if connection is not None:
            self._touched |= {job.queue for job in jobs}
        return receipts

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction that commits at the end of the block and then wakes executors.

        Pass it to `enqueue(connection=...)` beside your own statements.
        """
        async with self.backend.transaction() as connection:
            yield connection
        touched, self._touched = self._touched, set()
        if touched:
            await self.backend.wake(sorted(touched))

    async def wake(self, queue: str = "default") -> None:
        """Hints that `queue` has new jobs, after the commit of a transaction of your own."""
        await self.backend.wake([queue])


class Opening(AbstractAsyncContextManager[Client]):
    """What `Client.open` returns; the client is there inside ``async with``, and nowhere else."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None

    async def __aenter__(self) -> Client:
        client = self._make()
        await client.backend.open()
        self._client = client
        return client

    async def __aexit__(self, *_error: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.backend.close()

    def __await__(self) -> NoReturn:
        raise TypeError(_UNOPENED)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: {_UNOPENED}")


_UNOPENED = "a client is open inside a block only; write `async with Client.open() as client:`"


class SyncClient:
    """Enqueues in the caller's sync connection; needs the capability ``transactional_enqueue``."""

    def __init__(self, host: Host) -> None:
        self.backend: QueueBackend = host.backend
        self._preparer = _Preparer(host)

    @classmethod
    @contextmanager
    def open(cls, overrides: Mapping[str, str] | None = None, *, host: Host | None = None) -> Iterator[SyncClient]:
        """A client for sync code; it holds no connection of its own."""
        yield cls(host or _client_host(overrides))

    def enqueue(
        self,
        *,
        org_id: str,
        type: str,
        connection: object,
        allow_unregistered: bool = False,
        **options: Unpack[EnqueueOptions],
    ) -> Receipt:
        """`Client.enqueue` in the caller's sync `connection`."""
        one = envelope(org_id, type, options)
        (receipt,) = self.enqueue_many([one], connection=connection, allow_unregistered=allow_unregistered)
        return receipt

    def enqueue_many(
        self, envelopes: Sequence[Envelope], *, connection: object, allow_unregistered: bool = False
    ) -> list[Receipt]:
        """`Client.enqueue_many` in the caller's sync `connection`."""
        _check_connection(self.backend, connection, "use Client, without connection=")
        if self._preparer.needs_lookup(envelopes):
            self._preparer.learn(self.backend.known_types_sync(connection))
        return self.backend.enqueue_sync(self._preparer.jobs(envelopes, allow_unregistered), connection)


def _check_connection(
    backend: QueueBackend, connection: object | None, instead: str = "enqueue without connection="
) -> None:
    if connection is not None and Capability.TRANSACTIONAL_ENQUEUE not in backend.capabilities:
        raise CapabilityMissing(backend.name, Capability.TRANSACTIONAL_ENQUEUE, instead)


def _client_host(overrides: Mapping[str, str] | None) -> Host:
    from jobs_exec.host import Purpose, build_host

    for name in overrides or {}:
        if name != name.upper():
            raise ConfigurationError(name, f"settings are named as in the environment; {_near_setting(name)}")
    host = build_host(overrides or {}, for_=Purpose.CLIENT)
    for warning in host.warnings:
        _log.warning("%s", masked(warning))
    return host


def _near_setting(name: str) -> str:
    whole = name.upper() if name.upper().startswith("JOB_") else f"JOB_{name.upper()}"
    return f"did you mean {whole}?"
