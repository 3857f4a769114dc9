"""Bad input: the same rules at every way in, one clear error that names the field, and nothing written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from databases import Database
from ways_in import WAYS, BadJob, World
from working import Work

from jobs_exec import JobContext, job_type
from jobs_exec.cli import main

PYTHON = ("Client", "SyncClient", "ctx.enqueue", "ctx.enqueue_sync")
CONTEXT = ("ctx.enqueue", "ctx.enqueue_sync")
"""The org of a handler's own jobs is not for it to say."""
COMMAND = ("jobs-exec enqueue",)
SQL = ("jobs.enqueue",)

BAD = (
    BadJob("no org", "orgId", "is missing; every job belongs to one org", org=None, without=("orgId",), not_by=CONTEXT),
    BadJob("blank org", "orgId", "is blank", org="  ", not_by=CONTEXT),
    BadJob("blank org of another script", "orgId", "is blank", org="\u3000\u00a0", not_by=CONTEXT),
    BadJob("empty org", "orgId", "is blank", org="", not_by=CONTEXT),
    BadJob("org with space around", "orgId", "white space around", org="acme\u2003", not_by=CONTEXT),
    BadJob("org with a line break", "orgId", "control character", org="ac\nme", not_by=CONTEXT),
    BadJob("long org", "orgId", "has 256 characters", org="o" * 256, not_by=CONTEXT),
    BadJob("org as a number", "orgId", "must be text", org=7, not_by=(*CONTEXT, *COMMAND, *SQL)),
    BadJob("no type", "type", "is missing", type=None, without=("type",), not_by=(*PYTHON, *COMMAND, *SQL)),
    BadJob("malformed type", "type", "must start with a letter", type="7 work"),
    BadJob("type as a number", "type", "must be text", type=7, not_by=(*COMMAND, *SQL)),
    BadJob("unknown type", "type", "is not registered", type="wrok"),
    BadJob("unknown field", "colour", "is not a field", more={"colour": "red"}, not_by=(*COMMAND, *SQL)),
    BadJob("list as data", "data", "must be a JSON object", data='["geheim"]'),
    BadJob("oversized data", "data", "bytes of JSON, more than", data=f'{{"a": "{"geheim" * 50_000}"}}'),
    BadJob("deep data", "data", "nested deeper than 64 levels", data='{"a": ' + "[" * 64 + "]" * 64 + "}"),
    BadJob("a number too large", "data", "finite", data='{"a": [{"b": 1e5000}]}'),
    BadJob("not a number", "data", "finite", data='{"a": NaN}', not_by=SQL),
    BadJob("an integer too large", "data", "integer beyond ±2^53", data='{"a": 9007199254740993}'),
    BadJob("NUL in a text", "data", "NUL character", data=r'{"a": "geheim\u0000"}'),
    BadJob("NUL in a name", "data", "NUL character", data=r'{"geheim\u0000": 1}'),
    BadJob("half a surrogate pair", "data", "lone surrogate", data=r'{"a": "geheim\ud800"}'),
    BadJob("empty key", "key", "1 to 512 characters", more={"key": ""}),
    BadJob("malformed trace", "trace", "W3C traceparent", more={"trace": "geheim"}, not_by=COMMAND),
)


async def work(ctx: JobContext, data: dict[str, Any]) -> None: ...


@pytest.fixture
async def world(migrated: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The type is known to the database, and to this process where it says so itself."""
    made = Work(migrated, (job_type("work", work),))
    await made.drained()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "JOB_QUEUE_BACKEND": "table",
        "JOB_PLUGINS_ALLOW": "table",
        "JOB_DATABASE_URL": migrated.url,
    }.items():
        monkeypatch.setenv(name, value)
    return World(made, tmp_path)


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_refuses_by_the_same_rules_and_writes_nothing(world: World, way: str) -> None:
    refused = [bad for bad in BAD if way not in bad.not_by]
    said = await WAYS[way](world, refused)
    for bad, text in zip(refused, said, strict=True):
        assert bad.field in text.partition(":")[0], (bad.name, text)
        assert bad.says in text, (bad.name, text)
        assert "geheim" not in text, bad.name
        assert "\n" not in text, bad.name
    asked = {status for status, _, _ in world.work.ends().values()}
    assert asked == ({"succeeded"} if way in CONTEXT else set()), "only the handler that asked has a run"
    assert len(world.work.ends()) == len(asked)


async def test_a_file_with_bad_lines_can_be_enqueued_without_them(world: World) -> None:
    (world.folder / "jobs.ndjson").write_text(
        '{"orgId": "acme", "type": "work"}\n{"type": "work"}\nnot JSON\n{"orgId": "emca", "type": "work"}\n'
    )
    arguments = ["enqueue", "--from", "jobs.ndjson", "--skip-invalid"]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "2 created, 0 duplicates, 2 skipped\n")
    assert "line 2: orgId: is missing" in result.stderr
    assert "line 3: line: is not JSON" in result.stderr
    assert len(world.work.ends()) == 2


@pytest.mark.parametrize(
    ("org", "type_name", "payload", "rule"),
    [
        (None, "work", "{}", "org_id"),
        ("", "work", "{}", "org_id_has_1_to_255_characters"),
        (" ", "work", "{}", "org_id_has_no_white_space_around_it"),
        ("\u00a0", "work", "{}", "org_id_has_no_white_space_around_it"),
        ("ac\nme", "work", "{}", "org_id_has_no_control_characters"),
        ("o" * 256, "work", "{}", "org_id_has_1_to_255_characters"),
        ("acme", None, "{}", "type"),
        ("acme", "7 work", "{}", "type_is_a_letter_then_letters_digits_or_punctuation"),
        ("acme", "work", None, "payload"),
        ("acme", "work", "[1]", "data_is_a_json_object"),
    ],
)
def test_a_raw_row_that_breaks_a_rule_is_impossible(
    migrated: Database, org: str | None, type_name: str, payload: str, rule: str
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as caught:
        Work(migrated, ()).insert(org, type_name, payload)
    assert rule in (caught.value.diag.constraint_name or "", caught.value.diag.column_name or "")
    assert Work(migrated, ()).ends() == {}


def test_a_row_without_an_org_column_is_impossible(migrated: Database) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation, match="org_id"):
        migrated.execute(
            "insert into jobs.jobs_queue (digest, payload_digest, identity, type, run_hash)"
            " values (gen_random_uuid(), gen_random_uuid(), 'none', 'work', sha256('x'))"
        )
    job_id = Work(migrated, ()).insert("acme", "work")
    with pytest.raises(psycopg.errors.NotNullViolation, match="org_id"):
        migrated.execute("update jobs.jobs_queue set org_id = null where id = %s", job_id)
