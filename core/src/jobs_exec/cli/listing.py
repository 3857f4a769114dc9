"""`jobs-exec list`, `show`, `orgs`, `types` and `executors`: what is there, read through the backend's operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from jobs_exec.cli.ids import IdOrItsBeginning, whole_id
from jobs_exec.cli.output import emit_fields, emit_json, emit_table, json_option
from jobs_exec.cli.session import Overrides, host_options, with_client
from jobs_exec.cli.views import (
    EXECUTOR_COLUMNS,
    JOB_COLUMNS,
    ORG_COLUMNS,
    TYPE_COLUMNS,
    executor_row,
    job_object,
    job_row,
    job_summary,
    org_row,
    type_object,
    type_row,
)
from jobs_exec.contracts.operator import JobFilter
from jobs_exec.job import JobState, RunStatus

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.operator import ExecutorView, OrgView, TypeView
    from jobs_exec.job import JobView

STATUSES = (*(state.value for state in JobState), *(status.value for status in RunStatus))


@click.command("list")
@click.option("--org", "org_id", metavar="ORG", help="Only jobs of this org.")
@click.option("--type", metavar="TYPE", help="Only jobs of this type.")
@click.option("--queue", metavar="QUEUE", help="Only jobs of this queue.")
@click.option("--status", type=click.Choice(STATUSES), help="Only queued or ended jobs of this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most jobs to list.")
@click.option("--before", type=click.UUID, metavar="ID", help="Go on below this job, the last one of a listing.")
@host_options
@json_option
def list_(overrides: Overrides, as_json: bool, **where: Any) -> None:
    """Lists jobs, newest first: those in the queue and those that ended."""

    async def work(client: Client) -> list[JobView]:
        return await client.backend.operator.jobs(JobFilter(**where))

    jobs = with_client(overrides, work)
    if as_json:
        emit_json([job_summary(job) for job in jobs])
    else:
        emit_table([job_row(job) for job in jobs], JOB_COLUMNS, "no jobs match")


@click.command()
@click.argument("job_id", metavar="ID", type=IdOrItsBeginning())
@host_options
@json_option
def show(job_id: UUID | str, overrides: Overrides, as_json: bool) -> None:
    """Shows everything kept about the job ID: payload, errors, result, and what it waits for.

    The beginning of an id will do where no other job's begins so.
    """

    async def work(client: Client) -> JobView:
        operator = client.backend.operator
        return await operator.job(job_id if isinstance(job_id, UUID) else await whole_id(operator, job_id))

    view = with_client(overrides, work)
    if as_json:
        emit_json(job_object(view))
    else:
        emit_fields({**job_object(view), "errors": "\n".join(_error_line(error) for error in view.errors)})


@click.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Most orgs to list.")
@host_options
@json_option
def orgs(limit: int, overrides: Overrides, as_json: bool) -> None:
    """Lists orgs with queued or dead jobs, the longest waiting first."""

    async def work(client: Client) -> list[OrgView]:
        return await client.backend.operator.orgs(limit)

    views = with_client(overrides, work)
    if as_json:
        emit_json(views)
    else:
        emit_table([org_row(view) for view in views], ORG_COLUMNS, "no org has a queued or dead job")


@click.command()
@host_options
@json_option
def types(overrides: Overrides, as_json: bool) -> None:
    """Lists the job types that executors have announced, with their queued jobs."""

    async def work(client: Client) -> list[TypeView]:
        return await client.backend.operator.types()

    views = with_client(overrides, work)
    if as_json:
        emit_json([type_object(view) for view in views])
    else:
        emit_table([type_row(view) for view in views], TYPE_COLUMNS, "no executor has announced a job type yet")


@click.command()
@host_options
@json_option
def executors(overrides: Overrides, as_json: bool) -> None:
    """Lists executors, live ones first, with the jobs they run."""

    async def work(client: Client) -> list[ExecutorView]:
        return await client.backend.operator.executors()

    views = with_client(overrides, work)
    if as_json:
        emit_json(views)
    else:
        emit_table([executor_row(view) for view in views], EXECUTOR_COLUMNS, "no executor is running")


def _error_line(error: dict[str, Any]) -> str:
    """One attempt's failure: when, why, and its text indented below."""
    text = str(error.get("error") or "").replace("\n", "\n  ")
    return f"attempt {error.get('attempt')} at {error.get('at')}: {error.get('reason')}" + (
        f"\n  {text}" if text else ""
    )
