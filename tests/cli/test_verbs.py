"""`retry` and `cancel`: every id is answered, many are asked about first."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from command import Shell

from jobs_exec.cli import verbs
from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import Action


def dead(shell: Shell, count: int, org: str = "acme") -> list[UUID]:
    ids = [shell.enqueue(org, number) for number in range(count)]
    shell.end_all(Action.DEAD, error="no")
    return ids


def test_a_dead_job_goes_back_into_the_queue_under_its_id(shell: Shell) -> None:
    (job_id,) = dead(shell, 1)
    assert shell.json("retry", str(job_id)) == [{"id": str(job_id), "outcome": "redriven"}]
    shown = shell.json("show", str(job_id))
    assert (shown["status"], shown["attempts"], len(shown["errors"])) == ("ready", 0, 1)


def test_what_cannot_be_retried_is_said_for_each_id(shell: Shell) -> None:
    done = shell.enqueue("acme", 100)
    shell.end_all()
    live = shell.enqueue("acme", 101)
    printed = shell.json("retry", str(done), str(live), code=1)
    assert [row["outcome"] for row in printed] == ["already_succeeded", "already_live"]
    assert shell.json("retry", str(uuid4()), str(live), code=7)[0]["outcome"] == "not_found"


def test_an_outcome_that_was_not_asked_for_is_explained_once(shell: Shell) -> None:
    live = [shell.enqueue("acme", number) for number in range(2)]
    result = shell("retry", *map(str, live))
    assert result.stdout.count("already_live") == 2
    assert result.stderr.count("already_live: the job, or one that is the same piece of work, is queued") == 1


def test_dead_jobs_are_counted_without_being_touched(shell: Shell) -> None:
    dead(shell, 3)
    dead(shell, 2, org="emca")
    assert shell.json("retry", "--dead", "--dry-run") == {"matching": 5}
    assert shell.json("retry", "--dead", "--org", "emca", "--dry-run") == {"matching": 2}
    assert len(shell.json("list", "--status", "dead")) == 5


def test_all_dead_jobs_of_an_org_are_retried_page_by_page(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "PAGE", 2)
    dead(shell, 5)
    dead(shell, 1, org="emca")
    printed = shell.json("retry", "--dead", "--org", "acme", "--yes")
    assert (printed["matching"], printed["redriven"]) == (5, 5)
    assert [job["org_id"] for job in shell.json("list", "--status", "dead")] == ["emca"]


def test_many_are_not_retried_without_a_yes_where_nobody_can_be_asked(shell: Shell) -> None:
    dead(shell, 2)
    result = shell("retry", "--dead")
    assert result.exit_code == 2
    assert "Retry 2 dead job(s)?" in result.stderr
    assert "--yes" in result.stderr
    assert len(shell.json("list", "--status", "dead")) == 2


def test_no_dead_job_is_nothing_to_ask_about(shell: Shell) -> None:
    result = shell("retry", "--dead")
    assert (result.exit_code, result.stderr) == (0, "no dead job matches\n")


@pytest.mark.parametrize("arguments", [[], ["--dead", str(UUID(int=1))], ["--org", "acme", str(UUID(int=1))]])
def test_ids_and_filters_do_not_go_together(shell: Shell, arguments: list[str]) -> None:
    assert shell("retry", *arguments).exit_code == 2


def test_queued_jobs_are_cancelled_with_a_yes(shell: Shell) -> None:
    job_id = shell.enqueue("acme")
    assert shell("cancel", str(job_id)).exit_code == 2
    assert shell.json("cancel", "--yes", str(job_id)) == [{"id": str(job_id), "outcome": "cancelled"}]
    assert shell.json("show", str(job_id))["status"] == "cancelled"
    assert shell.json("cancel", "--yes", str(job_id), code=1)[0]["outcome"] == "already_ended"


def test_a_dry_cancel_counts_where_the_jobs_stand_and_changes_nothing(shell: Shell) -> None:
    job_id, nobodys = shell.enqueue("acme"), UUID(int=7)
    counts = shell.json("cancel", "--dry-run", str(job_id), str(job_id), str(nobodys))
    assert counts == {"matching": 1, "ready": 1, "not_found": 1}
    assert shell("cancel", "--dry-run", str(nobodys)).stdout == "1 not_found\n"
    assert shell.json("show", str(job_id))["status"] == "ready"


def test_an_unreachable_backend_is_one_sentence_without_its_password(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise BackendUnavailable("memory", "cannot connect to postgresql://app:hunter2@db/app")

    monkeypatch.setattr(shell.backend, "open", refuse)
    result = shell("cancel", "--yes", str(uuid4()))
    assert result.exit_code == 3
    assert result.stderr == (
        "jobs-exec: the 'memory' backend is unavailable: cannot connect to postgresql://app:********@db/app\n"
    )


def test_an_error_nobody_foresaw_keeps_the_password_to_itself(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise RuntimeError("host=db password=hunter2 is odd")

    monkeypatch.setattr(shell.backend, "open", fail)
    result = shell("list")
    assert result.exit_code == 1
    assert "RuntimeError: host=db password=******** is odd" in result.stderr
    assert "hunter2" not in result.stderr
