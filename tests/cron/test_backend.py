"""The cron backend without a call: what it can do, what it stands on, and what it says where something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from databases import Database

from jobs_exec import Client
from jobs_exec.contracts import Capability, ClaimRequest, JobFilter, Policy, QueueBackend, ScheduleFilter
from jobs_exec.errors import (
    CapabilityMissing,
    ConfigurationError,
    JobNotFound,
    PluginError,
    UnknownBackend,
    UnknownJobType,
)
from jobs_exec.host import Host, Purpose, build_host
from jobs_exec.inline import Inline
from jobs_exec.memory import MemoryBackend
from jobs_exec_cron.backend import CronBackend
from jobs_exec_cron.settings import CronSettings

CRON = {"JOB_QUEUE_BACKEND": "cron"}
SECRET = "whsec_" + "c2VjcmV0" * 5


def nowhere() -> QueueBackend:
    raise ConfigurationError("JOB_DATABASE_URL", "is not set")


def alone() -> CronBackend:
    return CronBackend(CronSettings(), nowhere)


def on_memory() -> tuple[CronBackend, MemoryBackend]:
    memory = MemoryBackend(Policy())
    return CronBackend(CronSettings(), lambda: memory), memory


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("JOB_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL", "JOB_TRIGGER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(migrated: Database) -> Mapping[str, str]:
    return {**CRON, "JOB_DATABASE_URL": migrated.url}


def client_host(**settings: str) -> Host:
    return build_host({**CRON, "JOB_PLUGINS_ALLOW": "cron,table,memory", **settings}, for_=Purpose.CLIENT)


# --- what it can do ------------------------------------------------------------------------------------


def test_it_is_selected_by_its_entry_point_name() -> None:
    assert client_host().backend.name == "cron"


def test_jobs_are_pushed_and_its_queue_lends_what_people_ask_for() -> None:
    assert alone().capabilities == {Capability.PUSH}
    lent = {Capability.INSPECT, Capability.DEAD_LETTERS, Capability.SCHEDULES}
    assert on_memory()[0].capabilities == {Capability.PUSH} | lent


async def test_there_is_nothing_to_poll_and_it_says_what_to_use() -> None:
    with pytest.raises(CapabilityMissing, match=r"nothing to poll.*jobs-exec serve.*jobs-exec trigger"):
        await alone().claim(ClaimRequest(uuid4(), "default", frozenset(), 1))


def test_it_takes_no_part_in_a_transaction() -> None:
    with pytest.raises(CapabilityMissing, match="JOB_QUEUE_BACKEND=table"):
        alone().transaction()


async def test_opening_and_closing_it_connects_to_nothing() -> None:
    backend = alone()
    await backend.open()
    await backend.close()
    await backend.close()


# --- what it stands on ---------------------------------------------------------------------------------


def test_its_ledger_is_that_of_its_queue() -> None:
    backend, memory = on_memory()
    assert backend.ledger is memory.ledger
    assert alone().ledger is None


async def test_what_people_ask_is_asked_of_the_queue_which_is_opened_for_it(
    settings: Mapping[str, str], migrated: Database
) -> None:
    async with Client.open(settings) as client:
        assert await client.backend.operator.jobs(JobFilter()) == []
        assert await client.backend.schedules.list(ScheduleFilter()) == []
        with pytest.raises(JobNotFound):
            await client.backend.operator.job(uuid4())
    ((sessions,),) = migrated.execute(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert sessions == 0


def test_without_a_queue_the_question_is_answered_with_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="JOB_DATABASE_URL"):
        _ = client_host().backend.operator
    with pytest.raises(ConfigurationError, match="JOB_DATABASE_URL"):
        _ = client_host().backend.queue


def test_a_queue_that_is_not_installed_is_named_by_the_setting_that_asked_for_it() -> None:
    host = client_host(JOB_CRON_QUEUE="tabel")
    with pytest.raises(UnknownBackend, match=r"JOB_CRON_QUEUE.*Did you mean 'table'") as unknown:
        _ = host.backend.queue
    assert unknown.value.setting == "JOB_CRON_QUEUE"
    assert "JOB_QUEUE_BACKEND" not in str(unknown.value)


def test_a_queue_that_is_kept_out_is_named_by_the_setting_that_asked_for_it() -> None:
    host = client_host(JOB_PLUGINS_ALLOW="cron")
    for _ in range(2):
        with pytest.raises(PluginError, match="table is selected by JOB_CRON_QUEUE but not named in JOB_PLUGINS_ALLOW"):
            _ = host.backend.queue


def test_a_sender_needs_neither_a_queue_nor_a_database() -> None:
    host = client_host(JOB_PLUGINS_ALLOW="cron")
    assert host.warnings == ()
    assert host.backend.capabilities == {Capability.PUSH}


async def test_the_memory_queue_locks_nobody_else_out_and_needs_a_store() -> None:
    host = build_host({**CRON, "JOB_CRON_QUEUE": "memory", "JOB_PLUGINS_ALLOW": "cron,memory"})
    with pytest.raises(ConfigurationError, match="JOB_IDEMPOTENCY_STORE"):
        async with Inline.open(host=host):
            pytest.fail("it opened")


# --- enqueue, before anything is sent ------------------------------------------------------------------


async def test_enqueue_without_a_url_says_which_setting_and_what_it_should_be() -> None:
    async with Client.open(host=client_host()) as client:
        with pytest.raises(ConfigurationError, match=r"JOB_TRIGGER_URL: is not set.*/trigger.*trigger\(\.\.\.\)"):
            await client.enqueue(org_id="acme", type="work")


async def test_enqueue_without_a_secret_says_so() -> None:
    async with Client.open(host=client_host(JOB_TRIGGER_URL="http://127.0.0.1:1/trigger")) as client:
        with pytest.raises(ConfigurationError, match="JOB_CRON_SECRETS: is not set"):
            await client.enqueue(org_id="acme", type="work")


@pytest.mark.parametrize("options", [{"delay": 5}, {"priority": 1}])
async def test_what_cannot_be_pushed_is_refused_by_capability(options: dict[str, int]) -> None:
    async with Client.open(host=client_host()) as client:
        with pytest.raises(CapabilityMissing, match=next(iter(options))):
            await client.enqueue(org_id="acme", type="work", **options)  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        "jobs.example.com/trigger",
        "ftp://jobs.example.com",
        "https:///trigger",
        "https://user:pw@jobs.example.com/trigger",
        "https://jobs.example.com/trigger?token=canary",
        "https://jobs.example.com/trigger#part",
        "https://@jobs.example.com/trigger",
        "https://jobs.example.com:canary/trigger",
        "https://jobs.example.com:99999/trigger",
        "https://jobs.example.com:0/trigger",
        "https://jobs.example.com/tr\r\nx: igger",
        " https://jobs.example.com/trigger",
        "https://jöbs.example.com/trigger",
        "https://\udc80/trigger",
    ],
)
def test_a_url_that_holds_a_secret_or_leads_nowhere_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="JOB_TRIGGER_URL: must") as refused:
        client_host(JOB_TRIGGER_URL=url)
    assert url not in str(refused.value)
    assert "canary" not in str(refused.value)


def test_secrets_are_in_no_text() -> None:
    host = client_host(JOB_TRIGGER_URL="http://localhost/trigger", JOB_CRON_SECRETS=SECRET)
    assert "c2VjcmV0" not in repr(host)
    rows = {row.name: row.value for row in host.loader.report([CronSettings])}
    assert "c2VjcmV0" not in str(rows)


async def test_a_type_is_looked_up_where_jobs_run_and_not_here() -> None:
    known = await alone().known_types()
    assert "any.type" in known
    assert known["any.type"].name == "any.type"
    assert list(known) == []
    with pytest.raises(UnknownJobType):
        async with Client.open({"JOB_QUEUE_BACKEND": "memory"}) as client:
            await client.enqueue(org_id="acme", type="any.type")
