"""`jobs-exec schedules validate`: whether an expression or a file of schedules is right, and when it would tick."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from jobs_exec.cli.errors import NEGATIVE
from jobs_exec.cli.output import emit_json, emit_table, json_option, printable, say
from jobs_exec.cli.schedules.reading import entries
from jobs_exec.cli.schedules.views import TICK_COLUMNS, tick_lines
from jobs_exec.errors import InvalidSchedule

if TYPE_CHECKING:
    from jobs_exec.contracts.schedule import Schedule

TICKS = 3


@click.command()
@click.argument("expression", metavar="[EXPR]", required=False)
@click.option("--zone", metavar="ZONE", help="The zone that EXPR is read in.  [default: UTC]")
@click.option(
    "--from", "source", type=click.File("rb"), metavar="FILE|-", help="Schedules: a JSON object, or one a line."
)
@json_option
def validate(expression: str | None, zone: str | None, source: IO[bytes] | None, as_json: bool) -> None:
    """Checks the cron expression EXPR, or a file of schedules, and shows the next three ticks.

    Nothing is connected to. A wrong expression is shown with its first wrong character; exits 1 when one is wrong.
    """
    if (expression is None) == (source is None):
        raise click.UsageError("name either an expression or a file with --from")
    if source is not None and zone is not None:
        raise click.UsageError("--zone belongs to an expression; the schedules of a file name theirs")
    if source is not None:
        results = [_checked(each.schedule, each.error, f"line {each.line}") for each in entries(source.read())]
    else:
        results = [_expression(expression or "", zone)]
    _print(results, as_json)
    sys.exit(0 if all(result["valid"] for result in results) else NEGATIVE)


def _expression(text: str, zone: str | None) -> dict[str, Any]:
    from jobs_exec.scheduling.defining import schedule

    try:
        made = schedule("expression", "any", cron=text, zone=zone or "UTC", orgs="any")
    except InvalidSchedule as error:
        return _checked(None, error, text)
    return _checked(made, None, text)


def _checked(made: Schedule | None, error: InvalidSchedule | None, name: str) -> dict[str, Any]:
    """What is told of one expression or one line of a file."""
    if made is None:
        assert error is not None  # noqa: S101  (one of both is there)
        where = {"field": error.field, "position": error.position, "error": str(error)}
        return {"name": name, "valid": False, **where}
    from jobs_exec.scheduling.ticks import next_ticks
    from jobs_exec.scheduling.zones import zone_of

    now = datetime.now(UTC)
    ticks = list(tick_lines(next_ticks(made, now, TICKS), zone_of(made.zone), now))
    return {"name": name, "valid": True, "ticks": list(map(dataclasses.asdict, ticks))}


def _print(results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit_json(results)
        return
    for result in results:
        if not result["valid"]:
            _say_problem(result)
    rows = [{"name": each["name"], **tick} for each in results if each["valid"] for tick in each["ticks"]]
    if rows or all(result["valid"] for result in results):
        emit_table(rows, TICK_COLUMNS, "there is no further tick" if results else "the file holds no schedule")


def _say_problem(result: dict[str, Any]) -> None:
    """The error, below the expression itself and a mark at the wrong character."""
    if result["name"].startswith("line "):
        say(f"{result['name']}: {result['error']}")
        return
    position = result["position"]
    if position is not None:
        text = result["name"]
        say(text)
        say(" " * len(printable(text[: position - 1])) + "^")
    say(f"jobs-exec: {result['error']}")
