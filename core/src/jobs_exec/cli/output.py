"""What commands print: data on stdout, as a table for people or as JSON for programs; talk on stderr.

Ids, types and error texts come from tenants: control characters are escaped on the way to a terminal, and
nothing of them is read as markup.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")

_FREE_TEXT = frozenset({"org_id", "type", "note", "value", "default", "reason"})
"""Columns that break their lines on a narrow terminal; the others stay whole."""

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60))

_PIPE_WIDTH = 100_000
"""Into a file or pipe a row stays one line, however long."""


def emit_json(data: Any) -> None:
    """One JSON value; dataclasses become objects, whatever JSON has not becomes text."""
    click.echo(json.dumps(data, default=_plain, ensure_ascii=False, indent=2))


def emit_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """A table of `columns`; `empty` is said on stderr when there are no rows."""
    if not rows:
        say(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _FREE_TEXT)
    for row in rows:
        table.add_row(*(Text(printable(_cell(row.get(column)))) for column in columns))
    _console().print(table)


def emit_fields(fields: Mapping[str, Any]) -> None:
    """One value a line; what is not known is left out, lines of a long text are indented below its name."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value is None or value is False or value in ("", (), []):
            continue
        first, *rest = _cell(value).split("\n")
        click.echo(f"{name:<{width}}  {printable(first)}")
        for line in rest:
            click.echo(f"{'':<{width}}  {printable(line)}")


def say(text: str) -> None:
    """Talk on stderr."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=True)


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates escaped, so that it cannot drive a terminal."""
    return "".join(_escaped(char) if unicodedata.category(char) in ("Cc", "Cs") else char for char in text)


def decoded(text: str | None) -> Any:
    """The JSON value of a stored payload or result; the text itself when it cannot be shown as JSON."""
    if text is None:
        return None
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def distance(when: datetime | None) -> str | None:
    """How far `when` is from now, in its largest unit: ``in 2h``, ``5s ago``."""
    if when is None:
        return None
    seconds = (when - datetime.now(UTC)).total_seconds()
    size, unit = next(((size, unit) for unit, size in _UNITS if abs(seconds) >= size), (1, "s"))
    count = f"{abs(seconds) / size:.0f}{unit}"
    return f"in {count}" if seconds > 0 else f"{count} ago"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return "-" if value is None or value == "" else str(value)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_PIPE_WIDTH)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
