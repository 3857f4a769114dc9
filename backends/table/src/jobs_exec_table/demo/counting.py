"""The second count: what SQL finds in the tables, over a connection that has nothing to do with the backend."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import class_row, dict_row

from jobs_exec_table.demo.scenario import ATTEMPTS, BROKEN, BUSY, NOISY
from jobs_exec_table.demo.verdict import Group, Ledger

_ORDER = (NOISY, BROKEN, BUSY, "quiet")


def count_in_tables(url: str) -> Ledger:
    """Reads the ledger of the database at `url`."""
    with psycopg.connect(url) as connection:
        named = {"named": [NOISY, BROKEN, BUSY]}
        with connection.cursor(row_factory=class_row(Group)) as cursor:
            groups = cursor.execute(_statement("groups"), named).fetchall()
        with connection.cursor(row_factory=dict_row) as totals:
            row = totals.execute(_statement("totals"), {"attempts": ATTEMPTS, "noisy": NOISY}).fetchone()
    figures = cast("dict[str, Any]", row)  # an aggregate without GROUP BY has exactly one row
    return Ledger(groups=tuple(sorted(groups, key=lambda each: _ORDER.index(each.name))), **figures)


def _statement(name: str) -> LiteralString:
    # A file of this distribution is as literal as text in the code is.
    return files("jobs_exec_table.demo").joinpath("sql", f"{name}.sql").read_text()
