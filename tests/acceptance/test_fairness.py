"""Fairness of whole executors: also of those that live for one claim and remember nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from databases import Database
from stepping import Queue, org

from jobs_exec import JobContext, JobType, job_type
from jobs_exec.contracts import Policy
from jobs_exec.executor import Executor, ExitReport, Mode
from jobs_exec.host import Host
from jobs_exec.settings import CoreSettings
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings


@pytest.fixture
def queue(migrated: Database) -> Iterator[Queue]:
    with migrated.connect() as connection:
        yield Queue(connection)


class Served:
    """Handlers that keep the org of every job, and executors that run them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.orgs: list[str] = []

    async def run_once(self, slots: int = 5) -> ExitReport:
        """`jobs-exec run --once` with ``JOB_QUEUES=default:SLOTS``, as a process of its own would start it."""
        return await self._executor(slots, Mode.ONCE).run()

    async def drain(self, slots: int = 100) -> ExitReport:
        """`jobs-exec run --drain`."""
        return await self._executor(slots, Mode.DRAIN).run()

    def _executor(self, slots: int, mode: Mode) -> Executor:
        policy = Policy()
        backend = TableBackend(policy, TableSettings(JOB_DATABASE_URL=self.database.url))
        host = Host(
            settings=CoreSettings(queues=f"default:{slots}"),
            policy=policy,
            backend=backend,
            store=backend.ledger,
            job_types={"work": self._job_type()},
        )
        return Executor(host, mode=mode)

    def _job_type(self) -> JobType:
        async def work(ctx: JobContext, data: dict[str, Any]) -> None:
            self.orgs.append(ctx.org_id)

        return job_type("work", work)


@pytest.fixture
def served(migrated: Database) -> Served:
    return Served(migrated)


async def test_200_runs_of_one_claim_serve_1000_busy_orgs_once_each(queue: Queue, served: Served) -> None:
    queue.fill({org(n): 3 + n % 40 for n in range(1_000)})
    queue.settle_statistics()
    for _ in range(200):
        assert (await served.run_once()).counts.succeeded == 5
    assert Counter(served.orgs) == Counter(org(n) for n in range(1_000))


async def test_runs_of_one_claim_get_past_orgs_whose_jobs_they_do_not_carry(queue: Queue, served: Served) -> None:
    # Somebody carries the foreign type, so that upkeep does not hold its jobs.
    queue.connection.execute(
        "insert into jobs.job_executors (id, name, lease_seconds, lease_until, queues, types)"
        " values (gen_random_uuid(), 'other', 3600, now() + interval '1 hour', '{default}', '{foreign}')"
    )
    queue.fill({org(n): 3 for n in range(20)}, type="foreign")
    queue.fill({org(n): 1 for n in range(20, 30)})
    for _ in range(6):
        await served.run_once()
    assert sorted(served.orgs) == [org(n) for n in range(20, 30)]


async def test_a_hundred_thousand_due_retries_of_one_org_do_not_delay_anothers(queue: Queue, served: Served) -> None:
    queue.fill({"heavy": 100_000, "zz-small": 1}, state="scheduled")
    queue.connection.execute("update jobs.jobs_queue set attempts = 1 where org_id = 'heavy'")
    queue.settle_statistics()
    await served.run_once(slots=100)
    assert served.orgs.count("zz-small") == 1
    assert len(served.orgs) <= 100


async def test_an_org_that_queued_first_and_most_does_not_delay_the_others(queue: Queue, served: Served) -> None:
    queue.fill({"aa-noisy": 3_000})
    queue.fill({org(n): 10 for n in range(39)})
    await served.drain()
    assert len(served.orgs) == 3_390
    # 400 jobs of 40 orgs, fairly, and what was claimed meanwhile.
    last_of_others = max(place for place, each in enumerate(served.orgs) if each != "aa-noisy")
    assert last_of_others < 1_000
