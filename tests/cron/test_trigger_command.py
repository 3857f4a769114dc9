"""`jobs-exec trigger` as crontab and CronJobs call it: exit codes, what is printed, ticks, signals, and calls elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from databases import TEMPLATE, Database, Server, fresh_database
from processes import Running
from serving import HANDLERS, PATIENCE, SCRIPT, SECRET, environment, serving

TICK = "2026-11-25T13:00:00Z"


@dataclass(frozen=True, slots=True)
class Crontab:
    """Calls the command in a folder where the handlers are."""

    folder: Path
    database: Database

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, "trigger", *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def environment(self, **settings: str) -> dict[str, str]:
        return environment(self.database, JOB_QUEUE_BACKEND="cron", JOB_CRON_TYPES="", **settings)

    def started(self, *arguments: str) -> Running:
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [SCRIPT, "trigger", *arguments], cwd=self.folder, env=self.environment(), stdout=out, stderr=err
            )
        return Running(process, self.folder)

    def jobs(self) -> list[tuple[object, ...]]:
        return self.database.execute(
            "select org_id, status::text, attempts from jobs.job_runs"
            " union all select org_id, state::text, attempts from jobs.jobs_queue"
        )


@pytest.fixture(scope="module")
def shared(postgres: Server) -> Iterator[Database]:
    with fresh_database(postgres, TEMPLATE) as made:
        yield made


@pytest.fixture
def crontab(shared: Database, tmp_path: Path) -> Crontab:
    """Tests of one server share its database; each works for orgs of its own."""
    (tmp_path / "app_jobs.py").write_text(dedent(HANDLERS))
    return Crontab(tmp_path, shared)


@pytest.fixture
def alone(migrated: Database, tmp_path: Path) -> Crontab:
    (tmp_path / "app_jobs.py").write_text(dedent(HANDLERS))
    return Crontab(tmp_path, migrated)


def test_the_result_is_printed_and_a_repetition_is_a_success_with_the_same_result(crontab: Crontab) -> None:
    first, again = (crontab("echo", "--org", "one", "--data", '{"n": 1}', "--tick", TICK) for _ in range(2))
    assert (first.returncode, json.loads(first.stdout)) == (0, {"echo": {"n": 1}, "org": "one"})
    assert first.stderr.startswith("succeeded (job ")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr.startswith("done before by ")


def test_json_holds_the_whole_answer(crontab: Crontab) -> None:
    answers = [json.loads(crontab("echo", "--org", "two", "--json").stdout) for _ in range(2)]
    assert [each["outcome"] for each in answers] == ["succeeded", "duplicate"]
    assert answers[1]["of"] == answers[0]["job_id"]
    assert "pass tick" in answers[1]["hint"]


def test_one_tick_may_be_written_in_several_ways(crontab: Crontab) -> None:
    ticks = [TICK, "2026-11-25T14:00:00+01:00", "@1795611600"]
    answers = [json.loads(crontab("each", "--org", "three", "--tick", tick, "--json").stdout) for tick in ticks]
    assert [each["outcome"] for each in answers] == ["succeeded", "duplicate", "duplicate"]


def test_now_is_a_tick_of_a_whole_minute(crontab: Crontab) -> None:
    first = json.loads(crontab("each", "--org", "four", "--tick", "now", "--json").stdout)
    ((made,),) = crontab.database.execute("select created_at from jobs.job_runs where org_id = 'four'")
    assert isinstance(made, datetime)
    minute = made.replace(second=0, microsecond=0)
    # The command read its clock a moment before, which may have been in the minute before.
    ticks = (minute, minute - timedelta(minutes=1))
    answers = [
        json.loads(crontab("each", "--org", "four", "--tick", tick.isoformat(), "--json").stdout) for tick in ticks
    ]
    assert first["outcome"] == "succeeded"
    assert [each["job_id"] == first["job_id"] for each in answers].count(True) == 1


def test_payloads_come_from_stdin_and_from_files(crontab: Crontab) -> None:
    (crontab.folder / "payload.json").write_text('{"from": "file"}')
    from_file = crontab("echo", "--org", "five", "--data", "@payload.json")
    from_stdin = crontab("echo", "--org", "five", "--data", "-", stdin='{"from": "stdin"}')
    printed = [json.loads(done.stdout)["echo"]["from"] for done in (from_file, from_stdin)]
    assert printed == ["file", "stdin"]


def test_a_failure_says_when_to_call_again_and_an_early_call_spends_nothing(crontab: Crontab) -> None:
    calls = [crontab("failing", "--org", "six", "--max-attempts", "3", "--tick", TICK, "--json") for _ in range(2)]
    assert [done.returncode for done in calls] == [1, 1]
    answers = [json.loads(done.stdout) for done in calls]
    assert [(each["outcome"], each["attempts_left"]) for each in answers] == [("failed", 2)] * 2
    told = crontab("failing", "--org", "six", "--max-attempts", "3", "--tick", TICK)
    assert "2 attempt(s) left; call again in" in told.stderr
    assert told.stdout == ""


def test_a_dead_job_names_the_command_that_runs_it_again(crontab: Crontab) -> None:
    done = crontab("dying", "--org", "seven", "--tick", TICK)
    assert done.returncode == 1
    assert "jobs-exec retry" in done.stderr


def test_an_org_that_the_directory_does_not_know_is_refused(crontab: Crontab) -> None:
    crontab.database.execute("create table if not exists orgs (id text primary key)")
    done = crontab("echo", "--org", "nobody", JOB_ORG_TABLE="public.orgs")
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("rejected (job ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["echo"], 6, "pass --org ORG"),
        (["echo", "--org", "x", "--data", "{"], 6, "data: is not JSON"),
        (["echo", "--org", "x", "--tick", "yesterday"], 2, "is no time"),
        (["echo", "--org", "x", "--tick", "2026-11-25T13:00:00"], 2, "has no offset"),
        (["each", "--org", "x"], 6, "tick: is missing"),
        (["nobody.knows", "--org", "x"], 6, "not registered"),
        (["echo", "--org", "x", "--url", "ftp://localhost/trigger"], 2, "JOB_TRIGGER_URL: must be"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_its_exit_code(
    crontab: Crontab, arguments: list[str], code: int, said: str
) -> None:
    done = crontab(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert ("x", "succeeded", 1) not in crontab.jobs()


def test_without_a_database_nothing_was_started_and_the_code_says_so(crontab: Crontab) -> None:
    done = crontab("echo", "--org", "x", JOB_DATABASE_URL="postgresql://nobody:secret@127.0.0.1:9/none")
    assert done.returncode == 3
    assert "secret" not in done.stderr


def test_a_signal_lets_the_job_end_and_its_answer_is_printed(alone: Crontab) -> None:
    running = alone.started("slow", "--org", "acme", "--data", '{"n": 1}')
    running.until(lambda: (alone.folder / "started-1").exists(), "the job")
    running.signal(signal.SIGTERM, "draining")
    (alone.folder / "release").touch()
    assert running.wait() == 0
    assert json.loads(running.printed()) == {"n": 1}
    assert alone.jobs() == [("acme", "succeeded", 1)]


def test_a_second_signal_gives_the_job_back_with_its_attempt(alone: Crontab) -> None:
    running = alone.started("slow", "--org", "acme", "--data", '{"n": 1}')
    running.until(lambda: (alone.folder / "started-1").exists(), "the job")
    running.signal(signal.SIGTERM, "draining")
    running.signal(signal.SIGTERM, "aborting")
    assert running.wait() == 1
    assert "call again" in running.said()
    assert alone.jobs() == [("acme", "ready", 0)]


def test_with_a_url_the_endpoint_runs_it_and_nothing_runs_here(alone: Crontab, tmp_path: Path) -> None:
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir()
    with serving(there, alone.database) as served:
        sender = Crontab(elsewhere, alone.database)
        settings = {
            "JOB_DATABASE_URL": "",
            "JOB_MODULES": "",
            "JOB_CRON_BEARER_DIGESTS": "",
            "JOB_CRON_SECRETS": SECRET,
        }
        url = f"{served.url}/trigger"
        call = ("each", "--org", "acme", "--tick", TICK, "--url", url)
        first, again = (sender(*call, "--json", **settings) for _ in range(2))
        stranger = sender(*call, **{**settings, "JOB_CRON_SECRETS": ""})
    assert [first.returncode, again.returncode] == [0, 0], first.stderr
    answers = [json.loads(done.stdout) for done in (first, again)]
    assert [each["outcome"] for each in answers] == ["succeeded", "duplicate"]
    assert answers[0]["result"] == answers[1]["result"] == {"job": answers[0]["job_id"]}
    assert stranger.returncode == 2
    assert "JOB_CRON_SECRETS: is not set" in stranger.stderr
    assert alone.jobs() == [("acme", "succeeded", 1)]


def test_an_endpoint_that_only_enqueues_says_that_the_job_waits(alone: Crontab, tmp_path: Path) -> None:
    with serving(tmp_path, alone.database, "--mode", "enqueue") as served:
        call = ("echo", "--org", "acme", "--url", f"{served.url}/trigger", "--json")
        first, again = (alone(*call) for _ in range(2))
    assert (first.returncode, json.loads(first.stdout)["outcome"]) == (0, "accepted")
    assert (again.returncode, json.loads(again.stdout)["outcome"]) == (0, "duplicate")
    assert alone.jobs() == [("acme", "ready", 0)]


def test_enqueue_pushes_and_run_says_that_there_is_nothing_to_poll(alone: Crontab, tmp_path: Path) -> None:
    with serving(tmp_path, alone.database) as served:
        settings = alone.environment(JOB_TRIGGER_URL=f"{served.url}/trigger", JOB_CRON_SECRETS=SECRET)

        def command(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [SCRIPT, *arguments],
                cwd=tmp_path,
                env=settings,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )

        pushed = command("enqueue", "echo", "--org", "acme", "--wait", "--json")
        run = command("run")
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["job"]["status"] == "succeeded"
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert "jobs-exec serve" in run.stderr
