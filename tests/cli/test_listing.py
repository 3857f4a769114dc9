"""`list`, `show`, `orgs`, `types`, `executors`: rows for people, JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from command import Shell

from jobs_exec.cli.output import distance
from jobs_exec.job import Action


def test_jobs_are_listed_newest_first_and_continued_below_the_last(shell: Shell) -> None:
    ids = [str(shell.enqueue("acme", number)) for number in range(5)]
    first = shell.json("list", "--limit", "3")
    rest = shell.json("list", "--before", first[-1]["id"])
    assert [job["id"] for job in first + rest] == ids[::-1]
    assert first[0]["status"] == "ready"
    assert "payload" not in first[0]


def test_jobs_are_filtered(shell: Shell) -> None:
    dead = shell.enqueue("acme", 1)
    shell.end_all(Action.DEAD, error="no")
    shell.enqueue("acme", 2)
    shell.enqueue("emca", 1, "each")

    def listed(*where: str) -> int:
        return len(shell.json("list", *where))

    assert [job["id"] for job in shell.json("list", "--status", "dead")] == [str(dead)]
    assert (listed("--org", "acme"), listed("--type", "each"), listed("--queue", "other")) == (2, 1, 0)


def test_a_listing_for_people_keeps_one_line_a_job_in_a_pipe(shell: Shell) -> None:
    job_id = shell.enqueue("[red]o[/nobody]\u202f" + "x" * 200)
    lines = shell("list").stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].split()[:2] == ["id", "org_id"]
    assert lines[1].startswith(f"{job_id}  [red]o[/nobody]")
    assert "0/5" in lines[1]


def test_no_jobs_is_said_on_stderr(shell: Shell) -> None:
    result = shell("list")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "no jobs match\n", 0)


def test_a_job_is_shown_with_payload_errors_and_result_as_json(shell: Shell) -> None:
    job_id = shell.enqueue("acme", 7)
    shell.end_all(Action.DEAD, error="no\x1b[31m way\nat all")
    shown = shell.json("show", str(job_id))
    assert (shown["status"], shown["payload"], shown["attempts"]) == ("dead", {"n": 7}, 1)
    assert shown["errors"][0]["error"] == "no\x1b[31m way\nat all"


def test_a_job_is_shown_to_people_one_field_a_line(shell: Shell) -> None:
    job_id = shell("enqueue", "work", "--org", "acme", "--priority", "0", "--data", '{"n": "ü"}').stdout.strip()
    lines = [line.split(maxsplit=1) for line in shell("show", job_id).stdout.splitlines()]
    assert ["priority", "0"] in lines
    assert ["attempts", "0"] in lines
    assert ["payload", "{"] in lines
    assert ['"n":', '"ü"'] in lines
    assert not {"suspect", "result", "errors"} & {line[0] for line in lines}


def test_what_a_tenant_wrote_cannot_drive_the_terminal(shell: Shell) -> None:
    job_id = shell.enqueue("acme", 7)
    shell.end_all(Action.DEAD, error="no\x1b[31m way\nat all")
    text = shell("show", str(job_id)).stdout
    assert "\x1b" not in text
    assert "no\\x1b[31m way" in text
    assert "  at all" in text


def test_a_result_that_is_not_json_is_shown_as_the_text_it_is(shell: Shell) -> None:
    job_id = shell.enqueue("acme")
    shell.end_all(result='{"a": 1e5000}')
    assert shell.json("show", str(job_id))["result"] == '{"a": 1e5000}'


def test_a_failed_job_says_why_in_its_line_whether_it_waits_or_is_dead(shell: Shell) -> None:
    shell.enqueue("acme", 1)
    shell.end_all(Action.RETRY, error="TimeoutError: no answer\n  at app.py:3")
    assert "failed: TimeoutError" in shell("list", "--status", "scheduled").stdout
    assert shell.json("list")[0]["last_error"] == "TimeoutError"
    shell.enqueue("acme", 2)
    shell.end_all(Action.DEAD, error="KeyError: 'address of Ada'")
    (line,) = shell("list", "--status", "dead").stdout.splitlines()[1:]
    assert line.rstrip().endswith("failed: KeyError")
    assert "no answer" not in shell("list").stdout + shell("list", "--json").stdout


def test_a_job_that_succeeded_at_last_says_nothing_of_what_went_before(shell: Shell) -> None:
    job_id = shell.enqueue("acme", 1)
    shell.end_all(Action.DEAD, error="no")
    shell("retry", str(job_id))
    shell.end_all()
    (line,) = shell("list", "--status", "succeeded").stdout.splitlines()[1:]
    assert line.rstrip().endswith("-")


def test_a_job_is_shown_by_the_beginning_of_its_id(shell: Shell) -> None:
    job_id = shell.enqueue("acme", 1)
    assert shell.json("show", str(job_id)[:-3])["id"] == str(job_id)
    assert shell.json("show", job_id.hex[:31])["id"] == str(job_id)
    other = shell.enqueue("acme", 2)
    several = shell("show", str(job_id)[:8])
    assert several.exit_code == 2
    # In either order: both may have been made in one millisecond.
    assert all(str(each) in several.stderr for each in (other, job_id))
    assert "do; pass more of it" in several.stderr
    assert shell("show", "00000000-0").exit_code == 7
    short = shell("show", str(job_id)[:6])
    assert (short.exit_code, "at least its first 8 digits" in short.stderr) == (2, True)


def test_an_id_is_found_whatever_the_digits_are_that_were_left_out(shell: Shell) -> None:
    highest = next(made for made in (shell.enqueue("acme", n) for n in range(1000)) if made.hex[-1] == "f")
    assert shell.json("show", highest.hex[:31])["id"] == str(highest)


def test_a_job_that_is_not_there_is_not_found(shell: Shell) -> None:
    result = shell("show", str(uuid4()))
    assert (result.exit_code, result.stdout) == (7, "")
    assert "ids come from receipts" in result.stderr
    assert shell("show", "nonsense").exit_code == 2


def test_orgs_types_and_executors_are_counted(shell: Shell) -> None:
    shell.enqueue("acme", 1)
    shell.end_all(Action.DEAD, error="no")
    shell.enqueue("acme", 2)
    (org,) = shell.json("orgs")
    assert (org["org_id"], org["ready"], org["dead"]) == ("acme", 1, 1)
    types = {row["type"]: row for row in shell.json("types")}
    assert (types["work"]["ready"], types["work"]["executors"], types["work"]["identity"]) == (1, 0, "payload")
    assert "no live executor carries it" in shell("types").stdout
    assert "acme" in shell("orgs").stdout
    assert shell.json("executors") == []
    assert shell("executors").stderr == "no executor is running\n"


def test_json_is_printed_with_times_that_programs_read(shell: Shell) -> None:
    shell.enqueue("acme")
    (job,) = json.loads(shell("list", "--json").stdout)
    assert "T" in job["created_at"]
    assert job["created_at"].endswith("+00:00")


def test_times_for_people_are_distances_in_the_largest_unit() -> None:
    now = datetime.now(UTC)
    assert distance(now + timedelta(days=3, seconds=5)) == "in 3d"
    assert distance(now + timedelta(hours=2, seconds=5)) == "in 2h"
    assert distance(now - timedelta(minutes=5, seconds=1)) == "5m ago"
    assert distance(now - timedelta(seconds=7)) == "7s ago"
    assert distance(None) is None
