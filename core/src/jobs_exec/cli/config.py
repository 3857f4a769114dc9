"""`jobs-exec config`: every setting, its value and where it came from; secrets are masked."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from jobs_exec.cli.errors import USAGE
from jobs_exec.cli.output import emit_json, emit_table, json_option, say
from jobs_exec.cli.session import Overrides, host_options
from jobs_exec.errors import ConfigurationError

if TYPE_CHECKING:
    from jobs_exec.settings import SettingsLoader

COLUMNS = ("name", "value", "source", "default", "plugin")


@click.group()
def config() -> None:
    """Show settings and where each value came from."""


@config.command()
@host_options
@json_option
def show(overrides: Overrides, as_json: bool) -> None:
    """Shows the settings of the core and of every installed plugin, selected or not."""
    from jobs_exec.discovery import Policy, discover
    from jobs_exec.installed import installed_settings
    from jobs_exec.settings import CoreSettings, SettingsLoader

    loader = SettingsLoader(overrides)
    core = loader.load(CoreSettings)
    rows, problems = _rows(loader, CoreSettings, "jobs-exec"), []
    classes = installed_settings(discover(Policy(core.plugins_allow, core.plugins_deny)))
    for owner, cls in classes:
        try:
            rows.extend(_rows(loader, cls, owner))
        except ConfigurationError as error:
            problems.append(f"jobs-exec: {error}")
    for warning in loader.unknown([CoreSettings, *(cls for _, cls in classes)]):
        say(f"warning: {warning}")
    if as_json:
        emit_json(rows)
    else:
        emit_table(rows, COLUMNS, "no settings")
    for problem in problems:
        say(problem)
    sys.exit(USAGE if problems else 0)


def _rows(loader: SettingsLoader, cls: type[Any], owner: str) -> list[dict[str, Any]]:
    return [{**dataclasses.asdict(row), "plugin": owner} for row in loader.report([cls])]
