"""The CronJob of the recipes: valid for Kubernetes, and its container does what the page says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml
from recipes import PROGRAMS, TYPE, Setup, recipe

VERSIONS = ("1.31", "1.34", kubernetes_validate.latest_version())
"""The oldest in which everything that it uses is stable, and newer ones."""

MINUTE = 29_927_700
TICK = "2026-11-26T03:00:00Z"


@pytest.fixture
def manifest() -> dict[str, Any]:
    (found,) = yaml.safe_load_all(recipe("cronjob.yaml"))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(setup: Setup, container: dict[str, Any], job: str) -> dict[str, str]:
    """What the variables of a pod of the Job `job` hold, on top of what the image brings."""
    secrets = {("jobs-exec", "database-url"): setup.database.url}
    labels = {"batch.kubernetes.io/job-name": job}
    made = {name: value for name, value in setup.environment().items() if not name.startswith("JOB_")}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            (label,) = re.findall(r"^metadata\.labels\['(.+)'\]$", source["fieldRef"]["fieldPath"])
            made[variable["name"]] = labels[label]
        elif "secretKeyRef" in source:
            made[variable["name"]] = secrets[source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]]
        else:
            made[variable["name"]] = variable["value"]
    return made


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """What Kubernetes makes of a command before any shell sees it: ``$(NAME)`` is a variable, ``$$`` a ``$``."""
    return re.sub(
        r"\$(?:\$|\((?P<name>[^)]*)\))",
        lambda found: "$" if found["name"] is None else variables.get(found["name"], found[0]),
        text,
    )


def start(setup: Setup, container: dict[str, Any], job: str) -> subprocess.CompletedProcess[str]:
    variables = environment(setup, container, job)
    return setup.call([expanded(word, variables) for word in container["command"] + container["args"]], variables)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_manifest(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_pod_that_fails_is_started_again_and_one_that_was_refused_is_not(manifest: dict[str, Any]) -> None:
    job = manifest["spec"]["jobTemplate"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert job["backoffLimit"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never", "a pod failure policy needs it"
    assert rule["action"] == "FailJob"
    assert not {0, 1, 3, 130, 143} & set(rule["onExitCodes"]["values"]), "these pass"


def test_the_name_of_the_cronjob_leaves_room_for_the_minute(manifest: dict[str, Any]) -> None:
    assert len(manifest["metadata"]["name"]) <= 52
    assert manifest["spec"]["timeZone"] == "Etc/UTC"


def test_no_secret_is_in_the_manifest(container: dict[str, Any]) -> None:
    plain = {variable["name"] for variable in container["env"] if "value" in variable}
    assert plain == {"JOB_MODULES"}


def test_however_often_the_pod_of_a_job_is_started_the_handler_runs_once(
    setup: Setup, container: dict[str, Any]
) -> None:
    for _ in range(2):
        done = start(setup, container, f"nightly-report-{MINUTE}")
        assert done.returncode == 0, done.stderr
    assert setup.reports() == ["acme"]
    assert setup.runs() == [("acme", TYPE, "succeeded")]


def test_the_next_job_has_another_tick(setup: Setup, container: dict[str, Any]) -> None:
    for minute in (MINUTE, MINUTE + 1440):
        assert start(setup, container, f"nightly-report-{minute}").returncode == 0
    assert setup.reports() == ["acme", "acme"]


def test_its_tick_is_the_time_the_job_is_for(setup: Setup, container: dict[str, Any]) -> None:
    by_hand = setup.call([PROGRAMS / "jobs-exec", "trigger", TYPE, "--org", "acme", "--tick", TICK])
    assert by_hand.returncode == 0, by_hand.stderr
    assert start(setup, container, f"nightly-report-again-{MINUTE}").returncode == 0
    assert setup.reports() == ["acme"]


@pytest.mark.parametrize("job", ["nightly-report-by-hand", "nightly-report-1", "nightly-report-"])
def test_a_job_whose_name_ends_otherwise_is_refused(setup: Setup, container: dict[str, Any], job: str) -> None:
    done = start(setup, container, job)
    assert done.returncode == 2
    assert job in done.stderr
    assert setup.reports() == []
