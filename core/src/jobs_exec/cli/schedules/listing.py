"""`jobs-exec schedules list` and `next`: what there is, and when it ticks."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING

import click

from jobs_exec.cli.output import emit_json, emit_table, json_option
from jobs_exec.cli.schedules.finding import Narrowing, find, find_one, narrowing_options
from jobs_exec.cli.schedules.views import (
    SCHEDULE_COLUMNS,
    TICK_COLUMNS,
    TickLine,
    schedule_object,
    schedule_row,
    tick_lines,
)
from jobs_exec.cli.session import Overrides, host_options, with_client
from jobs_exec.cli.times import Time, time_given
from jobs_exec.contracts.schedule import Audience, ScheduleState

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import Schedule, ScheduleView

STATES = tuple(state.value for state in ScheduleState)


@click.command("list")
@click.option("--name", metavar="NAME", help="Only schedules of this name.")
@click.option("--org", "org_id", metavar="ORG", help="Only those that make jobs for this org.")
@click.option("--state", type=click.Choice(STATES), help="Only those that stand so.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Most to list.")
@narrowing_options
@host_options
@json_option
def list_(
    name: str | None,
    org_id: str | None,
    state: str | None,
    limit: int,
    narrowing: Narrowing,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Lists schedules by name, with their next tick and the last one that was fired.

    Those of code are listed once an executor that carries them has started.
    """

    async def work(client: Client) -> list[ScheduleView]:
        found = await find(client.backend.schedules, narrowing, name)
        return [view for view in found if _serves(view.schedule, org_id) and state in (None, view.state.value)]

    views = with_client(overrides, work)[:limit]
    if as_json:
        emit_json([schedule_object(view) for view in views])
    else:
        emit_table([schedule_row(view) for view in views], SCHEDULE_COLUMNS, "no schedules match")


@click.command("next")
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="Ticks of each schedule.")
@click.option("--at", type=Time(), callback=time_given, metavar="TIME", help="Ticks after this time.  [default: now]")
@click.option("--zone", metavar="ZONE", help="Show local times of this zone.  [default: the schedule's]")
@narrowing_options
@host_options
@json_option
def next_(
    name: str | None,
    count: int,
    at: datetime | None,
    zone: str | None,
    narrowing: Narrowing,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Shows when schedules tick next, in UTC and in their zone; of NAME, or of all that are active.

    Ticks are computed from the definition; those of a schedule that is paused, disabled or orphaned are shown with
    its name, and are not fired.
    """

    async def work(client: Client) -> tuple[datetime, list[ScheduleView]]:
        book = client.backend.schedules
        after = at or await book.now()
        if name is not None:
            return after, [await find_one(book, name, narrowing)]
        return after, [view for view in await find(book, narrowing) if view.state is ScheduleState.ACTIVE]

    after, views = with_client(overrides, work)
    found = [(view, _lines(view, after, count, zone)) for view in views]
    if as_json:
        emit_json([{**_naming(view), "ticks": list(map(dataclasses.asdict, lines))} for view, lines in found])
        return
    rows = [{"name": view.schedule.ref, **dataclasses.asdict(line)} for view, lines in found for line in lines]
    emit_table(rows, TICK_COLUMNS, "no schedule has a further tick")


def _lines(view: ScheduleView, after: datetime, count: int, zone: str | None) -> list[TickLine]:
    from jobs_exec.scheduling.ticks import next_ticks
    from jobs_exec.scheduling.zones import zone_of

    ticks = next_ticks(view.schedule, after, count)
    return list(tick_lines(ticks, zone_of(zone or view.schedule.zone), after))


def _naming(view: ScheduleView) -> dict[str, str | None]:
    made = view.schedule
    return {"name": made.name, "owner": made.owner, "tenant": made.org_id, "state": view.state.value}


def _serves(made: Schedule, org_id: str | None) -> bool:
    return org_id is None or isinstance(made.orgs, Audience) or org_id in made.orgs
