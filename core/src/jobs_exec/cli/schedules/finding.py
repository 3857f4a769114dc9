"""Which schedule a name on the command line means: names are unique only for each distribution and each tenant."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jobs_exec.book.finding import MOST
from jobs_exec.contracts.schedule import ScheduleFilter, ScheduleRef
from jobs_exec.errors import ScheduleNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs_exec.contracts.schedule import ScheduleBook, ScheduleView


@dataclass(frozen=True, slots=True)
class Narrowing:
    """`--owner` and `--tenant`: None means any, ``""`` those that have none."""

    owner: str | None = None
    tenant: str | None = None

    def admits(self, ref: ScheduleRef) -> bool:
        """True when `ref` is one of those meant."""
        return self.owner in (None, ref.owner) and self.tenant in (None, ref.org_id or "")


def narrowing_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--owner` and `--tenant`, handed to the command as one `Narrowing`."""

    @click.option(
        "--owner", metavar="NAME", help='Only of this distribution, or of "application"; "" for those added by hand.'
    )
    @click.option("--tenant", metavar="ORG", help='Only those that belong to this org; "" for those of no tenant.')
    @functools.wraps(function)
    def command(*args: Any, owner: str | None, tenant: str | None, **kwargs: Any) -> None:
        function(*args, narrowing=Narrowing(owner, tenant), **kwargs)

    return command


async def find(book: ScheduleBook, narrowing: Narrowing, name: str | None = None) -> list[ScheduleView]:
    """Those in the book that are meant, by name, owner and org."""
    where = ScheduleFilter(name, narrowing.owner, narrowing.tenant or None, MOST)
    return [view for view in await book.list(where) if narrowing.admits(view.schedule.ref)]


async def find_one(book: ScheduleBook, name: str, narrowing: Narrowing) -> ScheduleView:
    """The one called `name`. Raises `ScheduleNotFound`, and a usage error that lists the candidates of several."""
    views = await find(book, narrowing, name)
    if not views:
        raise ScheduleNotFound(name, {view.schedule.name for view in await book.list(ScheduleFilter(limit=MOST))})
    if len(views) > 1:
        raise ambiguous(name, [view.schedule.ref for view in views])
    return views[0]


def ambiguous(name: str, refs: Iterable[ScheduleRef]) -> click.UsageError:
    """The refusal of a name that several schedules have."""
    lines = "\n".join(f"  {name} {narrowed(ref)}" for ref in refs)
    return click.UsageError(f"several schedules are called {name}; say which one is meant:\n{lines}")


def narrowed(ref: ScheduleRef) -> str:
    """The options that tell `ref` from others of its name."""
    if ref.org_id is not None:
        return f"--tenant {shlex.quote(ref.org_id)}"
    return f"--owner {shlex.quote(ref.owner)} --tenant ''"
