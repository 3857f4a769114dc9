"""`jobs-exec enqueue --from`: all lines are checked first; chunks say where to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command import Shell

from jobs_exec.cli import bulk
from jobs_exec.errors import BackendUnavailable, EnqueueConflict, JobsError
from jobs_exec.job import NewJob, Receipt


def envelope(number: int, **fields: Any) -> str:
    return json.dumps({"orgId": f"org-{number % 3}", "type": "work", "data": {"n": number}, **fields})


def write(*lines: str) -> str:
    Path("jobs.ndjson").write_text("\n".join(lines) + "\n")
    return "jobs.ndjson"


def failing(shell: Shell, monkeypatch: pytest.MonkeyPatch, error: JobsError, *, at: int, times: int = 1) -> list[int]:
    """Makes transactions number `at` and the following fail; returns the sizes of those that did not."""
    sizes: list[int] = []
    calls = 0
    enqueue = shell.backend.enqueue

    async def instead(jobs: Sequence[NewJob], connection: object | None = None) -> list[Receipt]:
        nonlocal calls
        calls += 1
        if at <= calls < at + times:
            raise error
        sizes.append(len(jobs))
        return await enqueue(jobs, connection)

    monkeypatch.setattr(shell.backend, "enqueue", instead)
    return sizes


def test_all_lines_are_one_transaction(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = failing(shell, monkeypatch, BackendUnavailable("memory", ""), at=99)
    printed = shell.json("enqueue", "--from", write(*map(envelope, range(20)), "", envelope(3)))
    assert sizes == [21]
    assert (printed["lines"], printed["created"], printed["duplicates"], printed["invalid"]) == (21, 20, 1, 0)
    assert len(shell.backend.tables.queue) == 20


def test_one_invalid_line_refuses_the_file_and_every_one_is_named(shell: Shell) -> None:
    lines = [
        envelope(1),
        '{"type": "work"}',
        '{"orgId": "acme", "type": "wrok"}',
        '{"orgId": "acme", "secret": "hunter2"',
        envelope(2, data={"deep": [float("nan")]}),
        envelope(3, **{"colour\x1b[31m": "red"}),
        "[" * 100_000,
        "[]",
    ]
    result = shell("enqueue", "--from", write(*lines))
    assert (result.exit_code, result.stdout) == (6, "")
    said = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in said[:-1]] == [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 8)]
    assert "orgId: is missing" in said[0]
    assert "Did you mean 'work'" in said[1]
    assert said[-1] == "7 of 8 lines are invalid; nothing was enqueued"
    assert "colour\\x1b[31m: is not a field" in said[4]
    assert "hunter2" not in result.stderr
    assert shell.backend.tables.queue == {}


def test_a_line_that_is_not_utf8_is_named(shell: Shell) -> None:
    Path("jobs.ndjson").write_bytes(envelope(1).encode() + b"\n\xff\xfe\n")
    result = shell("enqueue", "--from", "jobs.ndjson")
    assert result.exit_code == 6
    assert "line 2: line: is not UTF-8 text" in result.stderr


def test_invalid_lines_are_skipped_when_asked(shell: Shell) -> None:
    printed = shell.json("enqueue", "--from", "-", "--skip-invalid", stdin=f"{envelope(1)}\nnonsense\n{envelope(2)}\n")
    assert (printed["created"], printed["invalid"]) == (2, 1)
    assert printed["errors"][0]["line"] == 2
    assert len(shell.backend.tables.queue) == 2


def test_more_lines_than_one_transaction_takes_need_chunks(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "ONE_TRANSACTION", 3)
    result = shell("enqueue", "--from", write(*map(envelope, range(4))))
    assert result.exit_code == 2
    assert "--chunk" in result.stderr
    assert shell.backend.tables.queue == {}
    assert shell.json("enqueue", "--from", "jobs.ndjson", "--chunk", "3")["created"] == 4


def test_a_broken_off_file_goes_on_at_the_line_it_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = failing(shell, monkeypatch, BackendUnavailable("memory", "unplugged"), at=3)
    file = write(*map(envelope, range(4)), "", *map(envelope, range(4, 10)))
    stopped = shell("enqueue", "--from", file, "--chunk", "3")
    assert stopped.exit_code == 3
    assert "the lines before 8 are enqueued, go on with --resume-from 8" in stopped.stderr
    printed = shell.json("enqueue", "--from", file, "--chunk", "3", "--resume-from", "8")
    assert (printed["created"], printed["duplicates"]) == (4, 0)
    assert sizes == [3, 3, 3, 1]
    assert len(shell.backend.tables.queue) == 10


def test_a_conflict_with_another_transaction_is_tried_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(shell, monkeypatch, EnqueueConflict("40P01"), at=1, times=2)
    assert shell.json("enqueue", "--from", write(envelope(1)))["created"] == 1


def test_a_conflict_that_does_not_end_is_an_error(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(shell, monkeypatch, EnqueueConflict("40P01"), at=1, times=3)
    result = shell("enqueue", "--from", write(envelope(1)))
    assert result.exit_code == 1
    assert "40P01" in result.stderr


def test_of_very_many_invalid_lines_the_first_are_shown_and_the_rest_counted(shell: Shell) -> None:
    result = shell("enqueue", "--from", write(*["nonsense"] * 150))
    assert len(result.stderr.splitlines()) == 100 + 2
    assert "and 50 more invalid lines" in result.stderr


def test_a_dry_run_counts_and_writes_nothing(shell: Shell) -> None:
    file = write(*map(envelope, range(5)))
    result = shell("enqueue", "--from", file, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "5 valid, 0 invalid\n")
    assert shell("enqueue", "--from", write(envelope(1), "nonsense"), "--dry-run").exit_code == 6
    assert shell.backend.tables.queue == {}
