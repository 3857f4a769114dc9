"""Ids of jobs on the command line: whole, or as much of the beginning as tells one job from all others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

import click

from jobs_exec.contracts.operator import JobFilter
from jobs_exec.errors import JobNotFound

if TYPE_CHECKING:
    from jobs_exec.contracts.operator import Operator

SHORTEST = 8
"""Fewer digits stand for more than a minute of jobs: an id begins with the time."""

_BEGINNING = re.compile(f"[0-9a-f]{{{SHORTEST},31}}")


class IdOrItsBeginning(click.ParamType[UUID | str]):
    """A `UUID`, or the digits that one begins with as text."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> UUID | str:
        """Raises a usage error for what is neither."""
        digits = str(value).strip().replace("-", "").lower()
        if _BEGINNING.fullmatch(digits):
            return digits
        try:
            return UUID(str(value))
        except ValueError:
            problem = f"{str(value)[:64]!r} is no id of a job; pass the id, or at least its first {SHORTEST} digits"
            self.fail(problem, param, ctx)


async def whole_id(operator: Operator, digits: str) -> UUID:
    """The one job's id that begins with `digits`; raises `JobNotFound`, and `UsageError` when there are several."""
    # Listings are ordered by id, newest first, so those that begin so stand together.
    last = UUID(int=min(int(digits.ljust(32, "f"), 16) + 1, (1 << 128) - 1))
    page = [view.id for view in await operator.jobs(JobFilter(before=last, limit=2))]
    found = [each for each in page if each.hex.startswith(digits)]
    if not found:
        raise JobNotFound(f"{digits}...")
    if len(found) > 1:
        raise click.UsageError(f"more than one id begins with {digits}, {found[0]} and {found[1]} do; pass more of it")
    return found[0]
