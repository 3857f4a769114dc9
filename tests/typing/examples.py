"""Typed uses of the public surface, read by mypy alone and never run.

A line that must be refused carries a `type: ignore` with its error code: strict mode complains about the ones
that are not needed, so a signature that grows lax fails the check just as one that grows narrow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, assert_type
from uuid import UUID

from pydantic import BaseModel

from jobs_exec import (
    Audience,
    Backoff,
    Cancel,
    Client,
    Envelope,
    FiredTick,
    Identity,
    JobContext,
    JobType,
    Outcome,
    Receipt,
    ReceiptOutcome,
    Retry,
    Schedule,
    ScheduleRef,
    Schedules,
    ScheduleState,
    ScheduleView,
    Snooze,
    Success,
    SyncClient,
    job,
    job_type,
    next_ticks,
    register_job,
    register_schedule,
    schedule,
)
from jobs_exec.contracts import (
    JSON,
    CallNext,
    Capability,
    Event,
    IdempotencyStore,
    JobSettled,
    JobTable,
    Middleware,
    Observer,
    Operator,
    OrgDirectory,
    OrgStatus,
    PluginHost,
    QueueBackend,
    ScheduleBook,
    hookimpl,
    hookspec,
)
from jobs_exec.memory import MemoryBackend, MemoryStore
from jobs_exec.testing.harness import BackendHarness, MemoryHarness, StoreHarness
from jobs_exec_cron import TriggerAnswer, TriggerOutcome, trigger, trigger_sync
from jobs_exec_cron.backend import CronBackend
from jobs_exec_cron.settings import CronSettings

# --- handlers ------------------------------------------------------------------------------------------


class Order(BaseModel):
    number: int


@dataclass
class Mail:
    to: str


class Row(TypedDict):
    id: str


@job("order.ship", queue="shipping", max_attempts=3, timeout=30, backoff=Backoff(base=1, cap=60))
async def ship(ctx: JobContext, data: Order) -> Outcome:
    assert_type(ctx.job_id, UUID)
    assert_type(ctx.deadline, datetime)
    async with ctx.transaction() as connection:
        await connection.execute("insert into shipments (org, number) values (%s, %s)", (ctx.org_id, data.number))
    receipt = await ctx.enqueue(type="mail.send", data={"to": "x"}, delay=timedelta(minutes=5))
    assert_type(receipt, Receipt)
    if ctx.attempt == ctx.max_attempts:
        return Cancel("no carrier")
    return Retry(delay=5) if data.number < 0 else Snooze(60) if data.number == 0 else Success({"number": data.number})


@job("mail.send", identity="key")
def send(ctx: JobContext, data: Mail) -> None:
    with ctx.transaction() as connection:
        connection.execute("select 1")
    assert_type(ctx.enqueue_sync(type="row.keep"), Receipt)
    ctx.log.info("sent")


@job("row.keep", identity=Identity.NONE)
def keep(ctx: JobContext, data: Row) -> dict[str, str]:
    return {"id": data["id"]}


async def tick(ctx: JobContext) -> None:
    ctx.org = "another"  # type: ignore[attr-defined]
    ctx.org_id = "another"  # type: ignore[misc]


def the_decorator_leaves_the_function_as_it_is(ctx: JobContext) -> None:
    assert_type(keep(ctx, Row(id="1")), dict[str, str])
    keep(ctx, Order(number=1))  # type: ignore[arg-type]


assert_type(register_job("tick", tick, identity="none"), JobType)
register_job("tick", tick, retries=3)  # type: ignore[call-arg]
register_job("tick", tick, queue=3)  # type: ignore[arg-type]
register_job("tick", "not callable")  # type: ignore[arg-type]
Snooze("soon")  # type: ignore[arg-type]


# --- clients -------------------------------------------------------------------------------------------


async def enqueue(connection: object) -> None:
    async with Client.open({"JOB_QUEUE_BACKEND": "table"}) as client:
        receipt = await client.enqueue(org_id="acme", type="order.ship", data={"number": 1}, key="order-1", priority=0)
        assert_type(receipt.id, UUID)
        assert_type(receipt.outcome, ReceiptOutcome)
        assert_type(receipt.duplicate, bool)
        many = await client.enqueue_many([Envelope("acme", "order.ship", {"number": 2})], connection=connection)
        assert_type(many, list[Receipt])
        await client.enqueue(org_id="acme", type="mail.send", run_at=datetime.now(UTC), expires_at=None)
        await client.enqueue(org_id="acme", type="mail.send", delay=1.5)
        async with client.transaction() as own:
            await client.enqueue(org_id="acme", type="mail.send", connection=own)
        await client.wake("default")
        await client.enqueue(type="mail.send")  # type: ignore[call-arg]
        await client.enqueue(org_id=7, type="mail.send")  # type: ignore[arg-type]
        await client.enqueue(org_id="acme", type="mail.send", retries=3)  # type: ignore[call-arg]
        await client.enqueue("acme", "mail.send")  # type: ignore[call-arg]


def enqueue_sync(connection: object) -> None:
    with SyncClient.open() as client:
        assert_type(client.enqueue(org_id="acme", type="mail.send", connection=connection), Receipt)
        client.enqueue(org_id="acme", type="mail.send")  # type: ignore[call-arg]


# --- a plugin ------------------------------------------------------------------------------------------


@hookimpl
def job_types(host: PluginHost) -> Sequence[JobType]:
    assert_type(host.policy.lease, float)
    return [job_type("plugin.type", tick, identity="none")]


@hookimpl
def middleware(host: PluginHost) -> Sequence[Middleware]:
    async def timed(ctx: JobContext, call_next: CallNext) -> JSON | Outcome:
        return await call_next(ctx)

    async def without_next(ctx: JobContext) -> JSON:
        return None

    refused: Middleware = without_next  # type: ignore[assignment]
    return [timed, refused]


@hookimpl
def observers(host: PluginHost) -> Sequence[Observer]:
    def count(event: Event) -> None:
        match event:
            case JobSettled(org_id=org, seconds=seconds):
                assert_type(org, str)
                assert_type(seconds, float)
            case _:
                pass

    return [count]


class Directory:
    """An org directory of the application's own."""

    async def check(self, org_ids: AbstractSet[str]) -> Mapping[str, OrgStatus]:
        return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

    async def active(self) -> AsyncIterator[str]:
        yield "acme"


@hookimpl
def org_directory(host: PluginHost, backend: QueueBackend) -> OrgDirectory | None:
    return Directory() if Capability.CLAIM in backend.capabilities else None


@hookimpl
def schedules(host: PluginHost) -> Sequence[Schedule]:
    return [
        schedule("nightly", "mail.send", cron="0 3 * * *", zone="Europe/Berlin", orgs=Audience.ALL, overlap="skip"),
        schedule("poll", "mail.send", every=timedelta(minutes=5), orgs=["acme"], data={"to": "x"}, catch_up="all:3"),
    ]


def registered() -> None:
    made = register_schedule("hourly", "mail.send", cron="@hourly", orgs="acme", jitter=30, tick_as="at")
    assert_type(made.every, int | None)
    assert_type(made.orgs, tuple[str, ...] | Audience)
    register_schedule("bad", "mail.send", evry=60, orgs="acme")  # type: ignore[call-arg]
    register_schedule("bad", "mail.send", every="5m", orgs="acme")  # type: ignore[arg-type]
    made.name = "other"  # type: ignore[misc]


async def of_a_tenant(client: Client) -> None:
    schedules: Schedules = client.schedules
    made = schedule("weekly", "mail.send", cron="0 8 * * MON", zone="Asia/Tokyo", org_id="acme", data=Mail(to="x"))
    assert_type(next_ticks(made, datetime.now(UTC), 3), tuple[datetime, ...])
    view = await schedules.put(made)
    assert_type(view, ScheduleView)
    assert_type(view.state, ScheduleState)
    assert_type(view.schedule.ref, ScheduleRef)
    assert_type(await schedules.add(made, allow_unregistered=True), ScheduleView)
    assert_type(await schedules.list(org_id="acme", name="weekly"), list[ScheduleView])
    assert_type(await schedules.get(view.id, org_id="acme"), ScheduleView)
    await schedules.pause("weekly", org_id="acme")
    await schedules.resume(view.schedule.ref, from_now=True)
    assert_type(await schedules.fire("weekly", org_id="acme", late=timedelta(minutes=5)), FiredTick)
    await schedules.remove(ScheduleRef("weekly", org_id="acme"))
    await schedules.list()  # type: ignore[call-arg]
    await schedules.list(org_id=None)  # type: ignore[arg-type]
    await schedules.pause(7, org_id="acme")  # type: ignore[arg-type]
    await schedules.pause("weekly", "acme")  # type: ignore[call-arg]


async def read_book(book: ScheduleBook) -> None:
    due = await book.due(limit=10)
    assert_type(due.schedules, tuple[ScheduleView, ...])
    assert_type(due.next_tick, datetime | None)


async def triggering() -> None:
    answer = await trigger({"orgId": "acme", "type": "order.ship", "tick": "2026-11-25T13:00:00Z"})
    assert_type(answer, TriggerAnswer)
    assert_type(answer.outcome, TriggerOutcome)
    await trigger(Envelope("acme", "order.ship"), tick=datetime.now(UTC))
    trigger_sync(org_id="acme", type="order.ship", data=Order(number=1), key="k", overrides={"JOB_CRON_QUEUE": "table"})
    trigger_sync(org_id="acme", type="order.ship", delay=5)  # type: ignore[call-overload]
    trigger_sync({"type": "order.ship"}, org_id="acme")  # type: ignore[call-overload]
    trigger_sync(type="order.ship")  # type: ignore[call-overload]


@hookimpl
def queue_backend(host: PluginHost) -> QueueBackend:
    return CronBackend(host.settings(CronSettings), lambda: host.backend("table", "JOB_CRON_QUEUE"))


@hookimpl
def lifespan(host: PluginHost) -> AbstractAsyncContextManager[Any]:
    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        yield

    return resources()


class Specs:
    """Hooks that this plugin brings."""

    @hookspec(firstresult=True)
    def mail_sender(self, host: PluginHost, org_id: str) -> Callable[[str], None] | None: ...


# --- the protocols, held by what claims to implement them ----------------------------------------------


def protocols(harness: MemoryHarness, memory: MemoryBackend, cron: CronBackend, store: MemoryStore) -> None:
    backends: list[QueueBackend] = [memory, cron]
    stores: list[IdempotencyStore] = [store, memory.ledger]
    operator: Operator = memory.operator
    book: ScheduleBook = memory.schedules
    harnesses: list[BackendHarness] = [harness]
    store_harness: StoreHarness = harness
    assert_type(backends[0].capabilities, frozenset[Capability])
    wrong: QueueBackend = store  # type: ignore[assignment]
    print(stores, operator, book, harnesses, store_harness, wrong)


def tables(table: JobTable) -> None:
    assert_type(table["order.ship"], JobType)
    table["order.ship"] = table["mail.send"]  # type: ignore[index]
