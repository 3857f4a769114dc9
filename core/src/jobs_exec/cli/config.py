"""`jobs-exec config`: every setting, its value and where it came from; secrets are masked."""

from __future__ import annotations

import dataclasses

import click

from jobs_exec.cli.output import emit_json, emit_table, json_option


@click.group()
def config() -> None:
    """Show settings and where each value came from."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Shows the core's settings."""
    from jobs_exec.settings import CoreSettings, SettingsLoader

    loader = SettingsLoader()
    rows = [dataclasses.asdict(row) for row in loader.report([CoreSettings])]
    if as_json:
        emit_json(rows)
    else:
        emit_table(rows, ("name", "value", "source", "default", "description"), "no settings")
