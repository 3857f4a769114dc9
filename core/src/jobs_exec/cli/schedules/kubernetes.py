"""CronJobs for Kubernetes, one a schedule.

The controller names each Job after the minute that it was due at, and the pod reads that name: all its retries, and
a pod that starts late, have the tick of the Job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs_exec.cli.schedules.calls import Calling, Target, calls
from jobs_exec.cli.schedules.dialects import KUBERNETES, expression_for
from jobs_exec.cli.schedules.naming import dns_name
from jobs_exec.contracts.schedule import CatchUp

HEADER = (
    "# Needs Kubernetes 1.31 or later.",
    "# Add the resources, the service account and the namespace that the pods are to have.",
)

TICK = (
    # A Job that somebody made by hand (`kubectl create job --from`) fires a tick only if its name ends with the minute.
    'm="${CRON_JOB_NAME##*-}"; case "$m" in [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]) ;; '
    '*) echo "the name of the Job, $CRON_JOB_NAME, does not end with a minute" >&2; exit 2;; esac; '
    't="$(date -u -d "@$((m * 60))" +%Y-%m-%dT%H:%M:00Z)"'
)

DEADLINES = {CatchUp.NONE: 60, CatchUp.LAST: 86_400, CatchUp.ALL: 86_400}
"""Seconds after which a tick that could not be started is given up; Kubernetes starts the last one only."""

FINAL = [2, 5, 6]
"""Exit codes of what is refused for how it was asked, and will be refused the next time: usage, plugins, policy."""

_RETRIES = 6
"""After 10, 20, 40 ... seconds, 10 minutes in all."""

_GRACE = 40
"""Seconds for a pod to end: more than JOB_SHUTDOWN_GRACE, 25 unless it is set."""


@dataclass(frozen=True, slots=True)
class Image:
    """Where the command is: a container image, and the Secret whose keys are its settings."""

    name: str
    secret: str | None


def manifest_of(target: Target, calling: Calling, image: Image) -> str:
    """The YAML of one schedule. Raises `InvalidSchedule` naming what Kubernetes cannot say."""
    made = target.schedule
    spec = {
        "schedule": expression_for(made, KUBERNETES),
        "timeZone": made.zone,
        # The book itself leaves orgs out whose last job has not ended; a whole tick held back would be everybody's.
        "concurrencyPolicy": "Allow",
        "startingDeadlineSeconds": DEADLINES[made.catch_up],
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": _job(target, calling, image)},
    }
    metadata = {
        "name": dns_name(made.ref),
        "labels": {"app.kubernetes.io/managed-by": "jobs-exec"},
        "annotations": {"jobs-exec/schedule": str(made.ref), "jobs-exec/type": made.type},
    }
    return "\n".join(_yaml({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}, indent=0))


def _job(target: Target, calling: Calling, image: Image) -> dict[str, Any]:
    refused = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": FINAL}}
    return {
        "backoffLimit": _RETRIES,
        "podFailurePolicy": {"rules": [refused]},
        "template": {"spec": _pod(target, calling, image)},
    }


def _pod(target: Target, calling: Calling, image: Image) -> dict[str, Any]:
    name = {"name": "CRON_JOB_NAME", "valueFrom": {"fieldRef": {"fieldPath": _JOB_NAME}}}
    container = {
        "name": "jobs-exec",
        "image": image.name,
        "command": ["/bin/sh", "-c", _literally(_script(calls(target, calling)))],
        "env": [name],
    }
    if image.secret is not None:
        container["envFrom"] = [{"secretRef": {"name": image.secret}}]
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE, "containers": [container]}


_JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"


def _script(commands: list[str]) -> str:
    """One that fails does not keep the other orgs' from being called; the pod is then tried again as a whole."""
    if len(commands) == 1:
        return f"{TICK}; {commands[0]}"
    called = "; ".join(f"{command} || s=$?" for command in commands)
    return f"{TICK}; s=0; {called}; exit $s"


def _literally(script: str) -> str:
    """Kubernetes replaces ``$(NAME)`` in a command by a variable of the container, a secret one too; ``$$`` is a ``$``."""
    return script.replace("$", "$$")


# --- YAML ------------------------------------------------------------------------------------------------


def _yaml(value: Any, indent: int) -> Iterator[str]:
    """Block style with every text in double quotes: JSON's strings are YAML's, so no value is ever read as another.

    Keys are ours. That is all of YAML a manifest needs, and no reason to depend on a library.
    """
    space = "  " * indent
    items = value.items() if isinstance(value, Mapping) else ((None, each) for each in value)
    for key, item in items:
        head = f"{space}-" if key is None else f"{space}{_key(key)}:"
        if not isinstance(item, (Mapping, list)):
            yield f"{head} {_scalar(item)}"
        elif key is None:
            first, *rest = _yaml(item, indent + 1)
            yield f"{head} {first.lstrip()}"
            yield from rest
        else:
            yield head
            yield from _yaml(item, indent + 1)


def _key(key: str) -> str:
    return key if key.isalnum() else json.dumps(key)


def _scalar(value: str | int) -> str:
    """Escapes what is not ASCII as well: YAML takes fewer characters raw than JSON, and no surrogates escaped."""
    return re.sub(r"[^\x20-\x7e]", _escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
