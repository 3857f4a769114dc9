"""A progress bar on stderr while something long runs; silent where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs_exec.executor.values import Progress

Advance = Callable[[int], None]


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Advance]:
    """Yields ``advance(count)``; a `total` of None makes a bar without an end."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def figures(*, shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Yields a callback that shows an executor's counts as they grow; log lines pass above them."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _progress: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    # `redirect_stderr` (its default) replaces sys.stderr during the block, so that logs and figures do not mix.
    with Bar(console=Console(stderr=True), transient=True) as shown_bar:
        task = shown_bar.add_task("running", total=None)
        yield lambda progress: shown_bar.update(task, description=_line(progress))


def _line(progress: Progress) -> str:
    return (
        f"{progress.succeeded} succeeded, {progress.retried} retried, {progress.dead} dead, {progress.running} running"
    )
