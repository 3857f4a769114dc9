"""The SQL of the backend: one file a statement in `sql/`, named for what it does, read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The text of ``sql/NAME.sql``; its parameters are named, ``%(name)s``."""
    # Files of this distribution are as literal as text in the code is.
    return files(__package__).joinpath("sql", f"{name}.sql").read_text()
