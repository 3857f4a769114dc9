"""Markdown as the reference pages have it: tables, and the prose of docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table with an empty line before and after it."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return (
        "\n" + "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n\n"
    )


def prose(item: Any) -> str:
    """A docstring (or a text) as one paragraph, names in it as code."""
    text = item if isinstance(item, str) else inspect.getdoc(item) or ""
    return re.sub(r"``?(.+?)``?", r"`\1`", " ".join(text.split()))
