"""Values of the contracts as rows and objects to print."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from jobs_exec.cli.output import decoded, distance
from jobs_exec.job import RunStatus

if TYPE_CHECKING:
    from jobs_exec.contracts.operator import ExecutorView, OrgView, TypeView
    from jobs_exec.job import JobView, Receipt

_CLASS = re.compile(r"(\w+)(?=: |$)")

JOB_COLUMNS = ("id", "org_id", "type", "queue", "status", "attempts", "due", "note")
ORG_COLUMNS = ("org_id", "ready", "running", "scheduled", "held", "dead", "oldest_wait")
TYPE_COLUMNS = ("type", "queue", "identity", "executors", "ready", "running", "scheduled", "held", "note")
EXECUTOR_COLUMNS = ("id", "name", "state", "queues", "running", "started", "lease_ends")


def job_object(value: JobView | Receipt) -> dict[str, Any]:
    """All fields; payload and result as the JSON they are."""
    fields = dataclasses.asdict(value)
    return {name: decoded(each) if name in ("payload", "result") else each for name, each in fields.items()}


def job_summary(view: JobView) -> dict[str, Any]:
    """`job_object` without payload and result, which listings do not carry, and of the errors the last one's class."""
    fields = {k: v for k, v in dataclasses.asdict(view).items() if k not in ("payload", "result", "errors")}
    return {**fields, "last_error": _last_error(view)}


def job_row(view: JobView) -> dict[str, Any]:
    """One line of a listing."""
    when = {"due": distance(view.run_at), "attempts": f"{view.attempts}/{view.max_attempts}"}
    return {**job_summary(view), **when, "note": _note(view)}


def _note(view: JobView) -> str | None:
    """What holds a job up, or what became of its last attempt."""
    if view.waiting_for:
        return f"waiting for {view.waiting_for}"
    if view.of:
        return f"of {view.of}"
    if view.status == RunStatus.SUCCEEDED:
        return None
    failed = view.errors[-1].get("reason") if view.errors and not view.finished_at else None
    words = [part for part in (view.reason or failed, _last_error(view)) if part]
    return ": ".join(words) or None


def _last_error(view: JobView) -> str | None:
    """The class of the last exception; its words may quote the payload, which only `show` is asked for."""
    last = view.errors[-1] if view.errors else {}
    found = _CLASS.match(str(last.get("error") or "")) if last.get("reason") == "failed" else None
    return found[1] if found else None


def org_row(view: OrgView) -> dict[str, Any]:
    """One line of `orgs`."""
    waited = None if view.oldest_wait is None else f"{view.oldest_wait:.1f} s"
    return {**dataclasses.asdict(view), "oldest_wait": waited}


def type_object(view: TypeView) -> dict[str, Any]:
    """A type with its counts in one object."""
    fields = dataclasses.asdict(view)
    record = fields.pop("record")
    return {"type": record.pop("name"), **record, **fields}


def type_row(view: TypeView) -> dict[str, Any]:
    """One line of `types`."""
    waiting = view.scheduled + view.ready + view.held
    return {**type_object(view), "note": "no live executor carries it" if waiting and not view.executors else None}


def executor_row(view: ExecutorView) -> dict[str, Any]:
    """One line of `executors`."""
    times = {"started": distance(view.started_at), "lease_ends": distance(view.lease_until)}
    return {**dataclasses.asdict(view), "queues": ",".join(view.queues), **times}
