"""Who may run: jobs without an org, the org directory, an idempotency store of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import pytest
from executing import Backend, Probe, come_true

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import (
    Claim,
    ClaimRequest,
    OrgStatus,
    Policy,
    Record,
    Reservation,
    ReserveAnswer,
)
from jobs_exec.executor import Mode
from jobs_exec.executor.orgs import Orgs, Unsaid
from jobs_exec.job import AttemptRef
from jobs_exec.memory import MemoryStore, Tables


class Directory:
    """Answers what it is told to; an org it was told nothing of is unknown."""

    def __init__(self, **answers: OrgStatus) -> None:
        self.answers = answers
        self.broken = False
        self.asked: list[frozenset[str]] = []

    async def check(self, org_ids: AbstractSet[str]) -> Mapping[str, OrgStatus]:
        self.asked.append(frozenset(org_ids))
        if self.broken:
            raise ConnectionError("directory")
        return {org: self.answers.get(org, OrgStatus.UNKNOWN) for org in org_ids}

    async def active(self) -> AsyncIterator[str]:
        for org in self.answers:
            yield org


class Called:
    """A handler that notes whom it ran for."""

    def __init__(self) -> None:
        self.orgs: list[str] = []

    async def __call__(self, ctx: JobContext, data: dict[str, Any]) -> None:
        self.orgs.append(ctx.org_id)


async def test_an_org_the_directory_does_not_know_is_rejected_without_calling_the_handler() -> None:
    called = Called()
    probe = Probe(job_type("work", called), directory=Directory(acme=OrgStatus.ACTIVE))
    known, unknown = await probe.enqueue(org="acme"), await probe.enqueue(org="ghost")
    report = await probe.run(Mode.DRAIN)
    assert called.orgs == ["acme"]
    assert await probe.status(known) == ("succeeded", None)
    assert await probe.status(unknown) == ("rejected", "org")
    assert report.counts.rejected == 1


async def test_the_directory_is_asked_once_for_a_batch() -> None:
    directory = Directory(acme=OrgStatus.ACTIVE, bravo=OrgStatus.ACTIVE)
    probe = Probe(job_type("work", Called()), directory=directory)
    for org in ("acme", "bravo"):
        await probe.enqueue_each(3, org=org)
    await probe.run(Mode.DRAIN)
    assert directory.asked == [frozenset({"acme", "bravo"})]


async def test_jobs_of_a_suspended_org_are_held_with_their_attempt_and_run_when_it_is_active_again() -> None:
    called = Called()
    directory = Directory(acme=OrgStatus.SUSPENDED, bravo=OrgStatus.ACTIVE)
    probe = Probe(job_type("work", called), directory=directory)
    held, other = await probe.enqueue(org="acme"), await probe.enqueue(org="bravo")
    async with probe.at_work():
        await probe.until(lambda figures: figures.held == 1 and figures.succeeded == 1)
        stored = await probe.stored(held)
        assert (stored.status, stored.reason, stored.attempts) == ("held", "org", 0)
        directory.answers["acme"] = OrgStatus.ACTIVE
        await probe.until(lambda figures: figures.succeeded == 2)
    assert called.orgs == ["bravo", "acme"]
    assert await probe.status(other) == ("succeeded", None)


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.DRAIN])
async def test_executors_that_run_but_for_a_moment_let_go_what_a_suspension_held(mode: Mode) -> None:
    called, directory = Called(), Directory(acme=OrgStatus.SUSPENDED)
    probe = Probe(job_type("work", called), directory=directory)
    held = await probe.enqueue(org="acme")
    for _ in range(2):
        await probe.run(mode)
        assert await probe.status(held) == ("held", "org")
    directory.answers["acme"] = OrgStatus.ACTIVE
    await probe.run(mode)
    assert called.orgs == ["acme"]


async def test_held_jobs_of_an_org_that_is_gone_are_rejected() -> None:
    called, directory = Called(), Directory(acme=OrgStatus.SUSPENDED)
    probe = Probe(job_type("work", called), directory=directory)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.held == 1)
        del directory.answers["acme"]
        await probe.until(lambda figures: figures.rejected == 1)
    assert called.orgs == []
    assert await probe.status(job_id) == ("rejected", "org")


async def test_other_ready_jobs_of_a_suspended_org_are_held_without_being_claimed() -> None:
    probe = Probe(job_type("work", Called()), directory=Directory(acme=OrgStatus.SUSPENDED), claim_size=1)
    jobs = await probe.enqueue_each(500)
    async with probe.at_work():
        await come_true(lambda: all(probe.harness.tables.queue[job].state.value == "held" for job in jobs))
    assert probe.progress.claimed < 250


async def test_a_directory_that_fails_gives_jobs_back_later_with_their_attempt() -> None:
    called = Called()
    directory = Directory(acme=OrgStatus.ACTIVE)
    directory.broken = True
    probe = Probe(job_type("work", called), directory=directory)
    job_id = await probe.enqueue()
    async with probe.at_work():
        await probe.until(lambda figures: figures.returned == 1)
        stored = await probe.stored(job_id)
        assert (stored.status, stored.attempts) == ("scheduled", 0)
        directory.broken = False
        await probe.harness.advance(1)
        await probe.until(lambda figures: figures.succeeded == 1)
    assert called.orgs == ["acme"]


async def test_the_delay_of_a_directory_that_cannot_say_doubles_for_each_org_up_to_a_minute() -> None:
    directory = Directory(acme=OrgStatus.ACTIVE)
    directory.broken = True
    orgs = Orgs(directory, 1.0)
    delays = [(await orgs.standings({"acme"}))["acme"] for _ in range(8)]
    assert delays == [Unsaid(seconds) for seconds in (1, 2, 4, 8, 16, 32, 60, 60)]
    directory.broken = False
    assert (await orgs.standings({"acme"}))["acme"] is OrgStatus.ACTIVE
    directory.broken = True
    assert await orgs.standings({"acme", "bravo"}) == {"acme": Unsaid(1), "bravo": Unsaid(1)}


@pytest.mark.parametrize("org", ["", "  "])
async def test_a_job_without_an_org_never_runs_even_if_a_backend_hands_one_out(org: str) -> None:
    class Careless(Backend):
        async def claim(self, request: ClaimRequest) -> Claim:
            claim = await super().claim(request)
            return replace(claim, jobs=tuple(replace(job, org_id=org) for job in claim.jobs))

    called = Called()
    probe = Probe(job_type("work", called), backend=Careless)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert called.orgs == []
    assert await probe.status(job_id) == ("rejected", "org")


async def test_a_job_of_a_type_that_was_not_asked_for_is_sent_back() -> None:
    class Careless(Backend):
        async def claim(self, request: ClaimRequest) -> Claim:
            return await super().claim(replace(request, types=frozenset({"work", "strange"})))

    probe = Probe(job_type("work", Called()), backend=Careless)
    strange = await probe.enqueue("strange")
    report = await probe.run(Mode.ONCE)
    stored = await probe.stored(strange)
    assert report.counts.returned + (stored.status == "held") == 1
    assert stored.attempts == 0


# --- a store that is not the backend's ledger --------------------------------------------------------------


class Store(MemoryStore):
    """A store with tables of its own that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(Tables())
        self.calls: list[str] = []
        self.broken = False

    async def reserve(self, batch: Sequence[Reservation], lease: float) -> list[ReserveAnswer]:
        self.calls.append("reserve")
        if self.broken:
            raise ConnectionError("store")
        return await super().reserve(batch, lease)

    async def renew(self, owners: Sequence[AttemptRef], lease: float) -> frozenset[AttemptRef]:
        self.calls.append("renew")
        return await super().renew(owners, lease)

    async def record(self, batch: Sequence[Record]) -> frozenset[AttemptRef]:
        self.calls.append("record")
        return await super().record(batch)


class Forgetful(Backend):
    """A backend that keeps no keys of its own: only the store knows what has succeeded."""

    async def claim(self, request: ClaimRequest) -> Claim:
        self.tables.keys.clear()
        return await super().claim(request)


async def test_work_the_store_knows_as_done_ends_as_a_duplicate() -> None:
    called, store = Called(), Store()
    probe = Probe(job_type("work", called), store=store, backend=Forgetful)
    first = await probe.enqueue(data={"same": 1})
    await probe.run(Mode.DRAIN)
    probe.backend.tables.keys.clear()
    again = await probe.enqueue(data={"same": 1})
    report = await probe.run(Mode.DRAIN)
    stored = await probe.stored(again)
    assert called.orgs == ["acme"]
    assert (stored.status, stored.of, report.counts.duplicates) == ("duplicate", first, 1)


async def test_a_success_is_recorded_before_it_is_settled_and_its_reservation_is_gone() -> None:
    store = Store()
    probe = Probe(job_type("work", Called()), store=store)
    await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert store.calls[:2] == ["reserve", "record"]
    assert len(store.tables.keys) == 1
    assert store.tables.reservations == {}


async def test_a_failure_gives_its_reservation_up() -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        raise ValueError("boom")

    store = Store()
    probe = Probe(job_type("work", handler, max_attempts=1), store=store)
    await probe.enqueue()
    await probe.run(Mode.DRAIN)
    assert store.tables.reservations == {}
    assert store.tables.keys == {}


async def test_work_that_another_attempt_holds_is_tried_later() -> None:
    called, store = Called(), Store()
    probe = Probe(job_type("work", called), store=store)
    job_id = await probe.enqueue()
    run_hash = probe.harness.tables.queue[job_id].job.run_hash
    other = AttemptRef(job_id, 999)
    await store.reserve([Reservation(other, "acme", run_hash)], 60)
    report = await probe.run(Mode.DRAIN)
    stored = await probe.stored(job_id)
    assert (called.orgs, report.counts.returned) == ([], 1)
    assert (stored.status, stored.attempts) == ("scheduled", 0)


async def test_a_success_whose_reservation_was_taken_over_is_not_settled_as_one() -> None:
    store = Store()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        (work,) = store.tables.reservations
        held = store.tables.reservations[work]
        store.tables.reservations[work] = replace(held, owner=AttemptRef(ctx.job_id, 999))

    probe = Probe(job_type("work", handler), store=store)
    await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert (report.counts.succeeded, report.counts.returned >= 1) == (0, True)


async def test_a_store_that_fails_gives_jobs_back_later() -> None:
    called, store = Called(), Store()
    store.broken = True
    probe = Probe(job_type("work", called), store=store)
    job_id = await probe.enqueue()
    await probe.run(Mode.DRAIN)
    stored = await probe.stored(job_id)
    assert (called.orgs, stored.status, stored.attempts) == ([], "scheduled", 0)


async def test_a_job_without_identity_asks_nothing_of_the_store() -> None:
    store = Store()
    probe = Probe(job_type("work", Called(), identity="none"), store=store)
    await probe.enqueue()
    report = await probe.run(Mode.DRAIN)
    assert report.counts.succeeded == 1
    assert store.tables.keys == {}


async def test_the_reservation_of_a_long_job_is_renewed() -> None:
    let_go = asyncio.Event()

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        await let_go.wait()

    store = Store()
    probe = Probe(job_type("work", handler), store=store, policy=Policy(poll_interval=0.01, lease=0.1))
    await probe.enqueue()
    async with probe.at_work():
        await come_true(lambda: store.calls.count("renew") >= 3)
        let_go.set()
        await probe.until(lambda figures: figures.succeeded == 1)
