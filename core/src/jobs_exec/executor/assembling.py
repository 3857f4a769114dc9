"""The roles of one executor, made and tied together once, before any of them starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from jobs_exec.client import Client, SyncClient
from jobs_exec.contracts.backend import Capability, ExecutorRecord
from jobs_exec.contracts.operator import TypeRecord
from jobs_exec.executor.accounts import Accounts
from jobs_exec.executor.attempt import Attempt, Lane, Stop
from jobs_exec.executor.claiming import Claimer, ClaimRules
from jobs_exec.executor.context import Services
from jobs_exec.executor.deadlines import Deadlines
from jobs_exec.executor.draining import Draining
from jobs_exec.executor.firing import FiringRules, Scheduler
from jobs_exec.executor.gate import Gate
from jobs_exec.executor.handing import Hand
from jobs_exec.executor.heartbeat import LeaseRules
from jobs_exec.executor.intake import Intake
from jobs_exec.executor.membership import Listener, Member, Membership
from jobs_exec.executor.observing import Observing
from jobs_exec.executor.orgs import Orgs
from jobs_exec.executor.overdue import Overdue
from jobs_exec.executor.planning import lanes_of, routes_of
from jobs_exec.executor.reserving import Reservations
from jobs_exec.executor.running import Ends, Runner
from jobs_exec.executor.screening import BUSY_DELAY, Screening
from jobs_exec.executor.settling import Settler, SettleRules
from jobs_exec.executor.threads import Threads
from jobs_exec.executor.upkeep import Upkeep, UpkeepRules
from jobs_exec.executor.values import Mode, Progress, Tally
from jobs_exec.executor.waking import Waker
from jobs_exec.host import Host

log = logging.getLogger(__name__)

_EXPLAIN_LATE = 60.0
_BACKLOG = 4
"""Settle batches that may wait or be under way before claims stop."""


class Owner(Protocol):
    """What the roles ask of the executor, and tell it."""

    @property
    def ending(self) -> bool:
        """True when nothing is started any more."""

    def told(self, progress: Progress) -> None:
        """Something was written."""

    def member_lost(self, member: Member) -> None:
        """An identity was reaped."""

    def thread_stuck(self, attempt: Attempt, threads: Threads) -> None:
        """A thread runs the handler of an attempt that was given up."""


@dataclass(frozen=True, slots=True)
class Roles:
    """All roles. `patience` is how many seconds a cancelled handler has to end."""

    lanes: tuple[Lane, ...]
    claimers: tuple[Claimer, ...]
    hand: Hand
    membership: Membership
    runner: Runner
    settler: Settler[Attempt]
    upkeep: Upkeep
    scheduler: Scheduler | None
    waker: Waker | None
    reservations: Reservations | None
    draining: Draining
    threads: Threads
    closers: Threads
    overdue: Overdue
    patience: float

    def background(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """The roles that run until they are cancelled."""
        yield "deadlines", Deadlines(self.runner, self.patience).run()
        yield "upkeep", self.upkeep.run()
        if self.scheduler is not None:
            yield "schedules", self.scheduler.run()
        if self.waker is not None:
            yield "wake", self.waker.run()
        if self.reservations is not None:
            yield "reservations", self.reservations.run()

    def close(self) -> None:
        """Lets go of handlers and threads that are left."""
        self.hand.close()
        self.runner.close()
        self.overdue.close()
        self.threads.close()
        self.closers.close()


def assemble(host: Host, name: str, mode: Mode, tally: Tally, observing: Observing, owner: Owner) -> Roles:
    """All roles of one executor; to be called on its loop.

    One whose jobs are handed to it neither claims nor listens nor fires schedules: each of fifty callers of one job
    would hold a connection for hints that it has no use for, and wait for what is none of its tenant's.
    """
    policy, settings = host.policy, host.settings
    threads = Threads(settings.threads)
    routes = routes_of(host, threads)
    lanes = lanes_of(host, routes)
    # Commits and rollbacks of sync handlers: a thread for every slot, made when it is needed. With fewer, a tenant whose
    # rows somebody keeps locked could keep all of them waiting, and every other tenant's commit behind them.
    closers = Threads(max(1, sum(lane.slots for lane in lanes)), name="close")
    orgs = Orgs(host.directory, max(1.0, policy.lease / 3))
    reservations = None if host.ledger_is_store else Reservations(host.store, policy.lease)
    accounts = Accounts(tally, observing, reservations, owner.told)
    settler = Settler[Attempt](
        host.backend,
        _settle_rules(host),
        on_settled=accounts.settled,
        prepare=None if reservations is None else reservations.record,
    )
    overdue = _overdue(threads, tally, owner)
    runner = _runner(host, lanes, closers, settler, accounts, observing)
    membership = _membership(host, name, lanes, runner, settler, owner)
    upkeep = Upkeep(
        host.backend,
        None if host.ledger_is_store else host.store,
        lanes,
        orgs,
        _upkeep_rules(host, mode),
    )
    # Who is handed jobs asks for one when somebody calls; put off, the next caller would hear of a failure.
    busy = 0.0 if mode is Mode.HANDED else BUSY_DELAY
    screening = Screening(orgs, reservations, runner.refuse, busy)
    intake = Intake(routes, membership, screening, runner, settler, accounts, lambda: owner.ending)
    claimed = () if mode is Mode.HANDED else lanes
    gate, rules = Gate(), ClaimRules(settings.claim_size, policy.poll_interval)
    return Roles(
        lanes=lanes,
        claimers=tuple(Claimer(host.backend, lane, intake, gate, rules) for lane in claimed),
        hand=Hand(host.backend, {lane.queue: lane for lane in lanes}, intake, upkeep.released),
        membership=membership,
        runner=runner,
        settler=settler,
        upkeep=upkeep,
        scheduler=None if mode is Mode.HANDED else _scheduler(host, lanes, orgs),
        waker=Waker(host.backend, claimed) if claimed and Capability.WAKE_UP in host.backend.capabilities else None,
        reservations=reservations,
        draining=Draining(lanes, upkeep, lambda: _written(runner, settler), lambda: tally.claimed),
        threads=threads,
        closers=closers,
        overdue=overdue,
        patience=min(2.0, policy.lease / 10),
    )


def _scheduler(host: Host, lanes: tuple[Lane, ...], orgs: Orgs) -> Scheduler | None:
    if Capability.SCHEDULES not in host.backend.capabilities:
        if host.schedules:
            log.warning(
                "the %r backend keeps no schedules; the %d of code do not fire", host.backend.name, len(host.schedules)
            )
        return None
    rules = FiringRules(
        host.settings.schedule_grace,
        min(1.0, 2 * host.policy.poll_interval),
        host.policy.max_payload_bytes,
        host.job_types.keys(),
    )
    return Scheduler(host.backend, host.schedules, orgs, rules, lambda: _hint(lanes))


def _upkeep_rules(host: Host, mode: Mode) -> UpkeepRules:
    policy = host.policy
    return UpkeepRules(
        policy.poll_interval,
        policy.lease / 3,
        policy.max_crashes,
        tuple(host.settings.queue_slots),
        explain_after=_EXPLAIN_LATE if mode is Mode.HANDED else 0.0,
    )


def _settle_rules(host: Host) -> SettleRules:
    size = host.settings.settle_size
    return SettleRules(size=size, delay=host.settings.settle_delay_ms / 1000, backlog=_BACKLOG * size)


def _overdue(threads: Threads, tally: Tally, owner: Owner) -> Overdue:
    def tell(attempt: Attempt) -> None:
        tally.stuck += 1
        owner.thread_stuck(attempt, threads)

    overdue = Overdue(tell, asyncio.get_running_loop())
    threads.on_abandoned = overdue.abandoned
    return overdue


def _runner(
    host: Host,
    lanes: tuple[Lane, ...],
    closers: Threads,
    settler: Settler[Attempt],
    accounts: Accounts,
    observing: Observing,
) -> Runner:
    def stuck() -> None:
        accounts.tally.stuck += 1

    services = Services(
        backend=host.backend,
        client=Client(host),
        sync_client=SyncClient(host),
        closers=closers,
        loop=asyncio.get_running_loop(),
        enqueued=lambda: _hint(lanes),
    )
    runner = Runner(services, observing, Ends(settler.put, accounts.committed, stuck))
    accounts.tally.running_now = lambda: len(runner.running)
    return runner


def _membership(
    host: Host, name: str, lanes: tuple[Lane, ...], runner: Runner, settler: Settler[Attempt], owner: Owner
) -> Membership:
    types = tuple(
        TypeRecord(made.name, made.queue, made.identity, made.max_attempts)
        for made in host.job_types.values()
        if made.queue in host.settings.queue_slots
    )
    queues = tuple(host.settings.queue_slots)
    schedules = tuple(made.ref for made in host.schedules)

    def record(identity: UUID) -> ExecutorRecord:
        return ExecutorRecord(identity, name, host.policy.lease, queues, types, schedules)

    def lost(member: Member) -> None:
        runner.stop_all(Stop.LOST, member)
        owner.member_lost(member)

    listener = Listener(
        at_risk=lambda member: runner.stop_all(Stop.LEASE, member),
        lost=lost,
        joined=lambda: _hint(lanes),
        flushed=settler.flushed,
    )
    return Membership(host.backend, record, LeaseRules(host.policy.lease), listener)


def _hint(lanes: tuple[Lane, ...]) -> None:
    for lane in lanes:
        lane.hint.set()


async def _written(runner: Runner, settler: Settler[Attempt]) -> None:
    """Nothing runs and nothing is unwritten, both at once: while the last job is written the next may be claimed."""
    while not runner.idle.is_set() or settler.unsettled:
        await runner.idle.wait()
        await settler.flushed()
