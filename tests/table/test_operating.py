"""What people read of jobs on Postgres: listings tell why a job failed, and quote nothing of its payload."""

from __future__ import annotations

from typing import Any

import pytest
from databases import Database
from working import Work

from jobs_exec import JobContext, job_type
from jobs_exec.client import Client
from jobs_exec.contracts import JobFilter


async def fail(ctx: JobContext, data: dict[str, Any]) -> None:
    raise ValueError("first\nsecond" if data["n"] else "x" * 5000)


@pytest.mark.parametrize("org", [None, "acme"])
async def test_a_listing_carries_the_reason_and_class_of_the_last_failure(migrated: Database, org: str | None) -> None:
    work = Work(migrated, (job_type("fail", fail, max_attempts=1),))
    await work.enqueue_each("acme", "fail", 2)
    await work.drained()
    await work.enqueue("acme", "fail", {"n": 3})
    async with Client.open(host=work.host()) as client:
        waiting, *dead = await client.backend.operator.jobs(JobFilter(org_id=org))
        shown = await client.backend.operator.job(dead[0].id)
    assert waiting.errors == ()
    assert [(view.errors[-1]["reason"], view.errors[-1]["error"]) for view in dead] == [
        ("failed", "ValueError"),
        ("failed", "ValueError"),
    ]
    assert dead[0].payload is None
    assert shown.errors[-1]["error"].startswith("ValueError: first\nsecond")
