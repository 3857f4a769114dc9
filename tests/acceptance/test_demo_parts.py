"""The parts of the demonstration, each alone: the numbers, the receiver, the comparison, what is shown."""

from __future__ import annotations

import base64
import http.client
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from jobs_exec_table.cli.demo import demo
from jobs_exec_table.demo import report, surroundings
from jobs_exec_table.demo.receiver import Connection, Judge
from jobs_exec_table.demo.receiving import receiver_process
from jobs_exec_table.demo.scenario import Scenario, ScenarioError, payload
from jobs_exec_table.demo.verdict import Group, Ledger, Outcome, Receipts, Received, mismatches

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()

# --- numbers ---------------------------------------------------------------------------------------------------


def test_the_usual_numbers_are_those_of_the_description() -> None:
    scenario = Scenario()
    assert (scenario.noisy, scenario.others, len(scenario.quiet_orgs)) == (5000, 390, 37)
    expected = scenario.expected
    assert (expected.created, expected.duplicates, expected.refused) == (5390, 50, 3)
    assert (expected.succeeded, expected.dead, expected.failures, expected.snoozes) == (5380, 10, 50, 10)


@pytest.mark.parametrize(("jobs", "orgs"), [(330, 4), (5390, 40), (11 * 990, 100)])
def test_the_noisy_org_may_just_have_ten_times_the_rest(jobs: int, orgs: int) -> None:
    scenario = Scenario(jobs, orgs)
    assert sum(map(scenario.count, ["noisy", *scenario.small_orgs])) == jobs
    assert len({*scenario.repeats_of_queued(), *scenario.repeats_of_done()}) == 50


@pytest.mark.parametrize(("jobs", "orgs"), [(329, 4), (5390, 60), (100, 3), (0, 40), (-1, 4), (1000, 0)])
def test_numbers_that_make_no_demonstration_are_refused(jobs: int, orgs: int) -> None:
    with pytest.raises(ScenarioError):
        Scenario(jobs, orgs)


def test_the_command_answers_wrong_numbers_as_a_usage_error_that_says_what_is_needed() -> None:
    result = CliRunner().invoke(demo, ["--jobs", "1000", "--orgs", "40"])
    assert result.exit_code == 2
    assert "at least 4290 jobs are needed" in " ".join(result.stderr.split())


def test_without_the_webhooks_plugin_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "find_spec", lambda _name: None)
    with pytest.raises(surroundings.DemoIncomplete, match=r"pip install 'jobs-exec-table\[demo\]'"):
        CliRunner().invoke(demo, [], catch_exceptions=False)


def test_settings_of_the_environment_are_out_of_sight_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_QUEUES", "other:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere")
    before = os.getcwd()
    with surroundings.empty_folder() as folder:
        assert not {"JOB_QUEUES", "DATABASE_URL"} & set(os.environ)
        assert os.getcwd() == str(folder.resolve())
    assert os.environ["JOB_QUEUES"] == "other:1"
    assert os.getcwd() == before
    assert not folder.exists()


# --- the receiver ----------------------------------------------------------------------------------------------


def headers(body: bytes, message_id: str = "job_1", secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


def posted(connection: http.client.HTTPConnection, org_id: str, message_id: str, secret: str = SECRET) -> Any:
    connection.request("POST", f"/hooks/{org_id}", b"{}", headers(b"{}", message_id, secret))
    response = connection.getresponse()
    response.read()
    return response


async def test_the_receiver_process_answers_by_org_and_counts_by_id() -> None:
    async with receiver_process(SECRET) as receiver:
        connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc)
        assert [posted(connection, "quiet-01", each).status for each in ("a", "b", "b")] == [200, 200, 200]
        assert [posted(connection, "broken", each).status for each in ("c", "c")] == [500, 500]
        first, again = posted(connection, "busy", "d"), posted(connection, "busy", "d")
        assert (first.status, first.getheader("retry-after"), again.status) == (503, "1", 200)
        other = "whsec_" + base64.b64encode(b"x" * 32).decode()
        assert posted(connection, "quiet-01", "e", other).status == 401
        counted = await receiver.counts()
        connection.close()
    assert counted == Received(delivered_ids=3, answered_500=2, failed_ids=1, answered_503=1, refused=1)
    assert receiver._process.returncode == 0


class Wire:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def connection() -> tuple[Connection, Wire]:
    made, wire = Connection(Judge(SECRET)), Wire()
    made._transport = wire  # type: ignore[assignment]
    return made, wire


def request(message_id: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers(b"{}", message_id).items()]
    return "\r\n".join(["POST /hooks/quiet-01 HTTP/1.1", "content-length: 2", *lines, "", "{}"]).encode()


def test_requests_in_any_pieces_are_answered_one_by_one() -> None:
    made, wire = connection()
    stream = request("a") + request("b")
    for byte in stream:
        made.data_received(bytes([byte]))
    assert wire.written.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    "noise", [b"\r\n\r\n", b"x" * 70_000, b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"\xff\xfe\r\n\r\n"]
)
def test_what_is_no_http_ends_its_connection_only(noise: bytes) -> None:
    made, wire = connection()
    made.data_received(noise)
    made.data_received(request("late"))
    assert wire.written.startswith(b"HTTP/1.1 400")
    assert b"200" not in wire.written
    assert wire.closed


# --- the comparison --------------------------------------------------------------------------------------------

RECEIPTS = Receipts(created=5390, of_queued=25, of_done=25, refusals=("no org",) * 3, by_group={"noisy": 50})
LEDGER = Ledger(
    groups=(Group("noisy", 1, 5000, 5000, 0, 900.0, 2000.0), Group("quiet", 37, 370, 370, 0, 90.0, 300.0)),
    succeeded=5380,
    dead=10,
    dead_in_full=10,
    other_runs=0,
    queued=0,
    retried=40,
    seconds=2.0,
    noisy_wait_p99_ms=2000.0,
    quiet_wait_p99_ms=400.0,
)
RECEIVED = Received(delivered_ids=5380, answered_500=50, failed_ids=10, answered_503=10, refused=0)


def problems(receipts: Receipts = RECEIPTS, ledger: Ledger = LEDGER, received: Received = RECEIVED) -> list[str]:
    return mismatches(Scenario().expected, Outcome(receipts, ledger, received))


def test_three_counts_as_expected_leave_nothing_to_say() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    "changed",
    [
        *({"receipts": replace(RECEIPTS, **{name: 24})} for name in ("created", "of_queued", "of_done")),
        {"receipts": replace(RECEIPTS, refusals=("no org",) * 2)},
        *(
            {"ledger": replace(LEDGER, **{name: getattr(LEDGER, name) + 1})}
            for name in ("succeeded", "dead", "dead_in_full", "other_runs", "queued")
        ),
        *(
            {"received": replace(RECEIVED, **{name: getattr(RECEIVED, name) - 1})}
            for name in ("delivered_ids", "answered_500", "failed_ids", "answered_503", "refused")
        ),
        {"ledger": replace(LEDGER, quiet_wait_p99_ms=401.0)},
        {"ledger": replace(LEDGER, noisy_wait_p99_ms=0.0)},
    ],
    ids=str,
)
def test_a_single_figure_that_is_off_is_said(changed: dict[str, Any]) -> None:
    assert len(problems(**changed)) == 1


def test_the_object_has_the_promised_figures() -> None:
    shown = report.as_object(Outcome(RECEIPTS, LEDGER, RECEIVED), [])
    wanted = {
        "succeeded": 5380,
        "duplicates": 50,
        "dead": 10,
        "rejected": 3,
        "retried": 40,
        "seconds": 2.0,
        "jobs_per_second": 2695.0,
        "noisy_wait_p99_ms": 2000.0,
        "quiet_wait_p99_ms": 400.0,
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_the_report_shows_refusals_both_kinds_of_duplicates_and_what_is_next() -> None:
    text = "\n".join(report.lines(Scenario(), Outcome(RECEIPTS, LEDGER, RECEIVED), []))
    assert text.count("refused: no org (3 times)") == 1
    assert "25 repeats of a job that was queued, 25 of one that had run" in text
    assert "jobs-exec dev" in text


def test_a_report_with_a_problem_says_it_instead_of_praise() -> None:
    text = "\n".join(report.lines(Scenario(), Outcome(RECEIPTS, LEDGER, RECEIVED), ["tables, other runs: 1"]))
    assert "NOT AS EXPECTED: tables, other runs: 1" in text
    assert "as expected:" not in text.replace("NOT AS EXPECTED:", "")


def test_the_same_job_has_the_same_payload_and_every_other_another() -> None:
    made = [str(payload("http://x", org_id, number)) for org_id in ("noisy", "busy") for number in (1, 2)]
    assert len(set(made)) == 4
    assert str(payload("http://x", "noisy", 1)) == made[0]
