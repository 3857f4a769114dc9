"""An executor stepped by hand, and jobs as a client would prepare them: what the contract suites drive a backend with."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from jobs_exec.contracts import Claim, ClaimRequest, ExecutorRecord, Policy, RescueRequest, ScheduleRef, TypeRecord
from jobs_exec.envelope import Envelope
from jobs_exec.identity import Identity
from jobs_exec.job import Action, AttemptRef, ClaimedJob, NewJob, Settlement
from jobs_exec.preparing import prepare
from jobs_exec.testing.harness import BackendHarness

WORK = TypeRecord("work", "default", Identity.PAYLOAD)
EACH = TypeRecord("each", "default", Identity.NONE)
KNOWN = {record.name: record for record in (WORK, EACH)}
LEASE = 15.0


def new_job(org: str, data: dict[str, Any] | None = None, type: str = "work", **options: Any) -> NewJob:
    """A job as the client would have prepared it."""
    return prepare(Envelope(org, type, data or {}, **options), {}, KNOWN, Policy(), allow_unregistered=True)


def succeed(job: ClaimedJob, *, ttl: float | None = 3600.0, result: str | None = None) -> Settlement:
    """A success that suppresses repetition for `ttl` seconds."""
    return Settlement(job.ref, Action.SUCCEED, result=result, key_ttl=ttl)


class Driver:
    """An executor stepped by hand."""

    def __init__(
        self,
        harness: BackendHarness,
        types: tuple[TypeRecord, ...] = (WORK, EACH),
        schedules: tuple[ScheduleRef, ...] = (),
    ) -> None:
        self.harness = harness
        self.backend = harness.backend
        self.types = types
        self.schedules = schedules
        self.id = uuid4()

    async def join(self) -> Driver:
        await self.backend.join(ExecutorRecord(self.id, "probe", LEASE, ("default",), self.types, self.schedules))
        return self

    async def claim(self, limit: int = 100, **options: Any) -> Claim:
        types = frozenset(record.name for record in self.types)
        return await self.backend.claim(ClaimRequest(self.id, "default", types, limit, **options))

    async def claim_one(self, **options: Any) -> ClaimedJob:
        (job,) = (await self.claim(1, **options)).jobs
        return job

    async def settle(self, *settlements: Settlement) -> frozenset[AttemptRef]:
        return (await self.backend.settle(settlements)).accepted

    async def die(self) -> None:
        """Goes silent until somebody has taken its jobs back."""
        for _ in range(2):
            await self.harness.expire_lease(self.id)
            await self.backend.rescue(RescueRequest())
