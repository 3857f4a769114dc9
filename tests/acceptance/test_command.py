"""The command against a real PostgreSQL: what one call enqueues another one finds, runs, shows and repairs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from databases import TEMPLATE, VERSIONS, Database, Server, fresh_database, make_template, running_server, server_folder
from processes import Commands, commands


@pytest.fixture(scope="module", params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server_folder() as folder, running_server(request.param, folder / "postgres") as running:
        make_template(running)
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    with fresh_database(server, TEMPLATE) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Application:
    """A folder with handlers, and the database it works on."""

    commands: Commands
    url: str

    @property
    def settings(self) -> dict[str, str]:
        return {"JOB_QUEUE_BACKEND": "table", "JOB_PLUGINS_ALLOW": "table", "JOB_DATABASE_URL": self.url}

    def call(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What is printed and what is said."""
        done = self.commands.call(*arguments, **self.settings)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.call(*arguments, "--json", code=code)[0])

    def enqueue(self, org: str, number: int, type: str = "quick", *options: str) -> str:
        """The id of a new job."""
        receipt = self.json("enqueue", type, "--org", org, "--data", json.dumps({"n": number}), *options)
        assert receipt["outcome"] == "created"
        return str(receipt["id"])


@pytest.fixture
def app(tmp_path: Path, database: Database) -> Application:
    return Application(commands(tmp_path), database.url)


def test_a_job_is_enqueued_listed_run_and_shown(app: Application) -> None:
    job_id = app.enqueue("acme", 1)
    assert [(job["id"], job["status"]) for job in app.json("list", "--org", "acme")] == [(job_id, "ready")]
    assert [(org["org_id"], org["ready"]) for org in app.json("orgs")] == [("acme", 1)]
    report = app.json("run", "--drain")
    assert (report["claimed"], report["succeeded"]) == (1, 1)
    shown = app.json("show", job_id)
    assert (shown["status"], shown["attempts"], shown["result"]) == ("succeeded", 1, {"n": 1})
    again = app.json("enqueue", "quick", "--org", "acme", "--data", '{"n": 1}', "--wait")
    assert (again["outcome"], again["of"], again["job"]["result"]) == ("duplicate", job_id, {"n": 1})
    assert f"{job_id}  acme" in app.call("list")[0]


def test_dead_jobs_are_retried_with_their_history(app: Application) -> None:
    ids = [app.enqueue("acme", number, "failing", "--max-attempts", "1") for number in range(3)]
    other = app.enqueue("emca", 1, "failing", "--max-attempts", "1")
    assert app.json("run", "--drain")["dead"] == 4
    assert app.json("retry", "--dead", "--org", "acme", "--dry-run") == {"matching": 3}
    assert app.json("retry", "--dead", "--org", "acme", "--yes")["redriven"] == 3
    assert app.json("retry", other, other) == [{"id": other, "outcome": "redriven"}]
    assert app.json("retry", other, code=1) == [{"id": other, "outcome": "already_live"}]
    assert app.json("run", "--drain")["dead"] == 4
    shown = app.json("show", ids[0])
    assert (shown["attempts"], len(shown["errors"]), shown["payload"]) == (1, 2, {"n": 0})
    assert "ValueError: no" in app.call("show", ids[0])[0]


def test_queued_jobs_are_cancelled(app: Application) -> None:
    first, second = app.enqueue("acme", 1), app.enqueue("acme", 2, "quick", "--in", "1h")
    gone = "01890000-0000-7000-8000-000000000000"
    outcomes = [row["outcome"] for row in app.json("cancel", "--yes", second, gone, first, code=7)]
    assert outcomes == ["cancelled", "not_found", "cancelled"]
    assert [job["status"] for job in app.json("list", "--type", "quick")] == ["cancelled", "cancelled"]
    assert app.json("run", "--drain")["claimed"] == 0


def test_a_file_is_enqueued_whole_in_chunks_or_not_at_all(app: Application) -> None:
    lines = [json.dumps({"orgId": f"org-{n % 7}", "type": "quick", "data": {"n": n}}) for n in range(500)]
    file = app.commands.folder / "jobs.ndjson"
    file.write_text("\n".join([*lines, '{"type": "quick"}']))
    _, said = app.call("enqueue", "--from", "jobs.ndjson", code=6)
    assert "line 501: orgId: is missing" in said
    assert app.json("list") == []
    file.write_text("\n".join([*lines, lines[0]]))
    summary = app.json("enqueue", "--from", "jobs.ndjson")
    assert (summary["created"], summary["duplicates"]) == (500, 1)
    resumed = app.json("enqueue", "--from", "jobs.ndjson", "--chunk", "100", "--resume-from", "301")
    assert (resumed["lines"], resumed["created"], resumed["duplicates"]) == (201, 0, 201)
    assert app.json("run", "--drain")["succeeded"] == 500


def test_waiting_sees_the_end_that_an_executor_brings(app: Application) -> None:
    with app.commands.running("run", "--name", "probe", **app.settings) as executor:
        done = app.json("enqueue", "quick", "--org", "acme", "--data", '{"n": 5}', "--wait", "--timeout", "30s")
        assert (done["job"]["status"], done["job"]["result"]) == ("succeeded", {"n": 5})
        dead = ["enqueue", "failing", "--org", "acme", "--max-attempts", "1", "--wait", "--timeout", "30s"]
        assert app.json(*dead, code=1)["job"]["status"] == "dead"
        assert [(each["name"], each["state"]) for each in app.json("executors")] == [("probe", "live")]
        assert {row["type"]: row["executors"] for row in app.json("types")}["quick"] == 1
        executor.signal(signal.SIGTERM, "draining")
        assert executor.wait() == 0
    assert app.json("executors") == []


def test_a_type_that_only_an_executor_carries_can_be_enqueued_from_elsewhere(app: Application) -> None:
    app.json("run", "--once")
    plain = Application(app.commands, app.url)
    done = plain.commands.call("enqueue", "quick", "--org", "acme", **{**plain.settings, "JOB_MODULES": ""})
    assert done.returncode == 0, done.stderr
    refused = plain.commands.call("enqueue", "quikc", "--org", "acme", **{**plain.settings, "JOB_MODULES": ""})
    assert refused.returncode == 6
    assert "Did you mean 'quick'?" in refused.stderr


@pytest.mark.parametrize("arguments", [["list"], ["run", "--drain"], ["enqueue", "quick", "--org", "acme"]])
def test_what_cannot_be_reached_or_used_is_one_sentence_and_its_code(
    tmp_path: Path, server: Server, database: Database, arguments: list[str]
) -> None:
    made = commands(tmp_path)
    with fresh_database(server) as empty:
        _, said = Application(made, empty.url).call(*arguments, code=4)
        assert "jobs-exec db migrate" in said
    for url in ("postgresql://app:hunter2@127.0.0.1:1/app", database.url_for("nobody", "hunter2")):
        _, said = Application(made, url).call(*arguments, code=3)
        assert [line.startswith("jobs-exec: ") for line in said.splitlines()] == [True], said
        assert "hunter2" not in said
