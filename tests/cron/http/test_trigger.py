"""Calls of people who are known: each answer, and what it leaves in the database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from databases import Database
from serving import CANARY, OLDER_SECRET, Served, encoded, request, serving, signed


def call(type: str = "echo", org: str = "acme", data: Any = None, **more: Any) -> dict[str, Any]:
    return {"orgId": org, "type": type, "data": data or {}, **more}


@contextmanager
def in_the_background(served: Served, *bodies: Any) -> Iterator[list[httpx.Response]]:
    """Signed calls that wait for their answers while the block runs; the answers are there after it."""
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda each=body: answers.append(served.post(each))) for body in bodies]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join()


def begun(served: Served, *numbers: int) -> None:
    """Waits until the slow jobs of these numbers run."""
    paths = [served.running.folder / f"started-{number}" for number in numbers]
    served.running.until(lambda: all(path.exists() for path in paths), f"the start of {numbers}")


def test_a_signed_call_runs_its_job_and_brings_the_result(served: Served) -> None:
    answer = served.post(call(data={"n": 1}))
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "succeeded"
    assert answer.json()["result"] == {"echo": {"n": 1}, "org": "acme"}
    ((org, status),) = served.database.execute(
        "select org_id, status::text from jobs.job_runs where job_id = %s", UUID(answer.json()["job_id"])
    )
    assert (org, status) == ("acme", "succeeded")


def test_every_secret_signs_and_a_token_calls_as_well(served: Served) -> None:
    raw = encoded(call(data={"n": 2}))
    assert served.send(raw, "/trigger", signed(raw, secret=OLDER_SECRET)).json()["outcome"] == "succeeded"
    assert served.with_token(call(data={"n": 3})).json()["outcome"] == "succeeded"


def test_a_byte_identical_call_inside_the_window_is_answered_again_and_runs_nothing(served: Served) -> None:
    raw = encoded(call("each"))
    headers = signed(raw)
    first, again = served.send(raw, "/trigger", headers), served.send(raw, "/trigger", headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["outcome"] == "succeeded"
    assert again.json()["outcome"] == "duplicate"
    assert again.json()["result"] == first.json()["result"] == {"job": first.json()["job_id"]}


def test_work_of_its_own_runs_at_every_call_that_has_another_id(served: Served) -> None:
    ids = {served.post(call("each")).json()["job_id"] for _ in range(3)}
    assert len(ids) == 3


def test_work_of_its_own_needs_a_tick_or_a_key_where_the_call_has_no_id(served: Served) -> None:
    refused = served.with_token(call("each"))
    assert (refused.status_code, refused.json()["field"]) == (422, "tick")
    first, again = (served.with_token(call("each", tick="2030-01-01T00:00:00Z")) for _ in range(2))
    assert (first.json()["outcome"], again.json()["outcome"]) == ("succeeded", "duplicate")
    assert served.with_token(call("each", key="mine")).json()["outcome"] == "succeeded"


def test_the_org_is_that_of_the_verified_body_whatever_headers_say(served: Served) -> None:
    answer = served.post(call(data={"n": 4}), x_org_id="victim", org_id="victim", x_forwarded_for="10.0.0.1")
    assert answer.json()["result"]["org"] == "acme"


def test_one_org_cannot_suppress_the_same_call_of_another(served: Served) -> None:
    answers = [served.post(call(org=org, data={"n": 5})).json() for org in ("acme", "other", "acme")]
    assert [each["outcome"] for each in answers] == ["succeeded", "succeeded", "duplicate"]


def test_a_failure_with_attempts_left_says_when_to_call_again_and_an_early_call_spends_nothing(served: Served) -> None:
    body = call("failing", data={"secret": CANARY})
    first, early = served.post(body), served.post(body)
    assert (first.status_code, early.status_code) == (503, 503)
    assert int(first.headers["retry-after"]) >= 1
    assert int(early.headers["retry-after"]) >= 1
    assert (first.json()["outcome"], first.json()["attempts_left"]) == ("failed", 4)
    assert early.json()["attempts_left"] == 4
    assert CANARY not in first.text + early.text + served.said()
    assert "ValueError" not in first.text


def test_a_job_without_attempts_is_gone_and_stays_so(served: Served) -> None:
    answers = [served.post(call("dying", data={"secret": CANARY})) for _ in range(2)]
    assert [(each.status_code, each.json()["outcome"]) for each in answers] == [(410, "dead"), (410, "dead")]
    assert CANARY not in "".join(each.text for each in answers) + served.said()


def test_an_org_that_is_unknown_is_rejected_and_one_that_is_suspended_waits(migrated: Database, folder: Path) -> None:
    migrated.execute("create table orgs (id text primary key, status text not null)")
    migrated.execute("insert into orgs values ('acme', 'active'), ('late', 'suspended')")
    with serving(folder, migrated, JOB_ORG_TABLE="public.orgs") as served:
        answers = [served.post(call(org=org)) for org in ("acme", "late", "nobody")]
        assert [(each.status_code, each.json()["outcome"]) for each in answers] == [
            (200, "succeeded"),
            (503, "held"),
            (422, "rejected"),
        ]
        assert int(answers[1].headers["retry-after"]) >= 1


def test_work_that_comes_after_its_time_is_gone(served: Served) -> None:
    answer = served.post(call(data={"n": 7}, expiresAt="2020-01-01T00:00:00Z"))
    assert (answer.status_code, answer.json()["outcome"]) == (410, "expired")


def test_of_two_callers_with_one_piece_of_work_one_is_told_that_it_is_in_flight(
    migrated: Database, folder: Path
) -> None:
    with serving(folder, migrated) as served, in_the_background(served, call("slow", data={"n": 1})) as answers:
        begun(served, 1)
        second = served.post(call("slow", data={"n": 1}))
        assert (second.status_code, second.json()["outcome"]) == (409, "in_flight")
        (folder / "release").touch()
    assert answers[0].json()["outcome"] == "succeeded"


def test_beyond_its_slots_it_refuses_at_once_and_one_org_leaves_room_for_others(
    migrated: Database, folder: Path
) -> None:
    noisy = [call("slow", "noisy", {"n": n}) for n in range(4)]
    with serving(folder, migrated, JOB_CRON_CONCURRENCY="5") as served:
        with in_the_background(served, *noisy) as answers:
            begun(served, 0, 1, 2, 3)
            refused = served.post(call("slow", "noisy", {"n": 4}))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert served.post(call(org="quiet")).status_code == 200
            (folder / "release").touch()
        assert {each.status_code for each in answers} == {200}
        assert served.post(call("slow", "noisy", {"n": 4})).status_code == 200


def test_strangers_that_send_slowly_are_bounded_and_take_no_slot_from_jobs(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated, JOB_CRON_CONCURRENCY="1") as served, ExitStack() as strangers:
        head = request(b"", content_length="10")
        for _ in range(2 * 1 + 16):
            stranger = strangers.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            stranger.sendall(head)
        refused = served.post(call())
        while refused.status_code == 200:  # the last of them had not been met yet
            refused = served.post(call())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        strangers.close()
        served.running.until(lambda: served.post(call()).status_code == 200, "the place of one that hung up")


def test_a_caller_that_goes_away_changes_nothing_about_the_job(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated) as served:
        raw = encoded(call("slow", data={"n": 1}))
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                served.url + "/trigger",
                content=raw,
                headers={"content-type": "application/json", **signed(raw)},
                timeout=httpx.Timeout(10, read=0.5),
            )
        begun(served, 1)
        (folder / "release").touch()
        served.running.until(lambda: served.rows() == (0, 1, 1), "the run of a job whose caller went away")


def test_where_jobs_are_only_enqueued_the_answer_is_202_and_they_wait(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated, "--mode", "enqueue") as served:
        first, again = served.post(call(data={"n": 1})), served.post(call(data={"n": 1}))
        assert (first.status_code, again.status_code) == (202, 202)
        assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
        assert first.json()["job_id"] == again.json()["of"]
        assert served.post(call("each", delay=60)).status_code == 202
        assert served.rows()[:2] == (2, 0)


def test_where_jobs_are_only_enqueued_a_call_that_is_sent_again_makes_no_new_job_of_dead_work(
    migrated: Database, folder: Path
) -> None:
    with serving(folder, migrated, "--mode", "enqueue") as served:
        sent = encoded(call("dying"))
        headers = signed(sent)
        assert served.send(sent, "/trigger", headers).status_code == 202
        assert served.post({}, "/tick").json()["dead"] == 1
        again = served.send(sent, "/trigger", headers)
        assert (again.status_code, again.json()["outcome"]) == (410, "dead")
        assert served.rows()[0] == 0


def test_every_call_leaves_one_line_without_its_payload(served: Served) -> None:
    said = len(served.said())
    served.post(call(data={"secret": CANARY, "n": 6}))
    line = served.said()[said:]
    assert '"path": "/trigger"' in line
    assert '"status": 200' in line
    assert '"org_id": "acme"' in line
    assert CANARY not in line
