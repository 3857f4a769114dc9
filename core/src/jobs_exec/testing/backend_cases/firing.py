"""Firing: a tick is fired once for each org, whoever asks, however often, and whatever became of its job."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from jobs_exec.contracts import (
    Capability,
    Fired,
    FireOutcome,
    Firing,
    JobFilter,
    jitter_of,
    tick_key,
    tick_text,
)
from jobs_exec.identity import Identity, run_hash
from jobs_exec.job import Action, ClaimedJob, Settlement
from jobs_exec.testing.backend_cases.schedules import MINUTE, OWNER, BookCases, Shelf, defined
from jobs_exec.testing.driving import Driver, new_job, succeed


def dead(job: ClaimedJob) -> Settlement:
    """The end of a job that has failed for good."""
    return Settlement(job.ref, Action.DEAD, error="no", reason="failed")


class FiringCases(BookCases):
    """See the module."""

    async def test_a_tick_makes_one_job_for_each_org_and_moves_the_schedule_on(
        self, shelf: Shelf, driver: Driver
    ) -> None:
        view = await shelf.add(data={"n": 1}, priority=3, max_attempts=7)
        fired = await shelf.fire(view, shelf.tick, orgs=("acme", "emca"))
        assert fired == Fired(FireOutcome.FIRED, created=2)
        jobs = (await driver.claim()).jobs
        assert sorted(job.org_id for job in jobs) == ["acme", "emca"]
        for job in jobs:
            assert (job.type, job.queue, job.payload, job.priority) == ("work", "default", '{"n":1}', 3)
            assert (job.attempt, job.max_attempts, job.identity) == (1, 7, Identity.KEY)
            key = tick_key(view.id, shelf.tick).encode()
            assert job.run_hash == run_hash(job.org_id, "work", Identity.KEY, key)
        after = await shelf.view()
        assert (after.next_tick, after.last_tick) == (shelf.tick + MINUTE, shelf.tick)
        assert (after.fired, after.missed) == (1, 0)

    async def test_the_tick_stands_in_the_payload_and_nothing_else_of_it_changes(
        self, shelf: Shelf, driver: Driver
    ) -> None:
        view = await shelf.add(data={"price": 1.0, "big": 2**53, "text": 'ü"}'}, tick_as='at "noon"')
        await shelf.fire(view, shelf.tick)
        payload = (await driver.claim_one()).payload
        assert payload == (
            f'{{"price":1.0,"big":9007199254740992,"text":"ü\\"}}","at \\"noon\\"":"{tick_text(shelf.tick)}"}}'
        )

    async def test_the_tick_alone_can_be_the_payload(self, shelf: Shelf, driver: Driver) -> None:
        await shelf.fire(await shelf.add(tick_as="at"), shelf.tick)
        assert (await driver.claim_one()).payload == f'{{"at":"{tick_text(shelf.tick)}"}}'

    async def test_a_tick_is_fired_once_however_often_it_is_asked_for(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        outcomes = [(await shelf.fire(view, shelf.tick)).outcome for _ in range(3)]
        assert outcomes == [FireOutcome.FIRED, FireOutcome.MOVED, FireOutcome.MOVED]
        assert len((await driver.claim()).jobs) == 1
        assert (await shelf.view()).fired == 1

    async def test_of_many_at_once_exactly_one_fires(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        answers = await asyncio.gather(*[shelf.fire(view, shelf.tick) for _ in range(8)])
        assert [answer.created for answer in answers if answer.outcome is FireOutcome.FIRED] == [1]
        assert len((await driver.claim()).jobs) == 1

    async def test_whoever_saw_another_timing_does_not_fire(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.sync(defined(owner=OWNER))
        await Driver(shelf.harness, schedules=(view.schedule.ref,)).join()
        await shelf.sync(defined(owner=OWNER, every=90), shelf.tick + MINUTE)
        assert (await shelf.fire(view, shelf.tick)).outcome is FireOutcome.MOVED
        assert (await driver.claim()).jobs == ()
        assert (await shelf.view()).next_tick == shelf.tick + MINUTE

    async def test_several_ticks_fire_together_and_missed_ones_are_counted(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        ticks = (shelf.tick - 2 * MINUTE, shelf.tick - MINUTE, shelf.tick)
        firing = Firing(view.id, ticks, ("acme", "emca"), view.next_tick, shelf.tick + MINUTE, missed=5)
        assert await shelf.book.fire(firing) == Fired(FireOutcome.FIRED, created=6)
        after = await shelf.view()
        assert (after.fired, after.missed, after.last_tick) == (3, 5, shelf.tick)
        assert len({job.run_hash for job in (await driver.claim()).jobs}) == 6

    async def test_nothing_to_fire_moves_a_schedule_on_all_the_same(self, shelf: Shelf) -> None:
        view = await shelf.add(orgs="*")
        assert await shelf.fire(view, shelf.tick, orgs=()) == Fired(FireOutcome.FIRED)
        view = await shelf.view()
        await shelf.book.fire(Firing(view.id, (), ("acme",), view.next_tick, shelf.tick + 9 * MINUTE, missed=2))
        after = await shelf.view()
        assert (after.last_tick, after.next_tick, after.missed) == (shelf.tick, shelf.tick + 9 * MINUTE, 2)

    async def test_out_of_turn_a_tick_fires_and_the_schedule_stays_where_it_is(
        self, shelf: Shelf, driver: Driver
    ) -> None:
        view = await shelf.add(next_tick=shelf.tick + 30 * MINUTE)
        assert (await shelf.fire_out_of_turn(view, shelf.tick)).outcome is FireOutcome.FIRED
        after = await shelf.view()
        assert (after.next_tick, after.last_tick) == (shelf.tick + 30 * MINUTE, shelf.tick)
        assert len((await driver.claim()).jobs) == 1

    async def test_out_of_turn_an_old_tick_is_refused_even_if_its_job_is_dead(
        self, shelf: Shelf, driver: Driver
    ) -> None:
        view = await shelf.add()
        await shelf.fire(view, shelf.tick)
        await driver.settle(dead(await driver.claim_one()))
        for tick in (shelf.tick, shelf.tick - MINUTE):
            assert (await shelf.fire_out_of_turn(view, tick)).outcome is FireOutcome.MOVED
        assert (await driver.claim()).jobs == ()

    async def test_in_turn_a_tick_that_was_fired_out_of_turn_makes_no_job_again(
        self, shelf: Shelf, driver: Driver
    ) -> None:
        view = await shelf.add()
        await shelf.fire_out_of_turn(view, shelf.tick)
        await driver.settle(dead(await driver.claim_one()))
        assert await shelf.fire(view, shelf.tick) == Fired(FireOutcome.FIRED, duplicates=1)
        assert (await driver.claim()).jobs == ()
        after = await shelf.view()
        assert (after.next_tick, after.fired) == (shelf.tick + MINUTE, 1)

    async def test_firing_out_of_turn_takes_no_tick_away_that_is_still_due(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add(next_tick=shelf.tick - 3 * MINUTE)
        await shelf.fire_out_of_turn(view, shelf.tick)
        due = tuple(shelf.tick - n * MINUTE for n in (3, 2, 1, 0))
        fired = await shelf.fire(view, *due)
        assert (fired.outcome, fired.created, fired.duplicates) == (FireOutcome.FIRED, 3, 1)
        assert len((await driver.claim()).jobs) == 4
        after = await shelf.view()
        assert (after.last_tick, after.next_tick) == (shelf.tick, shelf.tick + MINUTE)

    async def test_out_of_turn_only_a_paused_schedule_is_refused(self, shelf: Shelf) -> None:
        paused = await shelf.add("paused")
        await shelf.book.pause(paused.id, paused=True)
        assert (await shelf.fire_out_of_turn(paused, shelf.tick)).outcome is FireOutcome.MOVED
        disabled = await shelf.add("disabled", enabled=False)
        orphaned = await shelf.sync(defined("orphaned", owner=OWNER))
        for view in (disabled, orphaned):
            assert (await shelf.fire_out_of_turn(view, shelf.tick)).outcome is FireOutcome.FIRED

    async def test_work_that_exists_is_not_made_again(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        key = tick_key(view.id, shelf.tick)
        await shelf.harness.backend.enqueue([new_job(org, key=key) for org in ("queued", "done")])
        jobs = {job.org_id: job for job in (await driver.claim()).jobs}
        await driver.settle(succeed(jobs["done"]))
        fired = await shelf.fire(view, shelf.tick, orgs=("queued", "done", "new"))
        assert fired == Fired(FireOutcome.FIRED, created=1, duplicates=2)
        assert [job.org_id for job in (await driver.claim()).jobs] == ["new"]

    async def test_no_org_can_suppress_the_job_of_another(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add()
        await shelf.fire(view, shelf.tick, orgs=("acme",))
        await driver.settle(succeed(await driver.claim_one()))
        (other,) = [new_job("emca", key=tick_key(view.id, shelf.tick))]
        (receipt,) = await shelf.harness.backend.enqueue([other])
        assert not receipt.duplicate

    async def test_orgs_of_any_spelling_get_their_job(self, shelf: Shelf, driver: Driver) -> None:
        orgs = ("acme", "ACME", "ünï/日本", "o'; drop schema jobs; --", '{"a"}', "%s", "a,b", "NULL")
        fired = await shelf.fire(await shelf.add(orgs=orgs), shelf.tick, orgs=orgs)
        assert fired.created == len(orgs)
        assert {job.org_id for job in (await driver.claim()).jobs} == set(orgs)

    async def test_a_type_that_nobody_announced_goes_to_the_default_queue(self, shelf: Shelf) -> None:
        self.needs(shelf.harness, Capability.INSPECT)
        made = replace(defined(), type="unheard.of")
        await shelf.fire(await shelf.book.add(shelf.record(made)), shelf.tick)
        (view,) = await shelf.harness.backend.operator.jobs(JobFilter(type="unheard.of"))
        assert (view.queue, view.max_attempts, view.org_id) == ("default", 5, "acme")

    async def test_many_orgs_are_served_by_one_firing(self, shelf: Shelf, driver: Driver) -> None:
        orgs = tuple(f"org-{number:04}" for number in range(1000))
        fired = await shelf.fire(await shelf.add(orgs="*"), shelf.tick, orgs=orgs)
        assert fired == Fired(FireOutcome.FIRED, created=1000)
        assert {job.org_id for job in (await driver.claim(1000)).jobs} == set(orgs)

    # --- overlap and jitter --------------------------------------------------------------------------------

    async def test_with_skip_an_org_gets_nothing_while_its_last_job_is_live(self, shelf: Shelf, driver: Driver) -> None:
        await shelf.add(overlap="skip")
        both = ("acme", "emca")
        await shelf.fire(await shelf.view(), shelf.tick - 2 * MINUTE, orgs=both)
        jobs = {job.org_id: job for job in (await driver.claim()).jobs}
        await driver.settle(succeed(jobs["emca"]))
        assert await shelf.fire(await shelf.view(), shelf.tick - MINUTE, orgs=both) == Fired(
            FireOutcome.FIRED, created=1, skipped=1
        )
        await driver.settle(dead(jobs["acme"]))
        assert await shelf.fire(await shelf.view(), shelf.tick, orgs=both) == Fired(
            FireOutcome.FIRED, created=1, skipped=1
        )
        assert sorted(job.org_id for job in (await driver.claim()).jobs) == ["acme", "emca"]

    async def test_with_skip_an_org_gets_the_first_of_several_ticks(self, shelf: Shelf, driver: Driver) -> None:
        view = await shelf.add(overlap="skip", tick_as="at")
        fired = await shelf.fire(view, shelf.tick - MINUTE, shelf.tick)
        assert fired == Fired(FireOutcome.FIRED, created=1, skipped=1)
        assert tick_text(shelf.tick - MINUTE) in (await driver.claim_one()).payload

    async def test_with_allow_ticks_pile_up(self, shelf: Shelf, driver: Driver) -> None:
        await shelf.add()
        for tick in (shelf.tick - MINUTE, shelf.tick):
            await shelf.fire(await shelf.view(), tick)
        assert len((await driver.claim()).jobs) == 2

    async def test_jitter_delays_an_org_by_the_same_time_at_every_tick(self, shelf: Shelf) -> None:
        self.needs(shelf.harness, Capability.INSPECT)
        orgs = tuple(f"org-{number}" for number in range(10))
        view = await shelf.add(jitter=600.0)
        ticks = (shelf.tick + 60 * MINUTE, shelf.tick + 61 * MINUTE)
        await shelf.book.fire(Firing(view.id, ticks, orgs, view.next_tick, ticks[-1] + MINUTE))
        jobs = await shelf.harness.backend.operator.jobs(JobFilter(limit=100))
        assert {job.status for job in jobs} == {"scheduled"}
        found = sorted((job.org_id, job.run_at) for job in jobs if job.run_at is not None)
        wanted = [(org, tick + timedelta(seconds=jitter_of(view.id, org, 600.0))) for org in orgs for tick in ticks]
        for (org, run_at), (wanted_org, wanted_at) in zip(found, sorted(wanted), strict=True):
            assert org == wanted_org
            assert abs(run_at - wanted_at) <= timedelta(microseconds=1)
        assert len({jitter_of(view.id, org, 600.0) for org in orgs}) == len(orgs)
