"""`jobs-exec schedules export`: what another clock needs to drive schedules."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

from jobs_exec.cli.durations import duration
from jobs_exec.cli.errors import REFUSED
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.schedules import crontab, kubernetes, pg_cron
from jobs_exec.cli.schedules.calls import Calling, Target, Via
from jobs_exec.cli.schedules.finding import Narrowing, ambiguous, find, narrowing_options
from jobs_exec.cli.session import Overrides, client_host, host_options, on_host
from jobs_exec.contracts.backend import Capability
from jobs_exec.contracts.schedule import ScheduleState
from jobs_exec.errors import InvalidSchedule, ScheduleNotFound

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import Schedule, ScheduleView
    from jobs_exec.host import Host


class Format(StrEnum):
    """Whose clock."""

    CRONTAB = "crontab"
    PG_CRON = "pg_cron"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the command line said about the other clock."""

    format: Format
    calling: Calling
    orgs_query: str | None
    image: kubernetes.Image

    @property
    def header(self) -> tuple[str, ...]:
        """Comments above all schedules."""
        return {"crontab": crontab.HEADER, "pg_cron": pg_cron.HEADER, "kubernetes": kubernetes.HEADER}[self.format]

    def text(self, target: Target) -> str:
        """One schedule. Raises `InvalidSchedule` when it cannot be said."""
        match self.format:
            case Format.CRONTAB:
                return crontab.crontab_of(target, self.calling)
            case Format.PG_CRON:
                return pg_cron.sql_of(target, self.orgs_query)
            case Format.KUBERNETES:
                return kubernetes.manifest_of(target, self.calling, self.image)


@dataclass(frozen=True, slots=True)
class Exported:
    """A schedule with its text."""

    target: Target
    text: str


def _checked_duration(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """The text itself: another process will read it."""
    duration(ctx, parameter, value)
    return value


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--format", type=click.Choice([each.value for each in Format]), required=True, help="Whose clock.")
@click.option(
    "--via",
    type=click.Choice([each.value for each in Via]),
    help="What crontab and Kubernetes call.  [default: run]",
)
@click.option("--command", metavar="TEXT", help="How the command is called there.  [default: jobs-exec]")
@click.option("--directory", metavar="DIR", help="For crontab: where the command is called.  [default: home]")
@click.option(
    "--budget",
    metavar="DURATION",
    default="50s",
    show_default=True,
    callback=_checked_duration,
    help="Longest draining of --via run.",
)
@click.option("--no-drain", is_flag=True, help="With --via run: fire only, executors run the jobs.")
@click.option("--orgs-query", metavar="SQL", help="For pg_cron: lists the orgs of a schedule that is for all of them.")
@click.option("--image", metavar="IMAGE", help="For Kubernetes: the container image that has the command.")
@click.option("--secret", metavar="NAME", help="For Kubernetes: the Secret whose keys are its settings.")
@narrowing_options
@host_options
@json_option
def export(names: tuple[str, ...], narrowing: Narrowing, overrides: Overrides, as_json: bool, **given: Any) -> None:
    """Prints what makes another clock drive schedules: those of NAME, or all that are not paused.

    \b
    run      fires by the book, then drains the queue: for all orgs too,
             with overlap, jitter, start and end
    trigger  runs the job of each org in the called process
    http     sends a signed call for each org to $JOB_TRIGGER_URL

    Executors may go on firing the same schedules: a tick of an org is one piece of work for all of them, and whoever
    comes second finds it done. `run` and pg_cron's jobs.fire ask the book, and run holds the clock to the schedule: one
    that is late, or reads another zone, fires no tick of its own. trigger and http give the job the very key that the
    book would, with the minute that the clock called at. To leave the clock to the other side alone, define the
    schedule as disabled.

    What a clock cannot say is refused by name, and nothing is printed then. None of them catches up as executors do:
    crontab and pg_cron drop what they miss, Kubernetes starts the last one.
    """
    options = _options(**given)
    host = client_host(overrides)

    async def work(client: Client) -> list[Target]:
        return await _targets(host, client, names, narrowing)

    exported = _exported(on_host(host, work), options)
    for each in exported:
        if each.target.id is None:
            say(
                f"note: {each.target.schedule.ref} stands in no book here; its calls know of no firing of another clock"
            )
    _print(exported, options, as_json)


def _options(
    format: str,
    via: str | None,
    command: str | None,
    directory: str | None,
    budget: str,
    no_drain: bool,
    orgs_query: str | None,
    image: str | None,
    secret: str | None,
) -> ExportOptions:
    """Refuses options of another format: they would be left out without a word."""
    chosen = Format(format)
    strangers = {
        "--via": chosen is Format.PG_CRON and via,
        "--command": chosen is Format.PG_CRON and command,
        "--directory": chosen is not Format.CRONTAB and directory,
        "--orgs-query": chosen is not Format.PG_CRON and orgs_query,
        "--image": chosen is not Format.KUBERNETES and image,
        "--secret": chosen is not Format.KUBERNETES and secret,
    }
    for option, given in strangers.items():
        if given:
            raise click.UsageError(f"{option} does not go with --format {format}")
    if chosen is Format.KUBERNETES and not image:
        raise click.UsageError("--format kubernetes needs --image IMAGE")
    words = shlex.join(shlex.split(command or "jobs-exec"))
    calling = Calling(Via(via or Via.RUN), words, None if no_drain else shlex.quote(budget), directory)
    return ExportOptions(chosen, calling, orgs_query, kubernetes.Image(image or "", secret))


async def _targets(host: Host, client: Client, names: Sequence[str], narrowing: Narrowing) -> list[Target]:
    """Those of the book, and those of code that stand in none; each name means one."""
    views = await find(client.backend.schedules, narrowing) if _has_book(host) else []
    found = [_target(host, view.schedule, view) for view in views]
    in_book = {view.schedule.ref for view in views}
    of_code = [made for made in host.schedules if narrowing.admits(made.ref) and made.ref not in in_book]
    found += [_target(host, made, None) for made in of_code]
    if not names:
        paused = {view.id for view in views if view.state is ScheduleState.PAUSED}
        return [target for target in found if target.id is None or target.id not in paused]
    return [_named(name, found) for name in dict.fromkeys(names)]


def _has_book(host: Host) -> bool:
    return Capability.SCHEDULES in host.backend.capabilities


def _target(host: Host, made: Schedule, view: ScheduleView | None) -> Target:
    from jobs_exec.scheduling.checking import payload_text

    return Target(made, None if view is None else view.id, payload_text(made, host.policy.max_payload_bytes))


def _named(name: str, found: Sequence[Target]) -> Target:
    matching = [target for target in found if target.schedule.name == name]
    if not matching:
        raise ScheduleNotFound(name, {target.schedule.name for target in found})
    if len(matching) > 1:
        raise ambiguous(name, [target.schedule.ref for target in matching])
    return matching[0]


def _exported(targets: Sequence[Target], options: ExportOptions) -> list[Exported]:
    """The texts; when one cannot be made, says why for all of those and exits 6."""
    made: list[Exported] = []
    refused = 0
    for target in targets:
        try:
            made.append(Exported(target, options.text(target)))
        except InvalidSchedule as error:
            refused += 1
            say(f"{target.schedule.ref}: {error}")
    if refused:
        say(f"{refused} of {len(targets)} schedule(s) cannot be exported to {options.format}; name the others")
        raise SystemExit(REFUSED)
    return made


def _print(exported: Sequence[Exported], options: ExportOptions, as_json: bool) -> None:
    if as_json:
        emit_json([_object(each) for each in exported])
        return
    if not exported:
        say("no schedules match")
        return
    separator = "\n---\n" if options.format is Format.KUBERNETES else "\n\n"
    click.echo("\n".join(options.header) + "\n" + separator.join(each.text for each in exported))


def _object(exported: Exported) -> dict[str, Any]:
    made = exported.target.schedule
    return {"name": made.name, "owner": made.owner, "tenant": made.org_id, "text": exported.text}
