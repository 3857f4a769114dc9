"""The Edge Function of the recipes under a real Deno, between pg_cron's call and the real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from edge_functions import FUNCTION, deno, serving_function
from recipes import TYPE, Setup, recipe, requests, run_scheduled, run_script, with_cron, with_supabase
from serving import SECRET

TOKEN = "a-token-that-only-the-scheduler-knows"
TICK = "2026-11-25T03:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Deployed:
    """The function, which calls the endpoint of `setup`'s application."""

    setup: Setup
    url: str

    def call(self, body: object, token: str = TOKEN) -> httpx.Response:
        return httpx.post(self.url, json=body, headers={"x-scheduler-token": token}, timeout=30)


@pytest.fixture(scope="module")
def running(installed: Setup) -> Iterator[Deployed]:
    with installed.serving() as endpoint:
        settings = {"JOBS_URL": endpoint.url, "JOBS_SECRET": SECRET, "SCHEDULER_TOKEN": TOKEN}
        with serving_function(installed.folder, settings, calls=endpoint.url) as url:
            yield Deployed(installed, url)


@pytest.fixture
def deployed(running: Deployed, setup: Setup) -> Deployed:
    """Without runs, as `setup` is."""
    return running


@pytest.mark.parametrize("check", [("check",), ("lint",), ("fmt", "--check")], ids=lambda check: check[0])
def test_deno_has_nothing_to_say_about_it(check: tuple[str, ...], tmp_path: Path) -> None:
    done = deno(tmp_path, *check, FUNCTION)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_calls_with_a_tick_run_the_job_once(deployed: Deployed) -> None:
    answers = [deployed.call({"tick": TICK}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["outcome"] for answer in answers] == ["succeeded", "duplicate"]
    assert deployed.setup.reports() == ["acme"]
    assert deployed.setup.runs() == [("acme", TYPE, "succeeded")]


def test_pg_crons_call_carries_the_tick_through_it(deployed: Deployed) -> None:
    database = deployed.setup.database
    with_supabase(database, project_url=deployed.url, anon_key="anon", scheduler_token=TOKEN)
    with_cron(database)
    run_script(database, recipe("edge_function.sql"))
    run_scheduled(database, "nightly report of acme")
    (request,) = requests(database)
    assert request.url == f"{deployed.url}/functions/v1/trigger-report"
    answer = request.send()
    assert (answer.status_code, answer.json()["outcome"]) == (200, "succeeded")
    assert deployed.setup.reports() == ["acme"]
    ((command,),) = database.execute("select command from cron.job")
    assert TOKEN not in str(command)


@pytest.mark.parametrize("token", ["", "another", TOKEN + "x"])
def test_who_does_not_know_the_token_changes_nothing(deployed: Deployed, token: str) -> None:
    assert deployed.call({"tick": TICK}, token).status_code == 401
    assert deployed.setup.runs() == []


@pytest.mark.parametrize("body", [{}, {"tick": 7}, [], None, {"tick": None}])
def test_a_call_without_a_tick_is_refused(deployed: Deployed, body: object) -> None:
    assert deployed.call(body).status_code == 400
    assert deployed.setup.runs() == []


def test_a_caller_chooses_the_tick_and_nothing_else(deployed: Deployed) -> None:
    assert deployed.call({"tick": TICK, "orgId": "globex", "type": "other"}).status_code == 200
    assert deployed.setup.runs() == [("acme", TYPE, "succeeded")]


def test_what_the_endpoint_refuses_reaches_the_caller(deployed: Deployed) -> None:
    answer = deployed.call({"tick": "yesterday"})
    assert answer.status_code == 422
    assert deployed.setup.runs() == []


def test_without_its_settings_it_says_which_is_missing(tmp_path: Path) -> None:
    done = deno(tmp_path, "run", "--no-prompt", "--allow-env", FUNCTION)
    assert done.returncode != 0
    assert "JOBS_URL is missing" in done.stderr
