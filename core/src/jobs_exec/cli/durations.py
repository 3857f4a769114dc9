"""Durations on the command line: ``90s``, ``45m``, ``12h``, ``30d``, or seconds."""

from __future__ import annotations

import click


def duration(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """A callback for options; seconds."""
    if value is None:
        return None
    from jobs_exec.settings import parse_duration

    try:
        return float(str(parse_duration(value)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
