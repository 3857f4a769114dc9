"""Jobs that are handed over: run by the engine's rules, answered when their end is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from executing import PATIENCE, Probe

from jobs_exec import Cancel, Envelope, Identity, JobContext, Receipt, Retry, Snooze, Success, job_type
from jobs_exec.contracts import OrgStatus, StartOutcome
from jobs_exec.errors import BackendUnavailable, CapabilityMissing, EnqueueConflict, InvalidJob, UnknownJobType
from jobs_exec.inline import Call, Ending, Inline, call_from_json
from jobs_exec.job import Action
from jobs_exec.memory import MemoryStore, Tables

TICK = datetime(2026, 11, 25, 13, 0, tzinfo=UTC)


def call(org: str = "acme", type: str = "work", tick: datetime | None = None, **options: Any) -> Call:
    return Call(Envelope(org, type, **options), tick)


async def work(ctx: JobContext, data: dict[str, Any]) -> dict[str, Any]:
    return {"org": ctx.org_id, "attempt": ctx.attempt}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  (any condition)
            await asyncio.sleep(0.001)


async def no_longer_running(inline: Inline) -> Ending:
    """The first answer about the job of `call()` that is not that it runs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ending = await inline.trigger(call())
            if ending.start.outcome is not StartOutcome.RUNNING:
                return ending
            await asyncio.sleep(0.001)


class Directory:
    """Knows three orgs."""

    def __init__(self) -> None:
        self.known = {"acme": OrgStatus.ACTIVE, "paused": OrgStatus.SUSPENDED}

    async def check(self, org_ids: Any) -> dict[str, OrgStatus]:
        return {org: self.known.get(org, OrgStatus.UNKNOWN) for org in org_ids}

    async def active(self) -> AsyncIterator[str]:
        yield "acme"


@asynccontextmanager
async def opened(*handlers: Any, **options: Any) -> AsyncIterator[tuple[Inline, Probe]]:
    made = [job_type(each.__name__, each) for each in handlers or (work,)]
    probe = Probe(*made, **options)
    async with Inline.open(host=probe.host) as inline:
        yield inline, probe


async def test_a_job_is_run_at_once_and_its_result_is_told() -> None:
    async with opened() as (inline, probe):
        ending = await inline.trigger(call())
        assert (ending.start.outcome, ending.lost) == (StartOutcome.STARTED, False)
        assert ending.settlement is not None
        assert (ending.settlement.action, ending.settlement.result) == (Action.SUCCEED, '{"org":"acme","attempt":1}')
        assert ending.start.job_id is not None
        peek = await probe.harness.peek(ending.start.job_id)
        assert peek is not None
        assert (peek.status, peek.attempts) == ("succeeded", 1)
    assert probe.harness.tables.executors == {}


async def test_a_repetition_is_answered_with_the_run_that_counts() -> None:
    async with opened() as (inline, _):
        first, second = await inline.trigger(call()), await inline.trigger(call())
        assert (second.start.outcome, second.settlement) == (StartOutcome.SUCCEEDED, None)
        assert second.start.job_id == first.start.job_id


async def test_the_tick_makes_the_same_payload_new_work_and_one_tick_is_one_however_it_is_written() -> None:
    async with opened() as (inline, _):
        later = TICK + timedelta(hours=1)
        elsewhere = TICK.astimezone(datetime.fromisoformat("2026-11-25T14:00:00+01:00").tzinfo)
        outcomes = [
            (await inline.trigger(call(tick=tick))).start.outcome for tick in (None, TICK, later, elsewhere, TICK)
        ]
    assert outcomes == [StartOutcome.STARTED] * 3 + [StartOutcome.SUCCEEDED] * 2


async def test_different_payloads_and_keys_of_one_tick_are_different_work() -> None:
    async with opened() as (inline, _):
        calls = [call(tick=TICK, data={"n": 1}), call(tick=TICK, data={"n": 2}), call(tick=TICK, key="k")]
        assert [(await inline.trigger(each)).start.outcome for each in calls] == [StartOutcome.STARTED] * 3


async def test_enqueue_by_the_same_tick_and_trigger_share_one_job() -> None:
    async with opened() as (inline, _):
        receipt = await inline.accept(call(tick=TICK))
        assert isinstance(receipt, Receipt)
        ending = await inline.trigger(call(tick=TICK))
        assert (ending.start.outcome, ending.start.job_id) == (StartOutcome.STARTED, receipt.id)
        again = await inline.accept(call(tick=TICK))
        assert isinstance(again, Receipt)
        assert again.duplicate


async def test_a_call_that_is_only_enqueued_makes_no_new_job_of_dead_work() -> None:
    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        raise ValueError("no")

    async with opened(work) as (inline, probe):
        await inline.trigger(call(max_attempts=1))
        answer = await inline.accept(call(max_attempts=1))
        assert isinstance(answer, Ending)
        assert answer.start.outcome is StartOutcome.DEAD
        assert probe.harness.tables.queue == {}


async def test_a_type_without_identity_needs_a_tick_or_a_key() -> None:
    probe = Probe(job_type("work", work, identity=Identity.NONE))
    async with Inline.open(host=probe.host) as inline:
        with pytest.raises(InvalidJob, match="tick: is missing"):
            await inline.trigger(call())
        assert probe.harness.tables.queue == {}
        assert (await inline.trigger(call(tick=TICK))).settlement is not None
        assert (await inline.trigger(call(key="k"))).settlement is not None


@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        (Success({"n": 1}), Action.SUCCEED),
        (Retry(delay=5), Action.RETRY),
        (Snooze(delay=5), Action.SNOOZE),
        (Cancel("enough"), Action.CANCEL),
    ],
)
async def test_every_outcome_value_ends_it_as_it_would_a_claimed_job(outcome: Any, action: Action) -> None:
    async def work(ctx: JobContext, data: dict[str, Any]) -> Any:
        return outcome

    async with opened(work) as (inline, _):
        ending = await inline.trigger(call())
        assert ending.settlement is not None
        assert ending.settlement.action is action


async def test_a_failure_waits_for_its_next_attempt_and_the_last_one_is_dead() -> None:
    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        raise ValueError("no")

    async with opened(work) as (inline, probe):
        first = await inline.trigger(call(max_attempts=2))
        early = await inline.trigger(call(max_attempts=2))
        assert first.settlement is not None
        assert (first.settlement.action, early.start.outcome) == (Action.RETRY, StartOutcome.WAITING)
        assert (early.start.attempts, early.start.max_attempts) == (1, 2)
        await probe.harness.advance(3600)
        last = await inline.trigger(call(max_attempts=2))
        assert last.settlement is not None
        assert last.settlement.action in (Action.DEAD, Action.RETRY)
        assert (await inline.trigger(call())).start.outcome is StartOutcome.DEAD


async def test_orgs_are_checked_before_the_handler_is_called() -> None:
    async with opened(directory=Directory()) as (inline, probe):
        unknown, paused = await inline.trigger(call("nobody")), await inline.trigger(call("paused"))
        assert unknown.settlement is not None
        assert paused.settlement is not None
        assert (unknown.settlement.action, paused.settlement.action) == (Action.REJECT, Action.HOLD)
        assert (await inline.trigger(call("paused"))).start.outcome is StartOutcome.HELD
        assert [type(each).__name__ for each in probe.events].count("JobStarted") == 0


async def test_the_first_call_after_a_suspension_runs_what_was_held_for_it() -> None:
    directory = Directory()
    async with opened(directory=directory) as (inline, _):
        held = await inline.trigger(call("paused"))
        directory.known["paused"] = OrgStatus.ACTIVE
        again = await inline.trigger(call("paused"))
        assert again.settlement is not None
        assert (again.start.job_id, again.settlement.action) == (held.start.job_id, Action.SUCCEED)
        assert again.start.attempts == 1


@pytest.mark.parametrize("outcome", [Success(1), Retry(60), Snooze(60), Cancel("needless")])
async def test_an_end_whose_reply_was_lost_is_told_as_it_was_written(outcome: Any) -> None:
    async def work(ctx: JobContext, data: dict[str, Any]) -> Any:
        return outcome

    async with opened(work) as (inline, probe):
        probe.backend.lose_next_settle = True
        ending = await inline.trigger(call())
        first, *_ = probe.backend.settlements
    assert len(probe.backend.settlements) > 1
    assert (ending.settlement, ending.lost) == (first, False)


async def test_an_end_that_came_after_somebody_elses_rescue_stays_lost() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.set()
        await gate.wait()

    async with opened(work) as (inline, probe):
        waiting = asyncio.ensure_future(inline.trigger(call()))
        await begun.wait()
        (row,) = probe.harness.tables.queue.values()
        row.token += 1
        row.suspect = True
        gate.set()
        assert (await waiting).lost


async def test_of_many_calls_at_once_one_runs() -> None:
    gate = asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        await gate.wait()

    async with opened(work) as (inline, _):
        calls = [asyncio.ensure_future(inline.trigger(call())) for _ in range(50)]
        await until(lambda: sum(each.done() for each in calls) == 49)
        gate.set()
        endings = await asyncio.gather(*calls)
    outcomes = [ending.start.outcome for ending in endings]
    assert (outcomes.count(StartOutcome.STARTED), outcomes.count(StartOutcome.RUNNING)) == (1, 49)


async def test_a_caller_that_goes_away_changes_nothing() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> int:
        begun.set()
        await gate.wait()
        return 1

    async with opened(work) as (inline, _):
        leaving = asyncio.ensure_future(inline.trigger(call()))
        await begun.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (await inline.trigger(call())).start.outcome is StartOutcome.RUNNING
        gate.set()
        again = await no_longer_running(inline)
        assert again.start.run is not None
        assert again.start.run.result == "1"


async def test_what_runs_at_the_end_may_finish_and_its_caller_is_told() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.set()
        await gate.wait()

    async with opened(work) as (inline, _):
        waiting = asyncio.ensure_future(inline.trigger(call()))
        await begun.wait()
        asyncio.get_running_loop().call_soon(gate.set)
    ending: Ending = await waiting
    assert ending.settlement is not None
    assert ending.settlement.action is Action.SUCCEED
    with pytest.raises(BackendUnavailable):
        await inline.trigger(call())


async def test_at_the_end_of_the_grace_it_is_given_back_with_its_attempt() -> None:
    begun = asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with opened(work, shutdown_grace=0.01) as (inline, probe):
        waiting = asyncio.ensure_future(inline.trigger(call()))
        await begun.wait()
    ending = await waiting
    assert ending.settlement is not None
    assert (ending.settlement.action, ending.lost) == (Action.GIVE_BACK, False)
    (row,) = probe.harness.tables.queue.values()
    assert (row.state.value, row.attempts) == ("ready", 0)


async def test_a_host_is_opened_by_one_at_a_time() -> None:
    probe = Probe(job_type("work", work))
    async with Inline.open(host=probe.host) as inline:
        with pytest.raises(RuntimeError, match="in use"):
            async with Inline.open(host=probe.host):
                pass
        assert (await inline.trigger(call())).settlement is not None
    async with Inline.open(host=probe.host) as inline:
        assert (await inline.trigger(call())).start.outcome is StartOutcome.SUCCEEDED


async def test_of_jobs_that_were_lost_with_their_executor_one_runs_at_a_time_beside_those_that_were_not() -> None:
    begun, gate = [], asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.append(data["n"])
        await gate.wait()

    async with opened(work) as (inline, probe):
        for n in range(2):
            await inline.accept(call(data={"n": n}))
        for row in probe.harness.tables.queue.values():
            row.suspect = True
        running = [asyncio.ensure_future(inline.trigger(call(data={"n": n}))) for n in (0, 2)]
        await until(lambda: sorted(begun) == [0, 2])
        put_off = (await inline.trigger(call(data={"n": 1}))).settlement
        assert put_off is not None
        assert (put_off.action, put_off.reason, put_off.delay) == (Action.GIVE_BACK, "suspect", 1.0)
        gate.set()
        await asyncio.gather(*running)
        await probe.harness.advance(2)
        assert (await inline.trigger(call(data={"n": 1}))).start.attempts == 1
    assert begun[2:] == [1]


async def test_whoever_will_not_wait_for_the_grace_leaves_nothing_running() -> None:
    begun = asyncio.Event()

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    probe = Probe(job_type("work", work))

    async def called() -> None:
        async with Inline.open(host=probe.host) as inline:
            await inline.trigger(call())

    leaving = asyncio.ensure_future(called())
    await begun.wait()
    leaving.cancel()
    await until(lambda: any("draining" in repr(each) for each in probe.events))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(leaving, PATIENCE)
    (row,) = probe.harness.tables.queue.values()
    assert (row.state.value, row.attempts) == ("ready", 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_store_of_its_own_reserves_and_records_the_work() -> None:
    store = MemoryStore(Tables())
    async with opened(store=store) as (inline, _):
        await inline.trigger(call())
    async with opened(store=store) as (inline, _):
        ending = await inline.trigger(call())
        assert ending.settlement is not None
        assert ending.settlement.action is Action.DUPLICATE
        assert ending.settlement.of is not None


async def test_work_that_is_reserved_elsewhere_is_told_so_to_every_caller() -> None:
    begun, gate, store = asyncio.Event(), asyncio.Event(), MemoryStore(Tables())

    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        begun.set()
        await gate.wait()

    async with opened(work, store=store) as (first, _), opened(work, store=store) as (second, _):
        running = asyncio.ensure_future(first.trigger(call()))
        await begun.wait()
        told = [(await second.trigger(call())).settlement for _ in range(3)]
        gate.set()
        await running
    assert [each and (each.action, each.reason) for each in told] == [(Action.GIVE_BACK, "reserved")] * 3


async def test_an_outage_is_told_and_the_next_call_goes_through() -> None:
    async with opened() as (inline, probe):
        probe.backend.connected = True
        probe.backend.lose_next_start = True
        with pytest.raises(BackendUnavailable):
            await inline.trigger(call())
        await until(lambda: inline.ready)
        again = await no_longer_running(inline)
        assert again.settlement is not None
        assert (again.settlement.action, again.start.attempts) == (Action.SUCCEED, 1)


async def test_a_start_that_was_refused_for_its_data_costs_nobody_else_anything() -> None:
    async with opened() as (inline, probe):
        probe.backend.refuse_next_start = EnqueueConflict("40001")
        with pytest.raises(EnqueueConflict):
            await inline.trigger(call())
        assert inline.ready
        assert (await inline.trigger(call())).start.outcome is StartOutcome.STARTED
        assert len(probe.backend.joined) == 1


async def test_a_caller_hears_nothing_of_jobs_that_nobody_carries(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as (inline, probe):
        await probe.enqueue("rare")
    async with Inline.open(host=probe.host) as inline:
        await inline.trigger(call())
    assert [row.state.value for row in probe.harness.tables.queue.values()] == ["held"]
    assert "no executor carries" not in caplog.text


async def test_a_drain_beside_it_runs_what_is_queued() -> None:
    async with opened() as (inline, probe):
        for n in range(3):
            await inline.accept(call(data={"n": n}))
        report = await inline.drain(10.0)
        assert (report.exit_code, report.counts.succeeded) == (0, 3)
        assert probe.harness.tables.queue == {}


async def test_a_drain_ends_with_its_budget_and_gives_back_what_still_runs() -> None:
    async def work(ctx: JobContext, data: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async with opened(work) as (inline, probe):
        await inline.accept(call())
        report = await asyncio.wait_for(inline.drain(0.2), 10)
        assert (report.exit_code, report.counts.returned) == (0, 1)
        (row,) = probe.harness.tables.queue.values()
        assert (row.state.value, row.attempts) == ("ready", 0)


async def test_an_unknown_type_and_a_backend_that_cannot_start_are_refused() -> None:
    async with opened() as (inline, _):
        with pytest.raises(UnknownJobType, match="install its plugin: it runs here"):
            await inline.trigger(call(type="other"))
    probe = Probe(job_type("work", work))
    probe.backend.capabilities = probe.backend.capabilities - {"start"}  # type: ignore[misc]
    with pytest.raises(CapabilityMissing, match="start"):
        async with Inline.open(host=probe.host):
            pass


@pytest.mark.parametrize("tick", ["2026-11-25T14:00:00+01:00", "2026-11-25T13:00:00.9Z", "@1795611600"])
def test_a_tick_is_read_from_json_in_any_form_of_one_time(tick: str) -> None:
    assert call_from_json({"orgId": "acme", "type": "work", "tick": tick}).tick == TICK


@pytest.mark.parametrize("tick", ["2026-11-25T13:00:00", "today", 5, "@", "", "9999-12-31T00:00:00Z", True])
def test_a_tick_that_is_no_time_is_refused_by_name(tick: object) -> None:
    with pytest.raises(InvalidJob, match="tick"):
        call_from_json({"orgId": "acme", "type": "work", "tick": tick})
