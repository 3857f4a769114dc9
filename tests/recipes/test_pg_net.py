"""Signed calls from Postgres: what pg_net would send is sent to the real endpoint, which takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest
from recipes import TYPE, Setup, recipe, requests, run_scheduled, run_script, with_cron, with_supabase
from serving import SECRET, Served

from jobs_exec.scheduling.fields import parse_cron

TICK = "2026-11-25 03:00+00"


@dataclass(frozen=True, slots=True)
class Project:
    """A Supabase project with the recipe in it, and the endpoint that it calls."""

    setup: Setup
    endpoint: Served

    def trigger(self, data: str = "{}", tick: str = TICK) -> None:
        self.setup.database.execute("select scheduler.trigger_job('acme', %s, %s, %s)", TYPE, tick, data)

    def answers(self) -> list[tuple[int, dict[str, object]]]:
        """Sends everything that was asked for so far."""
        sent = [request.send() for request in requests(self.setup.database)]
        return [(response.status_code, response.json()) for response in sent]


@pytest.fixture(scope="module")
def prepared(installed: Setup) -> Iterator[Project]:
    with installed.serving() as endpoint:
        with_supabase(installed.database, jobs_url=endpoint.url, jobs_secret=SECRET)
        with_cron(installed.database)
        run_script(installed.database, recipe("pg_net_calls.sql"))
        run_script(installed.database, recipe("pg_net_schedule.sql"))
        yield Project(installed, endpoint)


@pytest.fixture
def project(prepared: Project, setup: Setup) -> Iterator[Project]:
    """Without requests, as `setup` is without runs."""
    yield prepared
    setup.database.execute("truncate net.http_request_queue")


def test_the_scheduled_call_runs_the_job(project: Project) -> None:
    run_scheduled(project.setup.database, "nightly report of acme")
    ((status, answer),) = project.answers()
    assert (status, answer["outcome"], answer["result"]) == (200, "succeeded", {"report": "acme"})
    assert project.setup.runs() == [("acme", TYPE, "succeeded")]


def test_a_call_with_the_same_tick_finds_the_work_done(project: Project) -> None:
    project.trigger()
    project.trigger()
    answers = project.answers()
    assert [(status, answer["outcome"]) for status, answer in answers] == [(200, "succeeded"), (200, "duplicate")]
    assert project.setup.reports() == ["acme"]


def test_the_same_request_sent_twice_is_answered_twice_and_runs_once(project: Project) -> None:
    project.trigger()
    outcomes = [answer["outcome"] for _ in range(2) for _, answer in project.answers()]
    assert outcomes == ["succeeded", "duplicate"]
    assert project.setup.reports() == ["acme"]


def test_payloads_arrive_as_they_were_signed(project: Project) -> None:
    project.trigger('{"b": 1.50, "a": "Zoë 🚀 \\"quoted\\" \\u0001", "c": [1e3, -0.0]}')
    ((status, answer),) = project.answers()
    assert (status, answer["outcome"]) == (200, "succeeded"), answer


def test_a_request_that_was_changed_on_its_way_is_refused(project: Project) -> None:
    project.trigger()
    (request,) = requests(project.setup.database)
    changed = replace(request, body=request.body.replace(b"acme", b"evil"))
    assert changed.send().status_code == 401
    assert project.setup.runs() == []


def test_the_scheduled_tick_runs_what_is_due(project: Project) -> None:
    project.setup.database.execute(
        "select jobs.enqueue('globex', %s, '{}', key => 'one', allow_unregistered => true)", TYPE
    )
    run_scheduled(project.setup.database, "due jobs")
    ((status, answer),) = project.answers()
    assert (status, answer["succeeded"]) == (200, 1)
    assert project.setup.reports() == ["globex"]


def test_pg_net_waits_longer_than_the_tick_may_take(project: Project) -> None:
    run_scheduled(project.setup.database, "due jobs")
    (request,) = requests(project.setup.database)
    ((waits,),) = project.setup.database.execute("select timeout_milliseconds / 1000.0 from net.http_request_queue")
    assert json.loads(request.body)["budget"] + 5 <= float(str(waits))


def test_pg_crons_expressions_are_valid(project: Project) -> None:
    for (expression,) in project.setup.database.execute("select schedule from cron.job"):
        parse_cron(expression)


def test_the_secret_is_neither_in_a_scheduled_command_nor_in_a_request(project: Project) -> None:
    project.trigger()
    run_scheduled(project.setup.database, "nightly report of acme")
    rows = project.setup.database.execute(
        "select command from cron.job union all select headers::text || encode(body, 'escape') from net.http_request_queue"
    )
    assert len(rows) == 4
    assert SECRET.removeprefix("whsec_") not in str(rows)


def test_the_secret_is_not_in_the_log_of_a_server_that_logs_every_statement(project: Project) -> None:
    database = project.setup.database
    log = database.server.cluster.home / "log"
    before = log.stat().st_size
    with database.connect() as connection:
        connection.execute("set log_statement = 'all'")
        connection.execute("set log_min_duration_statement = 0")
        connection.execute("set log_min_messages = 'debug1'")
        connection.execute("select scheduler.trigger_job('acme', %s, %s)", (TYPE, TICK))
    with log.open() as lines:
        lines.seek(before)
        said = lines.read()
    assert "scheduler.trigger_job" in said
    assert SECRET.removeprefix("whsec_") not in said


def test_without_the_secret_it_says_so_and_sends_nothing(project: Project) -> None:
    with project.setup.database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from vault.decrypted_secrets where name = 'jobs_secret'")
        with pytest.raises(psycopg.errors.RaiseException, match="jobs_secret"), connection.transaction():
            connection.execute("select scheduler.call_jobs('/tick', '{}')")
        assert connection.execute("select from net.http_request_queue").fetchall() == []


def test_a_role_that_was_given_nothing_may_not_call(project: Project) -> None:
    with project.setup.database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("create role visitor")
        connection.execute("set local role visitor")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema scheduler"), connection.transaction():
            connection.execute("select scheduler.call_jobs('/trigger', '{}')")
