"""`jobs-exec schedules`: periodic jobs, as operators and clocks outside handle them."""

from __future__ import annotations

import click

from jobs_exec.cli.schedules.adding import add
from jobs_exec.cli.schedules.changing import pause, remove, resume
from jobs_exec.cli.schedules.exporting import export
from jobs_exec.cli.schedules.firing import run
from jobs_exec.cli.schedules.listing import list_, next_
from jobs_exec.cli.schedules.syncing import sync
from jobs_exec.cli.schedules.validating import validate


@click.group()
def schedules() -> None:
    """List, add, change, fire and check schedules of periodic jobs."""


for _command in (add, export, list_, next_, pause, remove, resume, run, sync, validate):
    schedules.add_command(_command)
