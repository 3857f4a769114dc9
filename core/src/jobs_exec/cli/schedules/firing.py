"""`jobs-exec schedules run`: fires a schedule out of turn, for an operator or for a clock outside.

It asks the book as an executor does, so that (schedule, org, tick) is one piece of work for all of them. What was
fired before is not fired again, and is no error: a clock may call as often as it likes.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from jobs_exec.cli.durations import duration
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.schedules.finding import Narrowing, find_one, narrowing_options
from jobs_exec.cli.session import Overrides, client_host, host_options, on_host, say_what_is_kept
from jobs_exec.cli.times import Time
from jobs_exec.contracts.schedule import (
    Audience,
    Fired,
    FireOutcome,
    Firing,
    ScheduleState,
    tick_text,
)
from jobs_exec.errors import BackendUnavailable, ConfigurationError, InvalidSchedule

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import ScheduleView
    from jobs_exec.host import Host

TRIES = 50
PAUSE = 0.1
"""Seconds between two tries while somebody else fires the schedule: a fan-out to 10,000 orgs takes about a second."""

FAST = 5.0
"""Seconds by which a clock may be ahead of the book's."""


@dataclass(frozen=True, slots=True)
class FiredTick:
    """What is told: `fired` is False when the tick, or a later one, was fired before."""

    schedule: str
    tick: str
    fired: bool
    created: int = 0
    skipped: int = 0
    duplicates: int = 0


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

    async def work(client: Client) -> tuple[FiredTick, int]:
        view = await find_one(client.backend.schedules, name, narrowing)
        chosen = _chosen(view, await _tick(client, tick), late)
        await _wait_until(client, chosen)
        orgs = await _orgs(host, view)
        if dry_run:
            return FiredTick(str(view.schedule.ref), tick_text(chosen), fired=False), len(orgs)
        return await _fire(client, view, chosen, orgs), len(orgs)

    answer, orgs = on_host(host, work)
    if not dry_run:
        say_what_is_kept(host)
    if as_json:
        emit_json({**asdict(answer), "orgs": orgs})
    else:
        _print(answer, orgs, dry_run=dry_run)


async def _tick(client: Client, tick: datetime | str | None) -> datetime:
    """By the book's clock, unless a time was given."""
    if isinstance(tick, datetime):
        return tick
    now = (await client.backend.schedules.now()).replace(microsecond=0)
    return now if tick is None else now.replace(second=0)


async def _wait_until(client: Client, tick: datetime) -> None:
    """Lets a clock be a little fast. A tick far ahead is refused: all before it would never fire."""
    ahead = (tick - await client.backend.schedules.now()).total_seconds()
    if ahead > FAST:
        raise InvalidSchedule("tick", f"{tick_text(tick)} has not come; the ticks before it would never fire")
    while ahead > 0:
        await asyncio.sleep(ahead)
        ahead = (tick - await client.backend.schedules.now()).total_seconds()


def _chosen(view: ScheduleView, moment: datetime, late: float | None) -> datetime:
    """The tick to fire; with `late` (seconds) the last one of the schedule up to `moment`."""
    if late is None:
        return moment
    from jobs_exec.scheduling.timing import timing_of

    found = timing_of(view.schedule).before(moment + timedelta(seconds=1))
    if found is None or found < moment - timedelta(seconds=late):
        problem = f"{tick_text(moment)} is no tick of {view.schedule.ref}, nor is any time in the {late:g} s before"
        raise InvalidSchedule("tick", f"{problem}; see `jobs-exec schedules next`")
    return found


async def _orgs(host: Host, view: ScheduleView) -> tuple[str, ...]:
    if not isinstance(view.schedule.orgs, Audience):
        return view.schedule.orgs
    if host.directory is None:
        raise ConfigurationError(
            "JOB_ORG_TABLE", f"is not set, and {view.schedule.ref} is for all orgs: an org directory has to list them"
        )
    from jobs_exec.executor.orgs import Orgs

    found = await Orgs(host.directory, host.policy.lease).active()
    if found is None:
        raise BackendUnavailable(host.backend.name, "the org directory cannot list the active orgs; nothing was fired")
    return found


async def _fire(client: Client, view: ScheduleView, tick: datetime, orgs: tuple[str, ...]) -> FiredTick:
    book, ref = client.backend.schedules, view.schedule.ref
    fired = Fired(FireOutcome.BUSY)
    for _ in range(TRIES):
        fired = await book.fire(Firing(view.id, (tick,), orgs, expected=None))
        if fired.outcome is not FireOutcome.BUSY:
            break
        await asyncio.sleep(PAUSE)
    if fired.outcome is FireOutcome.FIRED:
        counts = (fired.created, fired.skipped, fired.duplicates)
        return FiredTick(str(ref), tick_text(tick), True, *counts)
    await _refuse_unless_fired(client, view, tick, fired.outcome)
    return FiredTick(str(ref), tick_text(tick), fired=False)


async def _refuse_unless_fired(client: Client, view: ScheduleView, tick: datetime, outcome: FireOutcome) -> None:
    """Returns when the tick was fired before; raises why it was not, otherwise."""
    ref = view.schedule.ref
    now = await find_one(client.backend.schedules, ref.name, Narrowing(ref.owner, ref.org_id or ""))
    if now.last_tick is not None and tick <= now.last_tick:
        return
    if now.state is ScheduleState.PAUSED:
        raise InvalidSchedule("schedule", f"{ref} is paused; `jobs-exec schedules resume {ref.name}` lets it go on")
    why = "somebody else is firing it" if outcome is FireOutcome.BUSY else "it was changed at this moment"
    raise BackendUnavailable(client.backend.name, f"{ref} cannot be fired now, {why}; nothing was fired, try again")


def _print(answer: FiredTick, orgs: int, *, dry_run: bool) -> None:
    if dry_run:
        click.echo(f"would fire {answer.schedule} at {answer.tick} for {orgs} org(s)")
    elif not answer.fired:
        say(f"nothing to do: {answer.schedule} at {answer.tick}, or a later tick, was fired before")
    else:
        counts = {"created": answer.created, "skipped": answer.skipped, "duplicates": answer.duplicates}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no jobs"
        click.echo(f"fired {answer.schedule} at {answer.tick}: {said}")
