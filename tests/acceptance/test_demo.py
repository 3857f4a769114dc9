"""`jobs-exec demo` as a newcomer runs it: real Postgres, real HTTP, three counts; and a claim that is not fair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import psycopg
import pytest

from jobs_exec_table.demo.journey import Journey
from jobs_exec_table.demo.scenario import Scenario
from jobs_exec_table.demo.verdict import mismatches

SCRIPT = Path(sys.executable).with_name("jobs-exec")
PATIENCE = 120.0

FIFO = """
    create or replace function jobs.jobs_claim_v1(
        p_executor uuid, p_queue text, p_types text[], p_limit integer, p_max_bytes bigint, p_cursor text,
        p_org_slots integer, p_busy_orgs text[], p_busy integer[], p_retention double precision
    ) returns setof jobs.claim_row_v1
    language plpgsql volatile
    as $$
    declare
        v_ids uuid[];
        v_answer jobs.claim_row_v1;
    begin
        v_ids := array(
            select q.id from jobs.jobs_queue q
            where q.queue = p_queue and q.state = 'ready' and q.type = any(p_types)
            order by q.seq limit p_limit for update skip locked);
        v_answer.kind := 'position';
        v_answer.org_id := '';
        v_answer.payload := '[]';
        v_answer.suspect := false;
        v_answer.status := case when cardinality(v_ids) = p_limit then 'walked' else 'empty' end;
        return next v_answer;
        return query select * from jobs.claim_start(p_executor, v_ids, p_retention);
    end
    $$
"""


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), **settings}


def test_the_three_counts_agree_whatever_the_settings_around_say(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JOB_QUEUES=default:1\nJOB_WEBHOOKS_ALLOW_PRIVATE=0\n")
    (tmp_path / "tmp").mkdir()
    hostile = {"JOB_QUEUE_BACKEND": "nonsense", "JOB_MAX_ATTEMPTS": "1", "DATABASE_URL": "postgresql://nowhere.invalid"}
    done = subprocess.run(
        [SCRIPT, "demo", "--json"],
        cwd=tmp_path,
        env=environment(tmp_path / "tmp", **hostile),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    shown = json.loads(done.stdout)
    wanted = {"succeeded": 5380, "duplicates": 50, "dead": 10, "rejected": 3, "retried": 40}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["jobs_per_second"] == pytest.approx(5390 / shown["seconds"], rel=0.01)
    assert shown["quiet_wait_p99_ms"] * 5 <= shown["noisy_wait_p99_ms"]
    assert shown["receiver"]["delivered_ids"] == 5380
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "warning" not in done.stderr.lower()


def test_on_a_terminal_there_are_progress_a_table_the_refusals_and_what_to_try_next(tmp_path: Path) -> None:
    code, shown = on_a_terminal([str(SCRIPT), "demo"], tmp_path, environment(tmp_path, TERM="xterm", COLUMNS="110"))
    assert code == 0, shown
    assert "delivering" in shown
    for row in ("noisy", "broken", "busy", "quiet (37 orgs)"):
        assert row in shown
    assert shown.count("refused: orgId: ") == 2
    assert "refused: orgId: is blank; every job belongs to one org, pass its id (2 times)" in shown
    assert "25 repeats of a job that was queued, 25 of one that had run" in shown
    assert "What to try next" in shown


def test_a_claim_in_order_of_arrival_fails_the_check_of_fairness_and_nothing_else() -> None:
    outcome = Journey(Scenario(), prepare=executing(FIFO)).run()
    (problem,) = mismatches(Scenario().expected, outcome)
    assert problem.startswith("fairness: the other orgs waited")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_stopped_leaves_no_server_and_no_folder_behind(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [SCRIPT, "demo", "--jobs", "200000"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    guard = Timer(PATIENCE, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        assert b"starting PostgreSQL" in process.stderr.readline()
        until(process, lambda: list(tmp_path.glob("*/.jobs/postgres/data/postmaster.pid")) != [])
        process.send_signal(number)
        _, said = process.communicate()
        assert process.returncode == code, said.decode()
    finally:
        guard.cancel()
        process.kill()
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in command_lines()


# --- helpers ---------------------------------------------------------------------------------------------------


def executing(statement: Any) -> Callable[[str], None]:
    def execute(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(statement)

    return execute


def until(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, "the demo ended by itself"
        time.sleep(0.01)


def command_lines() -> str:
    return "\n".join(
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )


def on_a_terminal(command: list[str], folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    ours, theirs = os.openpty()
    process = subprocess.Popen(command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    guard = Timer(PATIENCE, process.kill)
    guard.start()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        shown = b"".join(iter(lambda: _read(terminal.fileno()), b""))
    code = process.wait()
    guard.cancel()
    return code, shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""
