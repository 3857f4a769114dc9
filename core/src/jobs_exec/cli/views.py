"""Values of the contracts as rows and objects to print."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from jobs_exec.cli.output import decoded, distance

if TYPE_CHECKING:
    from jobs_exec.contracts.operator import ExecutorView, OrgView, TypeView
    from jobs_exec.job import JobView, Receipt

JOB_COLUMNS = ("id", "org_id", "type", "queue", "status", "attempts", "due", "note")
ORG_COLUMNS = ("org_id", "ready", "running", "scheduled", "held", "dead", "oldest_wait")
TYPE_COLUMNS = ("type", "queue", "identity", "executors", "ready", "running", "scheduled", "held", "note")
EXECUTOR_COLUMNS = ("id", "name", "state", "queues", "running", "started", "lease_ends")


def job_object(value: JobView | Receipt) -> dict[str, Any]:
    """All fields; payload and result as the JSON they are."""
    fields = dataclasses.asdict(value)
    return {name: decoded(each) if name in ("payload", "result") else each for name, each in fields.items()}


def job_summary(view: JobView) -> dict[str, Any]:
    """`job_object` without payload, result and errors, which listings do not carry."""
    return {k: v for k, v in dataclasses.asdict(view).items() if k not in ("payload", "result", "errors")}


def job_row(view: JobView) -> dict[str, Any]:
    """One line of a listing."""
    note = view.waiting_for or view.reason or (f"of {view.of}" if view.of else None)
    attempts = f"{view.attempts}/{view.max_attempts}"
    when = {"due": distance(view.run_at), "attempts": attempts}
    return {**job_summary(view), **when, "note": f"waiting for {note}" if view.waiting_for else note}


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
