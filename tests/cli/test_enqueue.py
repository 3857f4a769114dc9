"""`jobs-exec enqueue TYPE`: what is stored, what is refused, and waiting for the end."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from command import NOBODY, Shell

from jobs_exec.contracts import Capability
from jobs_exec.job import Action, JobState, Settlement


def test_a_job_is_stored_as_the_options_say(shell: Shell) -> None:
    options = ["--key", "k", "--priority", "2", "--max-attempts", "9", "--at", "2040-01-31T08:00:00Z"]
    result = shell("enqueue", "work", "--org", "acme", "--data", '{"n": 1}', *options)
    assert result.exit_code == 0
    row = shell.backend.tables.queue[UUID(result.stdout.strip())]
    assert (row.job.org_id, row.job.type, row.job.payload) == ("acme", "work", '{"n":1}')
    assert (row.job.priority, row.job.max_attempts, row.state) == (2, 9, JobState.SCHEDULED)
    assert row.run_at.isoformat() == "2040-01-31T08:00:00+00:00"
    assert result.stderr == f"created {row.job.id}\n"


def test_what_is_kept_in_memory_alone_is_said_to_be_gone(shell: Shell) -> None:
    shell.backend.name = "memory"
    result = shell("enqueue", "work", "--org", "acme")
    assert result.exit_code == 0
    assert "warning: the memory backend keeps nothing after this command" in result.stderr


def test_what_would_be_passed_in_python_is_named_as_it_is_passed_here(shell: Shell) -> None:
    unknown = shell("enqueue", "nobody", "--org", "acme").stderr
    assert "--allow-unregistered" in unknown
    assert "=True" not in unknown
    assert """pass an object such as {"id": 1}""" in shell("enqueue", "work", "--org", "acme", "--data", "[1]").stderr
    bulk = shell("enqueue", "--from", "-", stdin='{"orgId": "acme", "type": "nobody"}\n{"type": "work"}\n').stderr
    assert "--allow-unregistered" in bulk


def test_the_payload_may_come_from_a_file_or_from_stdin(shell: Shell) -> None:
    Path("data.json").write_text('{"to": "a@example.com"}')
    from_file = shell.json("enqueue", "mail", "--org", "acme", "--data", "@data.json")
    from_stdin = shell.json("enqueue", "mail", "--org", "acme", "--data", "-", stdin='{"to": "a@example.com"}')
    assert (from_file["outcome"], from_stdin["outcome"]) == ("created", "duplicate")
    assert from_stdin["of"] == from_file["id"]


def test_a_delay_is_a_duration(shell: Shell) -> None:
    shell("enqueue", "work", "--org", "acme", "--in", "2h")
    (row,) = shell.backend.tables.queue.values()
    assert (row.run_at - row.created_at).total_seconds() == pytest.approx(7200)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["work"], "orgId: is missing; every job belongs to one org, pass --org ORG"),
        (["work", "--org", "  "], "orgId: is blank"),
        (["wrok", "--org", "acme"], "Did you mean 'work'"),
        (["work", "--org", "acme", "--data", '{"password": "hunter2"'], "data: is not JSON (line 1, column 23)"),
        (["work", "--org", "acme", "--data", "[1]"], "data: must be a JSON object"),
        (["work", "--org", "acme", "--data", '{"a": NaN}'], "data.a: is not a finite number"),
        (["mail", "--org", "acme", "--data", '{"from": "hunter2"}'], "data.to: "),
        (["work", "--org", "acme", "--at", "2040-01-31T08:00:00"], "run_at: must be a time with an offset"),
        (["work", "--org", "acme", "--at", "2040-01-31T08:00:00Z", "--in", "5s"], "delay: is given together"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_one_clear_error(shell: Shell, arguments: list[str], problem: str) -> None:
    result = shell("enqueue", *arguments)
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.startswith("jobs-exec: ")
    assert problem in result.stderr
    assert "hunter2" not in result.stderr
    assert shell.backend.tables.queue == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["work", "--from", "-"],
        ["work", "--org", "acme", "--chunk", "5"],
        ["--from", "-", "--wait"],
        ["work", "--org", "acme", "--timeout", "5s"],
        ["work", "--org", "acme", "--in", "soon"],
        ["work", "--org", "acme", "--data", "@nowhere.json"],
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(shell: Shell, arguments: list[str]) -> None:
    assert shell("enqueue", *arguments).exit_code == 2
    assert shell.backend.tables.queue == {}


def test_an_unregistered_type_is_taken_when_it_is_allowed(shell: Shell) -> None:
    assert shell.json("enqueue", "later", "--org", "acme", "--allow-unregistered")["outcome"] == "created"


def test_a_repetition_is_said_to_be_one(shell: Shell) -> None:
    first = shell.enqueue("acme")
    result = shell("enqueue", "work", "--org", "acme", "--data", '{"n": 1}')
    assert result.stdout == f"{first}\n"
    assert result.stderr == f"duplicate of {first} (ready)\n"


def test_waiting_prints_the_result_of_a_success(shell: Shell) -> None:
    shell.backend.ending = Settlement(NOBODY, Action.SUCCEED, '{"sum": 3}')
    result = shell("enqueue", "work", "--org", "acme", "--wait")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"sum": 3}
    assert "succeeded after 1 attempt(s)" in result.stderr


def test_waiting_for_a_job_that_ends_dead_exits_1(shell: Shell) -> None:
    shell.backend.ending = Settlement(NOBODY, Action.DEAD, error="no", reason="failed")
    printed = shell.json("enqueue", "work", "--org", "acme", "--wait", code=1)
    assert (printed["outcome"], printed["job"]["status"], printed["job"]["reason"]) == ("created", "dead", "failed")


def test_waiting_for_what_has_succeeded_before_answers_with_its_result(shell: Shell) -> None:
    first = shell.enqueue("acme")
    shell.end_all(result='{"sum": 4}')
    printed = shell.json("enqueue", "work", "--org", "acme", "--data", '{"n": 1}', "--wait")
    assert (printed["of"], printed["job"]["result"]) == (str(first), {"sum": 4})


def test_waiting_ends_at_its_timeout_and_the_job_goes_on(shell: Shell) -> None:
    result = shell("enqueue", "work", "--org", "acme", "--wait", "--timeout", "0.01s")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has not ended yet" in result.stderr
    assert len(shell.backend.tables.queue) == 1


def test_nothing_is_enqueued_when_the_end_cannot_be_seen(shell: Shell) -> None:
    shell.backend.capabilities = shell.backend.capabilities - {Capability.INSPECT}
    result = shell("enqueue", "work", "--org", "acme", "--wait")
    assert result.exit_code == 6
    assert "no capability 'inspect'" in result.stderr
    assert shell.backend.tables.queue == {}


def test_backend_and_modules_become_settings_of_the_command_line(shell: Shell) -> None:
    shell("enqueue", "work", "--org", "acme", "--backend", "other", "--import", "app.jobs", "--import", "app.more")
    assert shell.overrides == [{"JOB_QUEUE_BACKEND": "other", "JOB_MODULES": "app.jobs,app.more"}]
