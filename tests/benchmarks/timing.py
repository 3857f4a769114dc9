"""What the benchmarks share: a durable server, and milliseconds as percentiles."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from databases import Server, make_template, running_server


@contextmanager
def durable_server(version: int) -> Iterator[Server]:
    """A server of `version` with fsync, and the template of the schema in it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(version, Path(folder) / "server", fsync="on", shared_buffers="512MB") as server,
    ):
        make_template(server)
        yield server


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def percentiles(milliseconds: Sequence[float], *wanted: int) -> dict[str, float]:
    """``{"p50_ms": ..., ...}``."""
    points = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {f"p{each}_ms": round(points[each - 1], 2) for each in wanted}
