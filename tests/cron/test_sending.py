"""Enqueueing through a real endpoint in another process: what travels, and what the receipts say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from databases import TEMPLATE, Database, Server, fresh_database
from pydantic import BaseModel
from serving import OLDER_SECRET, SECRET, Served, serving

from jobs_exec import Client, Envelope, JobContext, JobType, ReceiptOutcome, job_type
from jobs_exec.errors import BackendUnavailable, ConfigurationError, InvalidJob
from jobs_exec.host import Purpose, build_host
from jobs_exec_cron.errors import JobRefused

CANARY = "canary-of-a-payload"


class Order(BaseModel):
    number: int
    currency: str = "EUR"


async def ship(ctx: JobContext, data: Order) -> None: ...


@pytest.fixture(scope="module")
def database_of_endpoint(postgres: Server) -> Iterator[Database]:
    with fresh_database(postgres, TEMPLATE) as made:
        yield made


@pytest.fixture(scope="module")
def inline(database_of_endpoint: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An endpoint that runs jobs before it answers."""
    with serving(tmp_path_factory.mktemp("inline"), database_of_endpoint) as made:
        yield made


@pytest.fixture
def queueing(migrated: Database, tmp_path: Path) -> Iterator[Served]:
    """An endpoint that only enqueues, on a database of its own."""
    with serving(tmp_path, migrated, "--mode", "enqueue") as made:
        yield made


def sender(served: Served, *types: JobType, **settings: str) -> AbstractAsyncContextManager[Client]:
    """A client in a process that has neither a database nor, but for `types`, the handlers."""
    overrides = {
        "JOB_QUEUE_BACKEND": "cron",
        "JOB_PLUGINS_ALLOW": "cron",
        "JOB_TRIGGER_URL": f"{served.url}/trigger",
        "JOB_CRON_SECRETS": SECRET,
        **settings,
    }
    host = build_host(overrides, for_=Purpose.CLIENT)
    return Client.open(host=replace(host, job_types={made.name: made for made in types}))


def stored(served: Served, job_id: object) -> tuple[Any, ...]:
    """Org, type, status, attempts of a job, whether it waits or has ended."""
    (row,) = served.database.execute(
        "select org_id, type, status::text, max_attempts from jobs.job_runs where job_id = %s"
        " union all select org_id, type, state::text, max_attempts from jobs.jobs_queue where id = %s",
        job_id,
        job_id,
    )
    return row


# --- an endpoint that runs jobs ------------------------------------------------------------------------


async def test_a_job_that_is_enqueued_runs_at_the_endpoint(inline: Served) -> None:
    async with sender(inline) as client:
        receipt = await client.enqueue(org_id="acme", type="echo", data={"n": 1}, max_attempts=7)
    assert receipt.outcome is ReceiptOutcome.CREATED
    assert stored(inline, receipt.id) == ("acme", "echo", "succeeded", 7)


async def test_a_repetition_is_a_duplicate_of_the_run_that_counts(inline: Served) -> None:
    async with sender(inline) as client:
        first, again = [await client.enqueue(org_id="acme", type="echo", data={"n": 2}) for _ in range(2)]
    assert (again.duplicate, again.of, again.of_state, again.id) == (True, first.id, "succeeded", first.id)


async def test_the_same_key_with_another_payload_is_told_as_a_conflict(inline: Served) -> None:
    async with sender(inline) as client:
        await client.enqueue(org_id="acme", type="echo", data={"n": 3}, key="k")
        again = await client.enqueue(org_id="acme", type="echo", data={"n": 4}, key="k")
    assert (again.duplicate, again.conflict) == (True, True)


async def test_work_without_identity_is_new_at_every_enqueue(inline: Served) -> None:
    async with sender(inline) as client:
        receipts = [await client.enqueue(org_id="acme", type="each") for _ in range(2)]
    assert [each.outcome for each in receipts] == [ReceiptOutcome.CREATED] * 2


async def test_a_job_that_runs_already_is_a_duplicate_in_state_running(migrated: Database, tmp_path: Path) -> None:
    with serving(tmp_path, migrated) as served:
        async with sender(served) as client, sender(served) as other:
            running = asyncio.create_task(client.enqueue(org_id="acme", type="slow", data={"n": 1}))
            while not (tmp_path / "started-1").exists():  # noqa: ASYNC110  (a file of another process)
                await asyncio.sleep(0.01)
            second = await other.enqueue(org_id="acme", type="slow", data={"n": 1})
            (tmp_path / "release").touch()
            first = await running
    assert (second.duplicate, second.of, second.of_state) == (True, first.id, "running")
    assert first.outcome is ReceiptOutcome.CREATED


async def test_a_job_longer_than_one_try_is_found_running_by_the_next(migrated: Database, tmp_path: Path) -> None:
    with serving(tmp_path, migrated) as served:
        async with sender(served, JOB_CRON_SEND_SECONDS="3") as client:
            receipt = await client.enqueue(org_id="acme", type="slow", data={"n": 1})
            (tmp_path / "release").touch()
    assert (receipt.duplicate, receipt.of_state) == (True, "running")


async def test_a_job_that_fails_at_first_is_created_and_said_to_wait(
    inline: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with sender(inline) as client:
        receipt = await client.enqueue(org_id="acme", type="failing", data={"s": CANARY})
    assert receipt.outcome is ReceiptOutcome.CREATED
    assert stored(inline, receipt.id)[2] == "scheduled"
    assert f"job {receipt.id} of type failing has failed at the endpoint" in caplog.text
    assert CANARY not in caplog.text


async def test_a_job_that_is_dead_is_an_error_that_names_it(inline: Served) -> None:
    async with sender(inline) as client:
        with pytest.raises(JobRefused, match="jobs-exec retry") as refused:
            await client.enqueue(org_id="acme", type="dying", data={"s": CANARY})
    assert stored(inline, refused.value.job_id)[2] == "dead"
    assert CANARY not in str(refused.value)


# --- an endpoint that enqueues -------------------------------------------------------------------------


async def test_what_is_pushed_and_what_is_enqueued_beside_it_are_one_job(queueing: Served) -> None:
    async with sender(queueing, job_type("echo", ship)) as client:
        pushed = await client.enqueue(org_id="acme", type="echo", data={"number": 1})
    direct = {"JOB_QUEUE_BACKEND": "table", "JOB_DATABASE_URL": queueing.database.url}
    async with Client.open(direct) as client:
        beside = await client.enqueue(org_id="acme", type="echo", data={"number": 1})
        filled = await client.enqueue(org_id="acme", type="echo", data={"number": 1, "currency": "EUR"})
    assert (beside.of, beside.of_state) == (pushed.id, "ready")
    assert filled.outcome is ReceiptOutcome.CREATED
    assert stored(queueing, pushed.id) == ("acme", "echo", "ready", 5)


async def test_numbers_arrive_as_they_were_handed_in(queueing: Served) -> None:
    data = {"whole": 1.0, "large": 2**53, "small": 1e-7, "text": "ü\u2028 \\u00fc", "deep": [[{"a": None}]]}
    async with sender(queueing) as client:
        receipt = await client.enqueue(org_id="acme", type="echo", data=data)
    ((payload,),) = queueing.database.execute("select payload::text from jobs.jobs_queue where id = %s", receipt.id)
    assert json.loads(str(payload)) == data
    assert ":1.0" in str(payload).replace(" ", "")


async def test_everything_the_caller_may_say_travels(queueing: Served) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    until = datetime(2031, 1, 1, tzinfo=UTC)
    async with sender(queueing) as client:
        first = await client.enqueue(
            org_id="org ü", type="echo", key='a "key" ü', max_attempts=3, expires_at=until, trace=trace
        )
        again = await client.enqueue(org_id="org ü", type="echo", key='a "key" ü')
    assert (again.duplicate, again.of_state) == (True, "ready")
    rows = queueing.database.execute(
        "select org_id, identity::text, max_attempts, expires_at, trace from jobs.jobs_queue where id = %s", first.id
    )
    assert rows == [("org ü", "key", 3, until, trace)]


async def test_many_are_sent_each_in_a_call_and_receipts_keep_their_order(queueing: Served) -> None:
    envelopes = [Envelope("acme", "echo", {"n": n % 20}) for n in range(25)]
    async with sender(queueing) as client:
        receipts = await client.enqueue_many(envelopes)
    rows = dict(queueing.database.execute("select id, (payload::jsonb ->> 'n')::int from jobs.jobs_queue"))  # type: ignore[arg-type]
    assert [rows[each.id] for each in receipts] == [n % 20 for n in range(25)]
    assert sum(not each.duplicate for each in receipts) == 20


async def test_of_many_jobs_the_refusal_of_one_says_how_many_were_accepted(queueing: Served) -> None:
    envelopes = [Envelope("acme", "echo", {"n": 1}), Envelope("acme", "kept", {"s": CANARY})]
    async with sender(queueing) as client:
        with pytest.raises(InvalidJob, match=r"type: .*JOB_CRON_TYPES.*; 1 of 2 jobs were accepted") as refused:
            await client.enqueue_many(envelopes)
    assert CANARY not in str(refused.value)
    assert queueing.rows()[0] == 1


# --- refusals ------------------------------------------------------------------------------------------


async def test_a_type_that_may_not_be_triggered_is_an_invalid_job(inline: Served) -> None:
    async with sender(inline) as client:
        with pytest.raises(InvalidJob, match="answered 422") as refused:
            await client.enqueue(org_id="acme", type="nobody.knows")
    assert refused.value.field == "type"


async def test_a_secret_that_the_endpoint_does_not_know_is_named_by_its_setting(inline: Served) -> None:
    other = "whsec_" + "b3RoZXIg" * 4
    async with sender(inline, JOB_CRON_SECRETS=other) as client:
        with pytest.raises(ConfigurationError, match=r"JOB_CRON_SECRETS: .* answered 401") as refused:
            await client.enqueue(org_id="acme", type="echo")
    assert other not in str(refused.value)


async def test_during_a_rotation_the_first_secret_signs(inline: Served) -> None:
    async with sender(inline, JOB_CRON_SECRETS=f"{OLDER_SECRET},{'whsec_' + 'b3RoZXIg' * 4}") as client:
        assert (await client.enqueue(org_id="acme", type="echo", data={"n": 9})).outcome is ReceiptOutcome.CREATED


async def test_a_url_where_no_endpoint_is_is_named_by_its_setting(inline: Served) -> None:
    async with sender(inline, JOB_TRIGGER_URL=f"{inline.url}/nothing") as client:
        with pytest.raises(ConfigurationError, match=r"JOB_TRIGGER_URL: .* answered 404.*/trigger"):
            await client.enqueue(org_id="acme", type="echo")


async def test_an_endpoint_that_cannot_be_reached_has_taken_nothing(inline: Served) -> None:
    async with sender(inline, JOB_TRIGGER_URL="http://127.0.0.1:9/trigger") as client:
        with pytest.raises(BackendUnavailable, match=r"cannot reach http://127.0.0.1:9 .*nothing was sent"):
            await client.enqueue(org_id="acme", type="echo", data={"s": CANARY})
