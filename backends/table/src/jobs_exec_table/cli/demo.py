"""`jobs-exec demo`: thousands of real webhooks of many orgs, counted three times."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import click

from jobs_exec.cli.errors import NEGATIVE
from jobs_exec.cli.output import emit_json, emit_table, json_option, say
from jobs_exec.cli.progress import bar

if TYPE_CHECKING:
    from jobs_exec_table.demo.scenario import Scenario


@click.command()
@click.option("--jobs", metavar="J", type=int, default=5390, show_default=True, help="Jobs in all.")
@click.option("--orgs", metavar="R", type=int, default=40, show_default=True, help="Orgs, the noisy one included.")
@json_option
def demo(jobs: int, orgs: int, as_json: bool) -> None:
    """Delivers real webhooks of many orgs, one of them noisy, one broken, one busy.

    Starts PostgreSQL in a temporary folder and an HTTP receiver on loopback, and removes both. Exits 1 unless receipts,
    tables and receiver agree on what was done, and the noisy org held nobody up.
    """
    from jobs_exec_table.demo.scenario import Scenario, ScenarioError
    from jobs_exec_table.demo.surroundings import check_installed

    try:
        scenario = Scenario(jobs, orgs)
    except ScenarioError as error:
        raise click.UsageError(str(error)) from None
    check_installed()
    # A terminated demonstration must not leave a database server behind.
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(_run(scenario, as_json))


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _run(scenario: Scenario, as_json: bool) -> int:
    from jobs_exec_table.demo import report
    from jobs_exec_table.demo.journey import Journey
    from jobs_exec_table.demo.verdict import mismatches

    outcome = Journey(scenario, show=bar, say=say).run()
    problems = mismatches(scenario.expected, outcome)
    if as_json:
        emit_json(report.as_object(outcome, problems))
    else:
        emit_table(report.rows(outcome), report.COLUMNS, "nothing ended")
        for line in ("", *report.lines(scenario, outcome, problems)):
            click.echo(line)
    return NEGATIVE if problems else 0
