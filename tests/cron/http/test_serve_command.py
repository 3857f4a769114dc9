"""`jobs-exec serve`: where it listens, when it refuses to start, how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
from databases import Database
from distributions import Site
from serving import PATIENCE, SCRIPT, encoded, environment, serving

SLOW = {"orgId": "acme", "type": "slow", "data": {"n": 1}}


def refused(folder: Path, database: Database, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that comes to nothing."""
    (folder / "app_jobs.py").touch()
    return subprocess.run(
        [SCRIPT, "serve", "--port", "0", *arguments],
        cwd=folder,
        env=environment(database, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"JOB_CRON_SECRETS": "", "JOB_CRON_BEARER_DIGESTS": ""}, ("JOB_CRON_SECRETS", "JOB_CRON_BEARER_DIGESTS")),
        ({"JOB_CRON_TYPES": ""}, ("JOB_CRON_TYPES",)),
        ({"JOB_CRON_SECRETS": "whsec_c2hvcnQ="}, ("JOB_CRON_SECRETS",)),
    ],
)
def test_it_refuses_to_start_for_anybody(
    migrated: Database, folder: Path, settings: dict[str, str], named: tuple[str, ...]
) -> None:
    done = refused(folder, migrated, **settings)
    assert done.returncode == 2, done.stderr
    assert all(name in done.stderr for name in named)
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_exit_code_3(migrated: Database, folder: Path) -> None:
    done = refused(folder, migrated, JOB_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert done.returncode == 3, done.stderr


def test_a_port_that_is_taken_is_said_in_one_line(migrated: Database, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(folder, migrated, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1" in done.stderr


@pytest.mark.parametrize("host", [f"{'a' * 70}.example", "a..b", ""])
def test_a_host_that_cannot_be_one_is_said_in_one_line(migrated: Database, folder: Path, host: str) -> None:
    done = refused(folder, migrated, "--host", host)
    assert done.returncode == 2, done.stderr
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_does_not_stand_on_itself(migrated: Database, folder: Path) -> None:
    done = refused(folder, migrated, JOB_CRON_QUEUE="cron")
    assert done.returncode == 2, done.stderr
    assert "JOB_CRON_QUEUE: must be a backend that has rows" in done.stderr


def test_it_listens_on_loopback_and_says_where(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated) as served:
        assert json.loads(served.running.printed()) == {
            "url": served.url,
            "host": "127.0.0.1",
            "port": served.port,
        }
        assert "without TLS" not in served.said()


def test_a_type_on_the_list_that_nobody_registers_is_said_with_the_near_match(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated, "--types", "ecko,each") as served:
        assert "JOB_CRON_TYPES names ecko, which is not registered. Did you mean echo?" in served.said()
        assert served.post({"orgId": "acme", "type": "echo"}).status_code == 422


def test_beyond_this_machine_it_warns_about_clear_text(migrated: Database, folder: Path) -> None:
    with serving(folder, migrated, "--host", "0.0.0.0") as served:  # noqa: S104
        assert "without TLS" in served.said()
        assert served.get("/livez").status_code == 200


def test_the_first_signal_lets_running_jobs_end_and_answers_their_callers(migrated: Database, folder: Path) -> None:
    answers: list[httpx.Response] = []
    with serving(folder, migrated) as served:
        caller = threading.Thread(target=lambda: answers.append(served.post(SLOW)))
        caller.start()
        served.running.until((folder / "started-1").exists, "the start of the job")
        served.running.signal(signal.SIGTERM, "draining")
        (folder / "release").touch()
        caller.join()
        assert served.running.wait() == 0
        assert answers[0].json()["outcome"] == "succeeded"
        assert served.rows()[:2] == (0, 1)
        assert "Traceback" not in served.said()


def test_what_does_not_end_in_the_grace_is_given_back_and_its_caller_told_to_call_again(
    migrated: Database, folder: Path
) -> None:
    answers: list[httpx.Response] = []
    with serving(folder, migrated, JOB_SHUTDOWN_GRACE="0.5") as served:
        caller = threading.Thread(target=lambda: answers.append(served.post(SLOW)))
        caller.start()
        served.running.until((folder / "started-1").exists, "the start of the job")
        served.running.signal(signal.SIGTERM, "draining")
        caller.join()
        assert served.running.wait() == 0
        assert answers[0].status_code == 503
        assert int(answers[0].headers["retry-after"]) >= 1
        assert migrated.execute("select state::text, attempts from jobs.jobs_queue") == [("ready", 0)]


def test_the_second_signal_cancels_what_runs(migrated: Database, folder: Path) -> None:
    answers: list[httpx.Response] = []
    with serving(folder, migrated, JOB_SHUTDOWN_GRACE="60") as served:
        caller = threading.Thread(target=lambda: answers.append(served.post(SLOW)))
        caller.start()
        served.running.until((folder / "started-1").exists, "the start of the job")
        served.running.signal(signal.SIGTERM, "draining")
        served.running.signal(signal.SIGTERM, "aborting")
        caller.join()
        served.running.wait()
        assert answers[0].status_code == 503
        assert migrated.execute("select state::text, attempts from jobs.jobs_queue") == [("ready", 0)]


def test_it_ends_by_itself_when_threads_are_stuck_so_that_whoever_started_it_starts_another(
    migrated: Database, folder: Path
) -> None:
    settings = {"JOB_THREADS": "1", "JOB_TIMEOUT_SECONDS": "0.2", "JOB_SHUTDOWN_GRACE": "1"}
    with serving(folder, migrated, **settings) as served:
        assert served.post({"orgId": "acme", "type": "deaf"}).status_code == 410
        served.running.until(lambda: "threads are stuck" in served.said(), "the end of the executor")
        (folder / "release").touch()
        assert served.running.wait() == 1


def test_a_verifier_of_another_distribution_lets_its_callers_in(migrated: Database, folder: Path) -> None:
    site = folder / "site"
    site.mkdir()
    Site(site).install("probe-verifier", entry_points={"plugins:probe": "probe_verifier"}, module=PLUGIN)
    with serving(folder, migrated, JOB_CRON_SECRETS="", JOB_CRON_BEARER_DIGESTS="", PYTHONPATH=str(site)) as served:
        raw = encoded({"orgId": "acme", "type": "each"})
        known = {"x-probe": "sesame"}
        first = served.send(raw, "/trigger", {**known, "x-call": "1"})
        again = served.send(raw, "/trigger", {**known, "x-call": "1"})
        assert (first.json()["outcome"], again.json()["outcome"]) == ("succeeded", "duplicate")
        assert served.send(raw, "/trigger", {"x-probe": "guess"}).status_code == 401
        assert served.post({"orgId": "acme", "type": "each"}).status_code == 401


PLUGIN = """
    from jobs_exec.contracts import hookimpl
    from jobs_exec_cron.verifying import Verified

    class Probe:
        name = "probe"

        async def verify(self, call):
            return Verified(call.header("x-call")) if call.header("x-probe") == "sesame" else None

    @hookimpl(optionalhook=True)
    def endpoint_verifiers(host):
        return [Probe()]
"""


BLOCKED = """
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("starlette", "uvicorn"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Absent())
"""


def test_without_the_extra_it_names_the_line_that_installs_it(migrated: Database, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(dedent(BLOCKED))
    done = refused(folder, migrated, PYTHONPATH=str(folder))
    assert done.returncode == 5
    assert "pip install 'jobs-exec-cron[http]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_backend_itself_needs_no_server(folder: Path) -> None:
    code = "import jobs_exec_cron.plugin, sys; sys.exit('starlette' in sys.modules or 'uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0
