"""`jobs-exec retry` and `cancel`: what an operator does to jobs; every id is answered on its own.

Dead jobs are chosen by filter in two steps, ids first: the number is known before the question is asked, and
a job that dies again meanwhile is not taken twice.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

import click

from jobs_exec.cli.consent import ask, yes_option
from jobs_exec.cli.errors import NEGATIVE, NOT_FOUND
from jobs_exec.cli.output import emit_json, emit_table, json_option, say
from jobs_exec.cli.progress import bar
from jobs_exec.cli.session import Overrides, host_options, with_client
from jobs_exec.contracts.operator import CancelOutcome, JobFilter, RedriveOutcome
from jobs_exec.errors import JobNotFound
from jobs_exec.job import RunStatus

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.operator import Operator

PAGE = 1000
"""Ids of one call: one transaction of the backend."""

HINTS = {
    RedriveOutcome.ALREADY_LIVE.value: (
        "already_live: the job, or one that is the same piece of work, is queued or running and will be tried by "
        "itself; `jobs-exec show ID` tells when"
    ),
    RedriveOutcome.ALREADY_SUCCEEDED.value: (
        "already_succeeded: this piece of work is done; to do it once more enqueue it under another --key"
    ),
    CancelOutcome.RUNNING.value: "running: a job that is being run goes on; only queued ones can be cancelled",
    CancelOutcome.ALREADY_ENDED.value: "already_ended: `jobs-exec show ID` tells how",
}
"""What is said below the table about outcomes that are not what was asked for."""

Verb = Callable[[Sequence[UUID]], Awaitable[Sequence[StrEnum]]]


@click.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@click.option("--dead", is_flag=True, help="Instead of IDs: all dead jobs, or those of --org, --type and --queue.")
@click.option("--org", "org_id", metavar="ORG", help="With --dead: only of this org.")
@click.option("--type", "type_name", metavar="TYPE", help="With --dead: only of this type.")
@click.option("--queue", metavar="QUEUE", help="With --dead: only of this queue.")
@click.option("--dry-run", is_flag=True, help="Print how many dead jobs would be retried, and stop.")
@yes_option
@host_options
@json_option
def retry(
    job_ids: tuple[UUID, ...],
    dead: bool,
    org_id: str | None,
    type_name: str | None,
    queue: str | None,
    dry_run: bool,
    yes: bool,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Puts jobs that did not succeed back into the queue: same id, attempts from 0, history kept."""
    if dead == bool(job_ids):
        raise click.UsageError("name either job IDs or --dead")
    if not dead and (org_id or type_name or queue or dry_run):
        raise click.UsageError("--org, --type, --queue and --dry-run belong to --dead")
    if dead:
        where = JobFilter(org_id, type_name, queue, RunStatus.DEAD.value, limit=PAGE)
        _retry_dead(overrides, where, dry_run=dry_run, yes=yes, as_json=as_json)
    else:
        _each(overrides, job_ids, lambda operator: operator.redrive, RedriveOutcome.REDRIVEN, as_json)


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@click.option("--dry-run", is_flag=True, help="Print how many of them stand where, and stop.")
@yes_option
@host_options
@json_option
def cancel(job_ids: tuple[UUID, ...], dry_run: bool, yes: bool, overrides: Overrides, as_json: bool) -> None:
    """Ends queued jobs as cancelled; a job that is running goes on."""
    if dry_run:
        _print_counts(with_client(overrides, lambda client: _standing(client.backend.operator, job_ids)), as_json)
        return
    ask(f"Cancel {len(job_ids)} job(s)?", yes=yes)
    _each(overrides, job_ids, lambda operator: operator.cancel, CancelOutcome.CANCELLED, as_json)


async def _standing(operator: Operator, job_ids: Sequence[UUID]) -> dict[str, int]:
    """How many of the ids there are, and how many of those have which status."""
    counts = Counter({"matching": 0})
    for job_id in dict.fromkeys(job_ids):
        try:
            status = (await operator.job(job_id)).status
        except JobNotFound:
            counts[CancelOutcome.NOT_FOUND.value] += 1
        else:
            counts.update(("matching", status))
    return dict(counts)


def _each(
    overrides: Overrides,
    job_ids: Sequence[UUID],
    verb: Callable[[Operator], Verb],
    done: StrEnum,
    as_json: bool,
) -> None:
    """Does `verb` to the ids, prints what became of each and ends with the exit code of the worst."""
    job_ids = list(dict.fromkeys(job_ids))

    async def work(client: Client) -> list[StrEnum]:
        return await _in_pages(verb(client.backend.operator), job_ids)

    outcomes = with_client(overrides, work)
    rows = [{"id": job_id, "outcome": outcome.value} for job_id, outcome in zip(job_ids, outcomes, strict=True)]
    if as_json:
        emit_json(rows)
    else:
        emit_table(rows, ("id", "outcome"), "")
        for hint in dict.fromkeys(HINTS[outcome.value] for outcome in outcomes if outcome.value in HINTS):
            say(hint)
    sys.exit(_exit_code(outcomes, done))


def _exit_code(outcomes: Sequence[StrEnum], done: StrEnum) -> int:
    if any(outcome.value == CancelOutcome.NOT_FOUND.value for outcome in outcomes):
        return NOT_FOUND
    return 0 if all(outcome is done for outcome in outcomes) else NEGATIVE


def _retry_dead(overrides: Overrides, where: JobFilter, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    async def choose(client: Client) -> list[UUID]:
        return await _ids(client.backend.operator, where)

    async def redrive(client: Client) -> list[StrEnum]:
        with bar("retrying", len(chosen)) as advance:
            return await _in_pages(client.backend.operator.redrive, chosen, advance)

    chosen = with_client(overrides, choose)
    if dry_run:
        _print_counts({"matching": len(chosen)}, as_json)
        return
    outcomes: list[StrEnum] = []
    if chosen:
        ask(f"Retry {len(chosen)} dead job(s)?", yes=yes)
        outcomes = with_client(overrides, redrive)
    _print_counts({"matching": len(chosen), **_counted(outcomes)}, as_json)


async def _ids(operator: Operator, where: JobFilter) -> list[UUID]:
    """The ids of all jobs that match, newest first."""
    found: list[UUID] = []
    while page := await operator.jobs(where):
        found.extend(job.id for job in page)
        where = replace(where, before=page[-1].id)
    return found


async def _in_pages(
    verb: Verb, job_ids: Sequence[UUID], advance: Callable[[int], None] = lambda _count: None
) -> list[StrEnum]:
    outcomes: list[StrEnum] = []
    for start in range(0, len(job_ids), PAGE):
        page = job_ids[start : start + PAGE]
        outcomes.extend(await verb(page))
        advance(len(page))
    return outcomes


def _counted(outcomes: Sequence[StrEnum]) -> dict[str, int]:
    counts = Counter(outcome.value for outcome in outcomes)
    return {outcome.value: counts[outcome.value] for outcome in RedriveOutcome}


def _print_counts(counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        emit_json(counts)
    elif not any(counts.values()):
        say("no dead job matches")
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if count))
