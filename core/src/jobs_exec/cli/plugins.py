"""`jobs-exec plugins`: what is installed and what became of it. `list` imports no plugin and no settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs_exec.cli.errors import NEGATIVE
from jobs_exec.cli.output import emit_fields, emit_json, emit_table, json_option, say
from jobs_exec.discovery import PluginRecord, discover
from jobs_exec.errors import PluginNotFound

if TYPE_CHECKING:
    from jobs_exec.inspecting import PluginDetails

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
    """Imports the plugin NAME (entry point or distribution) and shows everything known about it.

    Job types, hooks, settings, what it requires, where it is. Exits 1 when it has a problem.
    """
    from jobs_exec.cli.session import see_working_directory
    from jobs_exec.inspecting import describe_plugins, known_names

    see_working_directory()
    found = describe_plugins(name)
    if not found:
        raise PluginNotFound(name, known_names())
    rows = [_described(each) for each in found]
    if as_json:
        emit_json(rows)
    else:
        _show([each.record for each in found], as_json=False)
        for row in rows:
            click.echo()
            emit_fields({key: ", ".join(value) if isinstance(value, list) else value for key, value in row.items()})
    for each in found:
        if each.record.details:
            say(each.record.details)
    sys.exit(NEGATIVE if any(each.record.problem for each in found) else 0)


@plugins.command()
@json_option
def check(as_json: bool) -> None:
    """Builds what an executor would run on, connects to nothing, and exits 1 when anything is wrong.

    Imports every plugin, asks each hook, reads the settings of the selected backend and imports JOB_MODULES.
    """
    from jobs_exec.cli.session import see_working_directory
    from jobs_exec.inspecting import check_plugins

    see_working_directory()
    seen = check_plugins()
    _show(seen.records, as_json)
    for warning in seen.warnings:
        say(f"warning: {warning}")
    for problem in seen.problems:
        say(problem)
    sys.exit(NEGATIVE if seen.problems else 0)


def _described(details: PluginDetails) -> dict[str, Any]:
    """One object; what is not known stays in JSON and is left out for people."""
    return {
        **_row(details.record),
        "summary": details.record.summary,
        "requires": details.requires,
        "module": details.record.value,
        "file": details.file,
        "job_types": list(details.job_types),
        "implements": list(details.implements),
        "defines": list(details.defines),
        "settings_class": details.settings_class,
        "settings": list(details.settings),
    }


def _row(record: PluginRecord) -> dict[str, Any]:
    return {column: getattr(record, column) for column in COLUMNS}


def _show(records: Sequence[PluginRecord], as_json: bool) -> None:
    rows = [_row(record) for record in records]
    if as_json:
        emit_json(rows)
    else:
        emit_table(rows, COLUMNS, "no plugins are installed; try: pip install jobs-exec-table")
