"""`jobs-exec schedules remove`, `pause` and `resume`: what an operator does to a schedule of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs_exec.cli.consent import ask, yes_option
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.schedules.finding import Narrowing, find_one, narrowing_options
from jobs_exec.cli.schedules.views import schedule_object
from jobs_exec.cli.session import Overrides, host_options, with_client
from jobs_exec.contracts.schedule import ScheduleState, tick_text

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import ScheduleView


@click.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and stop.")
@yes_option
@narrowing_options
@host_options
@json_option
def remove(name: str, dry_run: bool, yes: bool, narrowing: Narrowing, overrides: Overrides, as_json: bool) -> None:
    """Removes the schedule NAME; jobs that it has made stay.

    One that is defined in code comes back with the next executor that carries it: pause it, or remove it there.
    """

    async def look(client: Client) -> ScheduleView:
        return await find_one(client.backend.schedules, name, narrowing)

    async def work(client: Client) -> None:
        await client.schedules.remove(view.schedule.ref)

    view = with_client(overrides, look)
    if view.schedule.owner:
        say(f"note: {_of_code(view)}")
    if not dry_run:
        ask(f"Remove schedule {view.schedule.ref}?", yes=yes)
        with_client(overrides, work)
    if as_json:
        emit_json({**schedule_object(view), "removed": not dry_run})
    else:
        click.echo(f"{'would remove' if dry_run else 'removed'} {view.schedule.ref}")


@click.command()
@click.argument("name")
@narrowing_options
@host_options
@json_option
def pause(name: str, narrowing: Narrowing, overrides: Overrides, as_json: bool) -> None:
    """Stops the schedule NAME from firing, also out of turn, until it is resumed; deployments do not change that."""

    async def work(client: Client) -> ScheduleView:
        view = await find_one(client.backend.schedules, name, narrowing)
        return await client.schedules.pause(view.schedule.ref)

    _print(with_client(overrides, work), as_json)


@click.command()
@click.argument("name")
@click.option("--from-now", is_flag=True, help="Go on at the next tick, whatever its catch-up policy.")
@narrowing_options
@host_options
@json_option
def resume(name: str, from_now: bool, narrowing: Narrowing, overrides: Overrides, as_json: bool) -> None:
    """Lets the schedule NAME fire again.

    The ticks of the pause were missed: its catch-up policy says whether some of them are fired now.
    """

    async def work(client: Client) -> ScheduleView:
        view = await find_one(client.backend.schedules, name, narrowing)
        return await client.schedules.resume(view.schedule.ref, from_now=from_now)

    _print(with_client(overrides, work), as_json)


def _print(view: ScheduleView, as_json: bool) -> None:
    if as_json:
        emit_json(schedule_object(view))
        return
    ahead = view.state is ScheduleState.ACTIVE and view.next_tick is not None
    click.echo(f"{view.schedule.ref} is {view.state.value}" + (f", next tick {_tick(view)}" if ahead else ""))
    if view.state is ScheduleState.ORPHANED:
        say("note: no live executor carries it; it fires when one does")


def _tick(view: ScheduleView) -> str:
    return "-" if view.next_tick is None else tick_text(view.next_tick)


def _of_code(view: ScheduleView) -> str:
    return (
        f"{view.schedule.name} is defined in the code of {view.schedule.owner} and comes back with its next executor; "
        f"to stop it, remove it there or run `jobs-exec schedules pause {view.schedule.name}`"
    )
