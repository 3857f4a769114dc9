"""Texts for other clocks, as their shells and parsers read them: what they call, and that no name or payload is code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from clocks import (
    ID,
    MINUTE,
    TICK,
    as_a_container_gets,
    as_cronie_reads,
    as_debian_reads,
    daily,
    pod_of,
    target,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jobs_exec.cli.schedules.calls import Calling, Via
from jobs_exec.cli.schedules.crontab import crontab_of
from jobs_exec.cli.schedules.kubernetes import Image, manifest_of
from jobs_exec.cli.schedules.naming import dns_name
from jobs_exec.cli.schedules.pg_cron import sql_of
from jobs_exec.contracts import ScheduleRef, tick_key, tick_payload, tick_text
from jobs_exec.envelope import encode_payload
from jobs_exec.errors import InvalidSchedule

TICK_TEXT = tick_text(TICK)
RUN, TRIGGER, HTTP = (Calling(via, "jobs-exec", "50s") for via in (Via.RUN, Via.TRIGGER, Via.HTTP))
IMAGE = Image("app:1", "settings")

printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
orgs = printable.map(str.strip).filter(bool)
data = st.dictionaries(printable, printable | st.integers(-9, 9) | st.none(), max_size=3)

slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def calls_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[list[str]]]:
    """Runs a script with a `jobs-exec` and a `date` that only tell how they were called; the calls, word by word."""
    folder = tmp_path_factory.mktemp("bin")
    log = folder / "log"
    _program(folder / "jobs-exec", f"printf '%s\\0' \"$@\" >>{log}; echo >>{log}")
    _program(folder / "date", f'case "$*" in *-d*) exec /bin/date "$@";; *) echo {TICK_TEXT};; esac')

    def run(script: str, **environment: str) -> list[list[str]]:
        log.write_bytes(b"")
        made = {"PATH": f"{folder}:/usr/bin:/bin", **environment}
        done = subprocess.run(["/bin/sh", "-c", script], env=made, capture_output=True, check=False, text=True)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
        return [[word.decode() for word in call.split(b"\0")[:-1]] for call in log.read_bytes().split(b"\n")[:-1]]

    return run


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def command_of(text: str) -> str:
    """The command of the last line of a crontab, as both kinds of cron hand it to the shell."""
    command = text.splitlines()[-1].split(maxsplit=5)[5]
    assert as_debian_reads(command) == as_cronie_reads(command)
    return as_cronie_reads(command)


def script_of(text: str, environment: dict[str, str]) -> str:
    """The script of a CronJob's container, as Kubernetes hands it to the shell."""
    (container,) = pod_of(yaml.safe_load(text))["containers"]
    shell, option, script = container["command"]
    assert (shell, option) == ("/bin/sh", "-c")
    return as_a_container_gets(script, environment)


def test_a_crontab_fires_by_the_book_and_drains(calls_of: Callable[..., list[list[str]]]) -> None:
    text = crontab_of(target(daily(zone="Europe/Berlin")), RUN)
    assert text.splitlines()[:2] == ["# nightly: report", "CRON_TZ=Europe/Berlin"]
    assert text.splitlines()[2].startswith("30 2 * * * ")
    narrowing = ["--owner=", "--tenant="]
    assert calls_of(command_of(text)) == [
        ["schedules", "run", "nightly", *narrowing, "--tick", TICK_TEXT, "--late", "5m"],
        ["run", "--drain", "--budget", "50s"],
    ]


def test_draining_can_be_left_to_executors(calls_of: Callable[..., list[list[str]]]) -> None:
    text = crontab_of(target(daily()), replace(RUN, budget=None))
    assert [call[0] for call in calls_of(command_of(text))] == ["schedules"]


def test_a_job_that_is_triggered_has_the_key_of_the_book_s_own(calls_of: Callable[..., list[list[str]]]) -> None:
    made = daily(data={"n": 1}, tick_as="at", max_attempts=3)
    (call,) = calls_of(command_of(crontab_of(target(made), TRIGGER)))
    payload = tick_payload(encode_payload(made.data, 1000), "at", TICK)
    assert call == [
        "trigger",
        "report",
        "--org=acme",
        f"--key={tick_key(ID, TICK)}",
        f"--data={payload}",
        "--max-attempts=3",
    ]


def test_one_that_stands_in_no_book_is_triggered_by_its_name_and_tick(
    calls_of: Callable[..., list[list[str]]],
) -> None:
    (call,) = calls_of(command_of(crontab_of(target(daily(), id=None), TRIGGER)))
    assert call[3:5] == ["--key=schedule:nightly", f"--tick={TICK_TEXT}"]
    with pytest.raises(InvalidSchedule, match="in no book yet"):
        crontab_of(target(daily(), id=None), RUN)


def test_a_signed_call_goes_where_the_environment_says(calls_of: Callable[..., list[list[str]]]) -> None:
    command = command_of(crontab_of(target(daily()), HTTP))
    (call,) = calls_of(command, JOB_TRIGGER_URL="https://there/trigger?a=1&b= c")
    assert call[-1] == "--url=https://there/trigger?a=1&b= c"


@slow
@given(org=orgs, payload=data, field=st.none() | st.from_regex(r"[a-z' $]{1,9}", fullmatch=True))
def test_no_org_and_no_payload_reaches_the_shell_of_a_crontab(
    calls_of: Callable[..., list[list[str]]], org: str, payload: dict[str, Any], field: str | None
) -> None:
    assume(field not in payload)
    made = target(daily(orgs=org, data=payload, tick_as=field))
    if "\\\\" in org or "\\%" in org:
        with pytest.raises(InvalidSchedule, match="orgs: hold a backslash"):
            crontab_of(made, TRIGGER)
        return
    (call,) = calls_of(command_of(crontab_of(made, TRIGGER)))
    assert call[:4] == ["trigger", "report", f"--org={org}", f"--key={tick_key(ID, TICK)}"]
    expected = payload if field is None else payload | {field: TICK_TEXT}
    assert json.loads(call[4].removeprefix("--data=")) == expected


@slow
@given(org=orgs, payload=data)
def test_no_org_and_no_payload_reaches_the_shell_or_the_variables_of_a_pod(
    calls_of: Callable[..., list[list[str]]], org: str, payload: dict[str, Any]
) -> None:
    text = manifest_of(target(daily(orgs=org, data=payload, tick_as="the tick")), TRIGGER, IMAGE)
    script = script_of(text, {"SECRET": "hush"})
    (call,) = calls_of(script, CRON_JOB_NAME=f"nightly-0-{MINUTE}")
    assert call[:4] == ["trigger", "report", f"--org={org}", f"--key={tick_key(ID, TICK)}"]
    assert json.loads(call[4].removeprefix("--data=")) == payload | {"the tick": TICK_TEXT}


def test_a_payload_cannot_name_a_variable_of_the_pod(calls_of: Callable[..., list[list[str]]]) -> None:
    made = target(daily(data={"a": "$(SECRET)", "b": "$$(SECRET)", "c": "$SECRET `id`"}))
    script = script_of(manifest_of(made, TRIGGER, IMAGE), {"SECRET": "'; id; '"})
    (call,) = calls_of(script, CRON_JOB_NAME=f"x-{MINUTE}", SECRET="hush")
    assert json.loads(call[4].removeprefix("--data=")) == made.schedule.data


def test_a_crontab_refuses_what_two_crons_would_read_in_two_ways() -> None:
    with pytest.raises(InvalidSchedule, match="backslash"):
        crontab_of(target(daily(orgs="a\\%b")), TRIGGER)
    with pytest.raises(InvalidSchedule, match="cron takes 998"):
        crontab_of(target(daily(data={"long": "x" * 900})), TRIGGER)
    with pytest.raises(InvalidSchedule, match="line break"):
        crontab_of(target(replace(daily(), owner="a\n* * * * * id")), RUN)


def test_orgs_that_are_called_one_by_one_are_bounded_and_named() -> None:
    many = tuple(f"org-{number}" for number in range(101))
    assert crontab_of(target(daily(orgs=many[:3])), TRIGGER).count("--org=org-") == 3
    for options, said in (
        ({"orgs": many}, "orgs: are 101, --via trigger calls at most 100"),
        ({"orgs": "*"}, "orgs: are all of the org directory"),
        ({"overlap": "skip"}, "overlap: skip is kept by the book"),
        ({"end": TICK}, "start: and end are kept by the book"),
    ):
        with pytest.raises(InvalidSchedule, match=said):
            crontab_of(target(daily(**options)), TRIGGER)
        assert "schedules run nightly" in crontab_of(target(daily(**options)), RUN)


# --- kubernetes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calling", [RUN, TRIGGER, HTTP])
@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_manifest(calling: Calling, version: str) -> None:
    made = daily(zone="America/New_York", catch_up="none", data={"x": "\x7f\u2028\U0001f600: #"})
    manifest = yaml.safe_load(manifest_of(target(made), calling, IMAGE))
    kubernetes_validate.validate(manifest, version, strict=True)
    assert manifest["spec"]["schedule"] == "30 2 * * *"
    assert manifest["spec"]["timeZone"] == "America/New_York"
    assert manifest["spec"]["startingDeadlineSeconds"] == 60
    (container,) = pod_of(manifest)["containers"]
    assert (container["image"], container["envFrom"]) == ("app:1", [{"secretRef": {"name": "settings"}}])
    assert (
        container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    )


def test_the_tick_of_a_pod_is_in_the_name_of_its_job(calls_of: Callable[..., list[list[str]]]) -> None:
    script = script_of(manifest_of(target(daily()), RUN, IMAGE), {})
    fired, drained = calls_of(script, CRON_JOB_NAME=f"nightly-1a2b-{MINUTE}")
    assert fired[-4:] == ["--tick", TICK_TEXT, "--late", "5m"]
    assert drained[:2] == ["run", "--drain"]


def test_a_job_that_was_made_by_hand_without_a_minute_in_its_name_fires_nothing() -> None:
    script = script_of(manifest_of(target(daily()), RUN, IMAGE), {})
    for name in ("by-hand", "by-hand-1", ""):
        done = subprocess.run(
            ["/bin/sh", "-c", script], env={"CRON_JOB_NAME": name}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, "does not end with a minute" in done.stderr) == (2, True)


def test_an_org_that_fails_does_not_keep_the_others_from_being_called(tmp_path: Path) -> None:
    script = script_of(manifest_of(target(daily(orgs=["bad", "good"])), TRIGGER, IMAGE), {})
    _program(tmp_path / "jobs-exec", f"echo $3 >>{tmp_path}/log; test $3 = --org=good")
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "CRON_JOB_NAME": f"x-{MINUTE}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert (tmp_path / "log").read_text().split() == ["--org=bad", "--org=good"]


def test_names_that_look_alike_make_different_cronjobs() -> None:
    refs = [
        ScheduleRef(name, owner, org)
        for name in ("a.b", "a-b", "A-b", "a" * 80, "a" * 81)
        for owner in ("", "x")
        for org in (None, "x")
    ]
    made = [dns_name(ref) for ref in refs]
    assert len(set(made)) == len(refs)
    assert all(len(name) <= 52 and name.strip("-abcdefghijklmnopqrstuvwxyz0123456789") == "" for name in made)
    assert dns_name(ScheduleRef("::", "")).startswith("schedule-")


# --- pg_cron ---------------------------------------------------------------------------------------------


def test_pg_cron_fires_the_minute_that_it_runs_in() -> None:
    made = replace(daily(start=TICK), owner="it's")
    assert sql_of(target(made), None) == (
        "select cron.schedule('jobs-exec:nightly of it''s', '30 2 * * *', $jobs$select jobs.fire('nightly', "
        "date_trunc('minute', now()), owner => 'it''s') where date_trunc('minute', now()) >= "
        "'2026-11-26T03:00:00Z'::timestamptz$jobs$);"
    )


@pytest.mark.parametrize(
    ("options", "query", "said"),
    [
        ({"zone": "Europe/Berlin"}, None, "zone: is Europe/Berlin, pg_cron's clock is UTC"),
        ({"cron": "0 0 0 * * *"}, None, "pg_cron has no seconds"),
        ({"orgs": "*"}, None, "--orgs-query"),
        ({"orgs": "*"}, "select 1); drop table x; --", "without a semicolon"),
    ],
)
def test_what_pg_cron_cannot_do_is_refused(options: dict[str, Any], query: str | None, said: str) -> None:
    with pytest.raises(InvalidSchedule, match=said):
        sql_of(target(daily(**options)), query)


def test_a_tag_that_the_text_holds_is_not_used() -> None:
    made = replace(daily(), owner="$jobs$ $jobs1$")
    assert sql_of(target(made), None).count("$jobs2$") == 2
