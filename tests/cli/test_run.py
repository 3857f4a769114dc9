"""`jobs-exec run` as a process: how it ends, what signals do, how it shows that it lives."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from processes import Commands, commands


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    return commands(tmp_path)


def test_a_drain_runs_everything_and_reports_one_object(command: Commands) -> None:
    done = command.call("run", "--drain", "--json", PROBE_JOBS="20", PROBE_TYPE="quick")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["exit_code"], report["claimed"], report["succeeded"], report["dead"]) == (0, 20, 20, 0)


def test_once_claims_once(command: Commands) -> None:
    options = ["run", "--once", "--queues", "default:5", "--json"]
    done = command.call(*options, PROBE_JOBS="20", PROBE_TYPE="quick", JOB_ORG_MAX_SHARE="1")
    assert (done.returncode, json.loads(done.stdout)["succeeded"]) == (0, 5)


def test_the_report_for_people_names_what_happened(command: Commands) -> None:
    done = command.call("run", "--drain", PROBE_JOBS="2", PROBE_TYPE="failing")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.search(r"^2 dead in \d", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_forgotten_modules_are_said_at_the_start_and_with_what_is_left(command: Commands) -> None:
    done = command.call("run", "--drain", PROBE_JOBS="2", PROBE_TYPE="greet", JOB_MODULES="")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no job type is registered" in done.stderr
    assert re.search(r"^no jobs in \d\.\d s; 2 held: waiting for type greet \(JOB_MODULES", done.stderr, re.MULTILINE)
    report = json.loads(command.call("run", "--drain", "--json", PROBE_JOBS="2", PROBE_TYPE="greet").stdout)
    assert report["held_types"] == {"greet": 2}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_running_jobs_finish_and_exits_0(command: Commands, number: int) -> None:
    with command.running("run", "--json", PROBE_JOBS="1", PROBE_TYPE="slow") as running:
        running.until((command.folder / "started").exists, "the handler's start")
        running.signal(number, "draining")
        (command.folder / "release").touch()
        assert running.wait() == 0
        assert json.loads(running.printed())["succeeded"] == 1


def test_the_second_signal_gives_running_jobs_back(command: Commands) -> None:
    with command.running("run", "--json", PROBE_JOBS="1", PROBE_TYPE="slow") as running:
        running.until((command.folder / "started").exists, "the handler's start")
        running.signal(signal.SIGTERM, "draining")
        running.signal(signal.SIGTERM, "aborting")
        code = running.wait()
        report = json.loads(running.printed())
        assert (report["exit_code"], report["returned"], report["succeeded"]) == (code, 1, 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_third_signal_ends_the_process_even_when_a_handler_blocks_it(
    command: Commands, number: int, code: int
) -> None:
    with command.running("run", PROBE_JOBS="1", PROBE_TYPE="deaf") as running:
        running.until((command.folder / "started").exists, "the handler's start")
        running.signal(number, "draining")
        running.signal(number, "aborting")
        running.process.send_signal(number)
        assert running.wait() == code


def test_a_port_answers_while_it_lives(command: Commands) -> None:
    with command.running("run", "--liveness", "0") as running:
        running.until(lambda: "liveness on" in running.said(), "the liveness port")
        url = re.findall(r"http://127\.0\.0\.1:\d+/", running.said())[0]
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            assert (answer.status, answer.read()) == (200, b"alive\n")
        running.signal(signal.SIGTERM, "draining")
        assert running.wait() == 0


def test_a_file_stays_fresh_while_it_lives(command: Commands) -> None:
    file = command.folder / "alive"
    with command.running("run", "--liveness", str(file)) as running:
        running.until(file.exists, "the liveness file")
        first = file.stat().st_mtime_ns
        running.until(lambda: file.stat().st_mtime_ns > first, "a second touch")
        running.signal(signal.SIGTERM, "draining")
        assert running.wait() == 0
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_a_usage_error(command: Commands) -> None:
    done = command.call("run", "--liveness", "nowhere/alive")
    assert done.returncode == 2
    assert "--liveness: cannot write nowhere/alive" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_cannot_be_imported_stops_an_executor(command: Commands) -> None:
    done = command.call("run", "--drain", "--import", "nowhere")
    assert done.returncode == 5
    assert "module nowhere of JOB_MODULES cannot be imported" in done.stderr
    tolerated = command.call("run", "--drain", "--import", "nowhere", "--tolerate-broken-plugins")
    assert tolerated.returncode == 0
    assert "warning: module nowhere" in tolerated.stderr


def test_with_a_backend_that_jobs_are_pushed_to_there_is_nothing_to_poll(command: Commands) -> None:
    done = command.call("run", "--backend", "cron", JOB_PLUGINS_ALLOW="cron")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is nothing to poll" in done.stderr
    assert "run --backend table --drain --budget 25s" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_drain_and_once_do_not_go_together(command: Commands) -> None:
    assert command.call("run", "--drain", "--once").returncode == 2


def test_a_destructive_verb_asks_on_a_terminal(command: Commands) -> None:
    job_id = "01234567-89ab-7def-8123-456789abcdef"
    code, shown = command.on_terminal("cancel", job_id, typed="n\n")
    assert code == 1
    assert "Cancel 1 job(s)? [y/N]" in shown
    code, shown = command.on_terminal("cancel", job_id, typed="y\n")
    assert code == 7
    assert "not_found" in shown


def test_on_a_terminal_long_work_shows_how_far_it_is(command: Commands) -> None:
    code, shown = command.on_terminal("run", "--drain", typed="", PROBE_JOBS="30", PROBE_TYPE="quick")
    assert code == 0
    assert "0 retried, 0 dead" in shown
    assert "executor started" in shown
    assert "30 succeeded in" in shown
    (command.folder / "jobs.ndjson").write_text('{"orgId": "acme", "type": "quick"}\n' * 3)
    code, shown = command.on_terminal("enqueue", "--from", "jobs.ndjson", typed="")
    assert code == 0
    assert "enqueueing" in shown
    assert "1 created, 2 duplicates" in shown
