"""`jobs-exec schedules run`: fires a schedule out of turn, for an operator or for a clock outside.

It asks the book as an executor does, so that (schedule, org, tick) is one piece of work for all of them. What was
fired before is not fired again, and is no error: a clock may call as often as it likes.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from jobs_exec.cli.durations import duration
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.schedules.finding import Narrowing, find_one, narrowing_options
from jobs_exec.cli.session import Overrides, client_host, host_options, on_host, say_what_is_kept
from jobs_exec.cli.times import Time
from jobs_exec.contracts.schedule import tick_text

if TYPE_CHECKING:
    from jobs_exec.book.firing import FiredTick
    from jobs_exec.client import Client


@click.command()
@click.argument("name")
@click.option(
    "--tick",
    type=Time("now"),
    metavar="TIME|now|@SECONDS",
    help="The tick to fire; now is this minute.  [default: this second]",
)
@click.option(
    "--late",
    metavar="DURATION",
    callback=duration,
    help="Fire the schedule's own tick up to so long before --tick, and refuse when there is none.",
)
@click.option("--dry-run", is_flag=True, help="Show the tick and for how many orgs it would be fired, and stop.")
@narrowing_options
@host_options
@json_option
def run(
    name: str,
    tick: datetime | str | None,
    late: float | None,
    dry_run: bool,
    narrowing: Narrowing,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Fires the schedule NAME out of turn: makes its jobs, which executors or `run --drain` then run.

    A tick makes its jobs once, whoever fires it: executors, `jobs.fire` in SQL or this command. One that is not
    later than the last one fired does nothing and exits 0. A paused schedule is refused; one that is disabled,
    orphaned or ended is fired: whoever calls this is its clock.
    """
    host = client_host(overrides)

    async def work(client: Client) -> FiredTick:
        from jobs_exec.book.firing import FiredTick, fire, planned

        view = await find_one(client.backend.schedules, name, narrowing)
        before = None if late is None else timedelta(seconds=late)
        plan = await planned(host, view, await _tick(client, tick), before)
        if dry_run:
            return FiredTick(view.schedule.ref, plan.tick, fired=False, orgs=len(plan.orgs))
        return await fire(host, plan)

    answer = on_host(host, work)
    if not dry_run:
        say_what_is_kept(host)
    if as_json:
        emit_json({**asdict(answer), "schedule": str(answer.schedule), "tick": tick_text(answer.tick)})
    else:
        _print(answer, dry_run=dry_run)


async def _tick(client: Client, tick: datetime | str | None) -> datetime | None:
    """``now`` is this minute by the book's clock."""
    if isinstance(tick, str):
        return (await client.backend.schedules.now()).replace(second=0, microsecond=0)
    return tick


def _print(answer: FiredTick, *, dry_run: bool) -> None:
    tick = tick_text(answer.tick)
    if dry_run:
        click.echo(f"would fire {answer.schedule} at {tick} for {answer.orgs} org(s)")
    elif not answer.fired:
        say(f"nothing to do: {answer.schedule} at {tick}, or a later tick, was fired before")
    else:
        counts = {"created": answer.created, "skipped": answer.skipped, "duplicates": answer.duplicates}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no jobs"
        click.echo(f"fired {answer.schedule} at {tick}: {said}")
