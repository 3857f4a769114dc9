"""`jobs-exec plugins`: what is installed and what became of it. `list` imports no plugin and no settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from jobs_exec.cli.errors import NEGATIVE
from jobs_exec.cli.output import emit_json, emit_table, json_option
from jobs_exec.discovery import PluginRecord, discover
from jobs_exec.errors import PluginNotFound

COLUMNS = ("name", "group", "distribution", "version", "state", "reason")


@click.group()
def plugins() -> None:
    """List, show and check installed plugins."""


@plugins.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Lists installed plugins without importing them."""
    _show(discover(), as_json)


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Imports the plugin NAME (entry point or distribution) and shows everything known about it."""
    from jobs_exec.host import inspect_plugins

    records = inspect_plugins()
    found = [record for record in records if name in (record.name, record.distribution)]
    if not found:
        raise PluginNotFound(name, {each for record in records for each in (record.name, record.distribution)})
    _show(found, as_json)
    for record in found:
        if record.details:
            click.echo(record.details, err=True)


@plugins.command()
@json_option
def check(as_json: bool) -> None:
    """Imports every handler plugin; exits 1 when one of them has a problem."""
    from jobs_exec.host import inspect_plugins

    records = inspect_plugins()
    _show(records, as_json)
    problems = [record.problem for record in records if record.problem]
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(NEGATIVE if problems else 0)


def _show(records: Sequence[PluginRecord], as_json: bool) -> None:
    rows: list[dict[str, Any]] = [{column: getattr(record, column) for column in COLUMNS} for record in records]
    if as_json:
        emit_json(rows)
    else:
        emit_table(rows, COLUMNS, "no plugins are installed; try: pip install jobs-exec-table")
