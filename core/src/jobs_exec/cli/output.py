"""What commands print: data on stdout, as a table for people or as JSON for programs; talk on stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def emit_json(data: Any) -> None:
    """One JSON value; dataclasses become objects, whatever JSON has not becomes text."""
    click.echo(json.dumps(data, default=_plain, ensure_ascii=False, indent=2))


def emit_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """A table of `columns`; `empty` is said on stderr when there are no rows."""
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console(soft_wrap=True).print(table)


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
