"""The cron backend says what it is for, and what is not there yet."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from jobs_exec.contracts import Capability, ClaimRequest, JobFilter, QueueBackend
from jobs_exec.errors import CapabilityMissing
from jobs_exec.host import Purpose, build_host
from jobs_exec_cron.backend import CronBackend


def test_it_declares_that_jobs_are_pushed_to_it() -> None:
    backend: QueueBackend = CronBackend()
    assert backend.capabilities == {Capability.PUSH}


def test_it_is_selected_by_its_entry_point_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = {"JOB_QUEUE_BACKEND": "cron", "JOB_IDEMPOTENCY_STORE": "memory", "JOB_PLUGINS_ALLOW": "cron,memory"}
    assert build_host(overrides, for_=Purpose.CLIENT).backend.name == "cron"


async def test_there_is_nothing_to_poll_and_it_says_what_to_use() -> None:
    with pytest.raises(CapabilityMissing, match="JOB_QUEUE_BACKEND=table"):
        await CronBackend().claim(ClaimRequest(uuid4(), "default", frozenset(), 1))


async def test_what_is_not_there_yet_is_refused_by_name() -> None:
    backend = CronBackend()
    with pytest.raises(CapabilityMissing, match="no trigger yet"):
        await backend.enqueue([])
    with pytest.raises(CapabilityMissing, match="'inspect'"):
        await backend.operator.jobs(JobFilter())
