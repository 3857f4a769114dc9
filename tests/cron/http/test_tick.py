"""The serverless driver: a call claims and runs what is due, for a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from databases import Database
from serving import Served, serving
from working import RAW


def insert(database: Database, type: str, payload: str = "{}", org: str = "acme") -> None:
    database.execute(RAW, org, type, payload)


def test_a_tick_runs_what_is_ready_and_counts_it(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated) as served:
        for number in range(5):
            insert(migrated, "echo", f'{{"n": {number}}}')
        answer = served.post({}, "/tick")
        assert answer.status_code == 200
        assert answer.json()["succeeded"] == 5
        assert served.rows()[:2] == (0, 5)
        assert served.with_token({"budget": 5}, "/tick").json()["claimed"] == 0


def test_a_type_that_may_not_be_triggered_is_run_by_a_tick(migrated: Database, folder: Path) -> None:
    """The list is about what callers bring; what is in the queue was put there by the application."""
    with serving(folder, migrated) as served:
        insert(migrated, "kept")
        assert served.post({"budget": 5}, "/tick").json()["succeeded"] == 1


def test_one_tick_is_under_way_at_a_time_and_gives_back_what_its_budget_does_not_hold(
    migrated: Database, folder: Path
) -> None:
    with serving(folder, migrated, JOB_CRON_TICK_SECONDS="4") as served:
        insert(migrated, "slow", '{"n": 1}')
        answers = []
        first = threading.Thread(target=lambda: answers.append(served.post({"budget": 60}, "/tick")))
        first.start()
        served.running.until((folder / "started-1").exists, "the start of the job")
        second = served.post({}, "/tick")
        assert (second.status_code, second.json()["error"]) == (409, "in_flight")
        first.join()
        assert answers[0].status_code == 200
        assert answers[0].json()["returned"] == 1
        assert migrated.execute("select attempts from jobs.jobs_queue") == [(0,)]
        (folder / "release").touch()
        assert served.post({}, "/tick").json()["succeeded"] == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_need_no_proof_and_tell_nothing(served: Served, path: str) -> None:
    answer = served.get(path)
    assert answer.status_code == 200
    assert set(answer.json()) == {"status"}
