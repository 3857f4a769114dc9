"""The scheduled function of the recipes, as a platform calls it: a plain function, in a process that may be warm."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from recipes import FILES, TYPE, Setup

TICK = "2026-11-25T03:00:00Z"
PLATFORM = """
import json, sys
from scheduled_function import handler
for event in json.loads(sys.argv[1]):
    print(json.dumps(handler(event, None)), flush=True)
"""


def invoke(setup: Setup, *ticks: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One process that is called for each of `ticks`, one after another."""
    environment = {**setup.environment(), "PYTHONPATH": f"{FILES}:{setup.folder}", **settings}
    events = json.dumps([{"tick": tick} for tick in ticks])
    return setup.call([sys.executable, "-B", "-c", PLATFORM, events], environment)


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("backend", ["table", "cron"])
def test_an_event_that_is_delivered_again_runs_nothing(setup: Setup, backend: str) -> None:
    warm = answers(invoke(setup, TICK, TICK, JOB_QUEUE_BACKEND=backend))
    cold = answers(invoke(setup, TICK, JOB_QUEUE_BACKEND=backend))
    assert [answer["outcome"] for answer in warm + cold] == ["succeeded", "duplicate", "duplicate"]
    assert setup.runs() == [("acme", TYPE, "succeeded")]


def test_the_next_event_is_other_work(setup: Setup) -> None:
    answers(invoke(setup, TICK, "2026-11-26T03:00:00Z"))
    assert setup.reports() == ["acme", "acme"]


def test_a_report_that_was_not_written_is_an_error_so_that_the_platform_calls_again(setup: Setup) -> None:
    setup.database.execute("alter table reports rename to elsewhere")
    try:
        done = invoke(setup, TICK)
    finally:
        setup.database.execute("alter table elsewhere rename to reports")
    assert done.returncode != 0
    assert "the report was not written: failed" in done.stderr
    assert setup.reports() == []
