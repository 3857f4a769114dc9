"""`jobs-exec schedules add`: a schedule from options, or many from a file.

All are checked before the first is written; each is then a transaction of its own, and whatever stops them names the
ones that were added.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from jobs_exec.cli.data import read_data
from jobs_exec.cli.durations import duration
from jobs_exec.cli.errors import REFUSED
from jobs_exec.cli.output import emit_json, emit_table, json_option, say
from jobs_exec.cli.schedules.reading import Entry, entries
from jobs_exec.cli.schedules.views import SCHEDULE_COLUMNS, schedule_object, schedule_row
from jobs_exec.cli.session import Overrides, client_host, host_options, on_host, say_what_is_kept
from jobs_exec.cli.times import Time, time_given
from jobs_exec.contracts.schedule import Audience, Overlap, ScheduleFilter
from jobs_exec.errors import InvalidSchedule, JobsError, ScheduleExists

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import Schedule, ScheduleBook, ScheduleRecord, ScheduleView
    from jobs_exec.host import Host


@dataclass(frozen=True, slots=True)
class AddOptions:
    """How schedules are added, whatever they are."""

    allow_unregistered: bool
    dry_run: bool


@click.command()
@click.argument("name", required=False)
@click.option("--type", metavar="TYPE", help="The type of its jobs.")
@click.option("--cron", metavar="EXPR", help="When: a cron expression of 5 fields, 6 with seconds, or @daily.")
@click.option("--every", metavar="DURATION", callback=duration, help="When: an interval, such as 90s, 45m or 12h.")
@click.option("--zone", metavar="ZONE", help="The zone that --cron is read in.  [default: UTC]")
@click.option("--org", "orgs", metavar="ORG", multiple=True, help="An org that it makes jobs for; may be repeated.")
@click.option("--all-orgs", is_flag=True, help="For all active orgs of the org directory, read anew at every tick.")
@click.option("--tenant", "org_id", metavar="ORG", help="It belongs to this org, and makes jobs for no other.")
@click.option("--data", metavar="JSON|@FILE|-", help="Payload of every job: a JSON object, a file, or - for stdin.")
@click.option("--tick-as", metavar="FIELD", help="Field of the payload that receives the tick.")
@click.option("--catch-up", metavar="none|last|all[:N]", help="Missed ticks that are fired later.  [default: last]")
@click.option(
    "--overlap", type=click.Choice([each.value for each in Overlap]), help="An org whose last job has not ended."
)
@click.option("--jitter", metavar="DURATION", callback=duration, help="Spread the jobs of a tick over so long.")
@click.option("--start", type=Time(), callback=time_given, metavar="TIME", help="No tick before.")
@click.option("--end", type=Time(), callback=time_given, metavar="TIME", help="No tick at or after.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 first, 9 last, inside the org only.  [default: 5]")
@click.option("--max-attempts", type=click.IntRange(1, 1000), help="Attempts before a job is dead.")
@click.option("--disabled", is_flag=True, help="Keep it without firing: some other clock calls `schedules run`.")
@click.option(
    "--from", "source", type=click.File("rb"), metavar="FILE|-", help="Schedules: a JSON object, or one a line."
)
@click.option("--allow-unregistered", is_flag=True, help="Accept a type that nobody has registered yet.")
@click.option("--dry-run", is_flag=True, help="Check, show what would be added, and stop.")
@host_options
@json_option
def add(
    overrides: Overrides,
    name: str | None,
    source: IO[bytes] | None,
    allow_unregistered: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Adds the schedule NAME, or with --from those of a file.

    Executors fire it as soon as it is there. A name is taken once for each tenant, and once for those of none.
    """
    if (name is None) == (source is None):
        raise click.UsageError("name either a schedule or a file with --from")
    said = {
        option: value for option, value in given.items() if value is not None and value is not False and value != ()
    }
    if source is not None and said:
        raise click.UsageError(
            "options of a schedule belong to a NAME; those of a file say for themselves what they are"
        )
    made = _from_file(source) if source is not None else [_from_options(str(name), said)]
    host = client_host(overrides)
    options = AddOptions(allow_unregistered, dry_run)

    async def work(_client: Client) -> list[ScheduleView]:
        return await _added(host, made, options)

    views = on_host(host, work)
    if not dry_run:
        say_what_is_kept(host)
    _print(views, options, as_json)


def _from_options(name: str, said: dict[str, Any]) -> Schedule:
    from jobs_exec.scheduling.defining import schedule

    if "type" not in said:
        raise InvalidSchedule("type", "is missing; pass --type TYPE")
    whom = [each for each in ("orgs", "all_orgs", "org_id") if said.get(each)]
    if len(whom) != 1:
        raise click.UsageError("say whom it is for with one of --org (which may be repeated), --all-orgs and --tenant")
    if said.pop("all_orgs", False):
        said["orgs"] = Audience.ALL
    if said.pop("disabled", False):
        said["enabled"] = False
    if "data" in said:
        said["data"] = read_data(said["data"])
    return schedule(name, **said)


def _from_file(source: IO[bytes]) -> list[Schedule]:
    """The schedules of a file; exits 6 when one of them is invalid, after naming all that are."""
    found = list(entries(source.read()))
    bad = [each for each in found if each.error is not None]
    for each in bad:
        say(f"line {each.line}: {each.error}")
    if bad:
        say(f"{len(bad)} of {len(found)} schedules are invalid; nothing was added")
        sys.exit(REFUSED)
    return _distinct(found)


def _distinct(found: Sequence[Entry]) -> list[Schedule]:
    lines: dict[object, int] = {}
    for each in found:
        assert each.schedule is not None  # noqa: S101  (it has no error)
        first = lines.setdefault(each.schedule.ref, each.line)
        if first != each.line:
            raise InvalidSchedule("name", f"lines {first} and {each.line} both define {each.schedule.ref}")
    return [each.schedule for each in found if each.schedule is not None]


async def _added(host: Host, made: Sequence[Schedule], options: AddOptions) -> list[ScheduleView]:
    from jobs_exec.book.admitting import admitted

    book = host.backend.schedules
    records = await admitted(host, made, allow_unregistered=options.allow_unregistered)
    await _check_names(book, made)
    if options.dry_run:
        return [_as_it_would_be(record) for record in records]
    views: list[ScheduleView] = []
    try:
        for record in records:
            views.append(await book.add(record))
    except JobsError:
        if views:
            say(f"stopped; added were {', '.join(str(view.schedule.ref) for view in views)}")
        raise
    return views


async def _check_names(book: ScheduleBook, made: Sequence[Schedule]) -> None:
    """Before the first is written, which the book by itself would do."""
    for each in made:
        where = ScheduleFilter(each.name, each.owner, each.org_id)
        if any(view.schedule.ref == each.ref for view in await book.list(where)):
            raise ScheduleExists(str(each.ref))


def _as_it_would_be(record: ScheduleRecord) -> ScheduleView:
    from uuid import UUID

    from jobs_exec.contracts.schedule import ScheduleState, ScheduleView

    made, nobody = record.schedule, UUID(int=0)
    state = ScheduleState.ACTIVE if made.enabled else ScheduleState.DISABLED
    state = state if record.next_tick is not None else ScheduleState.ENDED
    return ScheduleView(nobody, made, state, record.next_tick)


def _print(views: Sequence[ScheduleView], options: AddOptions, as_json: bool) -> None:
    if as_json:
        emit_json([schedule_object(view) for view in views])
        return
    emit_table([schedule_row(view) for view in views], SCHEDULE_COLUMNS, "the file holds no schedule")
    if options.dry_run and views:
        say(f"{len(views)} schedule(s) would be added")
