"""Payloads on the command line: JSON as it is, from a file, or from stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from jobs_exec.errors import InvalidJob

STDIN = "-"


def read_data(text: str) -> Any:
    """The value of `--data`; raises `InvalidJob` without repeating what was given."""
    try:
        return json.loads(_data_text(text))
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidJob("data", f"is not JSON{where}; pass an object such as '{{\"id\": 1}}', @FILE or -") from None


def _data_text(text: str) -> str | bytes:
    if text == STDIN:
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint="--data") from None
