"""`trigger` on a real database: one job runs here and now, by the rules and on the rows of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from databases import Database

from jobs_exec import Client, Envelope
from jobs_exec.errors import ConfigurationError, InvalidJob, MissingOrg
from jobs_exec.registry import isolated
from jobs_exec_cron import TriggerOutcome, trigger, trigger_sync

TICK = datetime(2026, 11, 25, 13, tzinfo=UTC)

JOBS = """
    from jobs_exec import Cancel, job

    @job("count")
    async def count(ctx, data):
        return {"n": data.get("n", 0) + 1, "org": ctx.org_id, "attempt": ctx.attempt}

    @job("each", identity="none")
    async def each(ctx, data):
        return str(ctx.job_id)

    @job("fail", max_attempts=2, backoff=lambda attempt: 60.0)
    async def fail(ctx, data):
        raise ValueError("the words of the handler")

    @job("needless")
    def needless(ctx, data):
        return Cancel("nothing to do")

    @job("write")
    async def write(ctx, data):
        async with ctx.transaction() as connection:
            await connection.execute("insert into effects values (%s)", (ctx.org_id,))
            await ctx.enqueue(type="count", data={"n": 1})
"""


@pytest.fixture(params=["cron", "table"])
def settings(
    request: pytest.FixtureRequest, migrated: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """Settings by which the queue is `migrated`; whichever backend is selected, jobs run on its rows."""
    (tmp_path / "scheduled_jobs.py").write_text(dedent(JOBS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return {
        "JOB_QUEUE_BACKEND": request.param,
        "JOB_PLUGINS_ALLOW": "cron,table",
        "JOB_DATABASE_URL": migrated.url,
        "JOB_MODULES": "scheduled_jobs",
    }


@pytest.fixture(autouse=True)
def _own_registrations(monkeypatch: pytest.MonkeyPatch) -> Any:
    import sys

    monkeypatch.delitem(sys.modules, "scheduled_jobs", raising=False)
    with isolated():
        yield
    sys.modules.pop("scheduled_jobs", None)


def runs(database: Database) -> list[tuple[object, ...]]:
    return database.execute("select org_id, status::text, attempts from jobs.job_runs order by finished_at")


def left(database: Database) -> list[tuple[object, ...]]:
    """What a trigger must not leave behind: executors, and running jobs."""
    return database.execute(
        "select 'executor' from jobs.job_executors union all select 'job' from jobs.jobs_queue where state = 'running'"
    )


async def test_a_job_runs_at_once_and_its_result_is_the_answer(settings: Mapping[str, str], migrated: Database) -> None:
    answer = await trigger({"orgId": "acme", "type": "count", "data": {"n": 1}}, overrides=settings)
    assert answer.outcome is TriggerOutcome.SUCCEEDED
    assert answer.result == {"n": 2, "org": "acme", "attempt": 1}
    assert (runs(migrated), left(migrated)) == ([("acme", "succeeded", 1)], [])
    assert "'n'" not in repr(answer)


async def test_a_repetition_is_a_duplicate_with_the_result_of_the_run_that_counts_and_a_hint(
    settings: Mapping[str, str], migrated: Database
) -> None:
    first, again = [await trigger(org_id="acme", type="count", overrides=settings) for _ in range(2)]
    assert (again.outcome, again.of, again.result) == (TriggerOutcome.DUPLICATE, first.job_id, first.result)
    assert again.hint is not None
    assert "pass tick" in again.hint
    assert len(runs(migrated)) == 1


async def test_each_tick_is_work_of_its_own_however_it_is_written(
    settings: Mapping[str, str], migrated: Database
) -> None:
    spellings: list[datetime | str] = [
        TICK,
        "2026-11-25T14:00:00+01:00",
        f"@{int(TICK.timestamp())}",
        TICK + timedelta(microseconds=5),
    ]
    spellings.append(TICK.astimezone(timezone(timedelta(hours=-5))))
    answers = [await trigger(org_id="acme", type="count", tick=tick, overrides=settings) for tick in spellings]
    assert [each.outcome.value for each in answers] == ["succeeded", *["duplicate"] * 4]
    assert {each.hint for each in answers} == {None}
    later = {"orgId": "acme", "type": "count", "tick": "2026-11-25T13:00:01Z"}
    assert (await trigger(later, overrides=settings)).outcome is TriggerOutcome.SUCCEEDED
    assert len(runs(migrated)) == 2


async def test_the_same_tick_of_another_org_is_another_work(settings: Mapping[str, str]) -> None:
    answers = [await trigger(org_id=org, type="count", tick=TICK, overrides=settings) for org in ("acme", "emca")]
    assert [each.outcome.value for each in answers] == ["succeeded"] * 2


async def test_work_without_identity_needs_a_tick_or_a_key_before_anything_is_written(
    settings: Mapping[str, str], migrated: Database
) -> None:
    with pytest.raises(InvalidJob, match=r"tick: is missing.* key"):
        await trigger(org_id="acme", type="each", overrides=settings)
    assert (runs(migrated), left(migrated)) == ([], [])
    answers = [await trigger(org_id="acme", type="each", tick=TICK, overrides=settings) for _ in range(2)]
    answers += [await trigger(Envelope("acme", "each", key="k"), overrides=settings)]
    assert [each.outcome.value for each in answers] == ["succeeded", "duplicate", "succeeded"]


async def test_a_failure_says_when_to_call_again_and_an_early_call_spends_nothing(
    settings: Mapping[str, str], migrated: Database
) -> None:
    first, early = [await trigger(org_id="acme", type="fail", overrides=settings) for _ in range(2)]
    for answer in (first, early):
        assert (answer.outcome, answer.attempts_left, answer.reason) == (TriggerOutcome.FAILED, 1, "failed")
        assert answer.retry_after is not None
        assert "words of the handler" not in str(answer.to_json())
    assert migrated.execute("select state::text, attempts from jobs.jobs_queue") == [("scheduled", 1)]


async def test_after_its_last_attempt_a_job_is_dead_for_every_later_call(
    settings: Mapping[str, str], migrated: Database
) -> None:
    call = {"orgId": "acme", "type": "fail", "maxAttempts": 1}
    answers = [await trigger(call, overrides=settings) for _ in range(2)]
    assert [each.outcome.value for each in answers] == ["dead"] * 2
    assert answers[0].job_id == answers[1].job_id
    assert runs(migrated) == [("acme", "dead", 1)]


async def test_a_handler_may_find_its_work_needless(settings: Mapping[str, str]) -> None:
    answer = await trigger(org_id="acme", type="needless", overrides=settings)
    assert answer.outcome is TriggerOutcome.CANCELLED


async def test_effects_the_acknowledgement_and_jobs_of_the_handler_commit_together(
    settings: Mapping[str, str], migrated: Database
) -> None:
    migrated.execute("create table effects (org text)")
    assert (await trigger(org_id="acme", type="write", overrides=settings)).outcome is TriggerOutcome.SUCCEEDED
    assert migrated.execute("select org from effects") == [("acme",)]
    assert migrated.execute("select org_id, type, state::text from jobs.jobs_queue") == [("acme", "count", "ready")]


async def test_what_was_enqueued_is_what_is_triggered(settings: Mapping[str, str], migrated: Database) -> None:
    async with Client.open({**settings, "JOB_QUEUE_BACKEND": "table"}) as client:
        receipt = await client.enqueue(org_id="acme", type="count", data={"n": 5})
    answer = await trigger(org_id="acme", type="count", data={"n": 5}, overrides=settings)
    assert (answer.outcome, answer.job_id) == (TriggerOutcome.SUCCEEDED, receipt.id)
    assert runs(migrated) == [("acme", "succeeded", 1)]


async def test_an_org_that_is_not_in_the_directory_of_the_queue_is_rejected(
    settings: Mapping[str, str], migrated: Database
) -> None:
    migrated.execute("create table orgs (id text primary key, active boolean)")
    migrated.execute("insert into orgs values ('acme', true)")
    with_orgs = {**settings, "JOB_ORG_TABLE": "public.orgs"}
    known, unknown = [await trigger(org_id=org, type="count", overrides=with_orgs) for org in ("acme", "nobody")]
    assert (known.outcome, unknown.outcome) == (TriggerOutcome.SUCCEEDED, TriggerOutcome.REJECTED)
    assert runs(migrated) == [("acme", "succeeded", 1), ("nobody", "rejected", 1)]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"type": "count"}, "orgId"),
        ({"orgId": "acme"}, "type"),
        ({"orgId": "acme", "type": "count", "org": "emca"}, "org"),
        ({"orgId": "acme", "type": "count", "tick": "yesterday"}, "tick"),
        ({"orgId": "acme", "type": "count", "tick": "2026-11-25T13:00:00"}, "tick"),
        ({"orgId": "acme", "type": "count", "tick": 1900000000}, "tick"),
        ({"orgId": "acme", "type": "count", "delay": 5}, "delay"),
        ({"orgId": "acme", "type": "count", "runAt": "2030-01-01T00:00:00Z"}, "run_at"),
    ],
)
async def test_a_call_that_breaks_a_rule_is_refused_by_field_without_a_database(call: Any, field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        await trigger(call)
    assert refused.value.field == field


async def test_an_envelope_and_fields_beside_it_are_refused() -> None:
    with pytest.raises(TypeError, match="leave org_id out"):
        await trigger({"type": "count"}, org_id="acme")  # type: ignore[call-overload]
    with pytest.raises(MissingOrg):
        await trigger(type="count")  # type: ignore[call-overload]


def test_a_scheduled_function_needs_no_event_loop(settings: Mapping[str, str]) -> None:
    answer = trigger_sync(org_id="acme", type="count", tick=TICK, overrides=settings)
    assert answer.to_json() == {
        "outcome": "succeeded",
        "job_id": str(answer.job_id),
        "result": {"n": 1, "org": "acme", "attempt": 1},
        "conflict": False,
    }


async def test_inside_a_loop_the_sync_form_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match="await trigger"):
        trigger_sync(org_id="acme", type="count")


async def test_many_calls_of_one_process_do_one_piece_of_work_once(
    settings: Mapping[str, str], migrated: Database
) -> None:
    small = {**settings, "JOB_TABLE_POOL_SIZE": "1"}
    answers = await asyncio.gather(*[trigger(org_id="acme", type="count", overrides=small) for _ in range(8)])
    outcomes = sorted(each.outcome.value for each in answers)
    assert outcomes.count("succeeded") == 1
    assert set(outcomes) <= {"succeeded", "duplicate", "in_flight"}
    assert (len(runs(migrated)), left(migrated)) == (1, [])


async def test_without_a_database_it_says_which_setting_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = {"JOB_QUEUE_BACKEND": "cron", "JOB_PLUGINS_ALLOW": "cron,table"}
    with pytest.raises(ConfigurationError, match="JOB_DATABASE_URL"):
        await trigger(org_id="acme", type="count", overrides=settings)


# --- without a queue database: the store alone keeps work from being done twice -------------------------


@pytest.fixture
def stored(migrated: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The queue is the memory of each call; what they share is the store in `migrated`."""
    (tmp_path / "scheduled_jobs.py").write_text(dedent(JOBS) + dedent(WAITING))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return {
        "JOB_QUEUE_BACKEND": "cron",
        "JOB_CRON_QUEUE": "memory",
        "JOB_IDEMPOTENCY_STORE": "table",
        "JOB_PLUGINS_ALLOW": "cron,table,memory",
        "JOB_DATABASE_URL": migrated.url,
        "JOB_MODULES": "scheduled_jobs",
    }


WAITING = """
    import asyncio

    begun, release = [], asyncio.Event()

    @job("wait")
    async def wait(ctx, data):
        begun.append(ctx.job_id)
        await release.wait()
        return len(begun)
"""


async def test_by_the_store_a_repetition_is_told_which_run_counts_and_its_result(
    stored: Mapping[str, str], migrated: Database
) -> None:
    first, again = [await trigger(org_id="acme", type="count", overrides=stored) for _ in range(2)]
    assert (first.outcome, again.outcome) == (TriggerOutcome.SUCCEEDED, TriggerOutcome.DUPLICATE)
    assert (again.of, again.result) == (first.job_id, first.result)
    assert again.hint is not None
    assert runs(migrated) == []


async def test_by_the_store_one_of_many_runs_and_the_others_are_told_that_it_is_in_flight(
    stored: Mapping[str, str],
) -> None:
    import sys

    calls = [asyncio.create_task(trigger(org_id="acme", type="wait", tick=TICK, overrides=stored)) for _ in range(5)]
    pending = set(calls)
    while len(pending) > 1:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    jobs = sys.modules["scheduled_jobs"]
    jobs.release.set()
    answers = [await each for each in calls]
    assert sorted(each.outcome.value for each in answers) == [*["in_flight"] * 4, "succeeded"]
    assert len(jobs.begun) == 1


async def test_by_the_store_a_failure_leaves_the_work_to_the_next_call(stored: Mapping[str, str]) -> None:
    answers = [await trigger(org_id="acme", type="fail", overrides=stored) for _ in range(2)]
    assert [(each.outcome.value, each.attempts_left) for each in answers] == [("failed", 1)] * 2
