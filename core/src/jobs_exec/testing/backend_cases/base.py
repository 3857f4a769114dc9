"""What every case file builds on."""

from __future__ import annotations

from uuid import UUID

import pytest
import pytest_asyncio

from jobs_exec.contracts import Capability, QueueBackend
from jobs_exec.testing.completeness import missing_of
from jobs_exec.testing.driving import Driver
from jobs_exec.testing.harness import BackendHarness, Peek


@pytest.mark.asyncio
class BackendCases:
    """Fixtures and helpers; subclasses hold the tests, but for the one that must come first."""

    async def test_it_has_every_method_of_the_contract(self, harness: BackendHarness) -> None:
        missing = missing_of(QueueBackend, harness.backend)
        assert not missing, f"{type(harness.backend).__name__} lacks {', '.join(missing)}; see contracts.QueueBackend"

    @pytest_asyncio.fixture
    async def driver(self, harness: BackendHarness) -> Driver:
        """An executor that has joined."""
        self.needs(harness, Capability.CLAIM)
        return await Driver(harness).join()

    async def stored(self, harness: BackendHarness, job_id: UUID) -> Peek:
        """The job as stored; fails when it is neither queued nor recorded."""
        peek = await harness.peek(job_id)
        assert peek is not None, "the job is neither queued nor recorded"
        return peek

    def needs(self, harness: BackendHarness, capability: Capability) -> None:
        """Skips, visibly, what the backend does not declare."""
        if capability not in harness.backend.capabilities:
            pytest.skip(f"the {harness.backend.name} backend has no capability {capability}")
