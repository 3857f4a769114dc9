"""The memory backend passes the suite that every backend passes."""

from __future__ import annotations

import pytest

from jobs_exec.contracts import Policy
from jobs_exec.errors import CapabilityMissing
from jobs_exec.testing.backend_contract import QueueBackendContract
from jobs_exec.testing.driving import new_job
from jobs_exec.testing.harness import MemoryHarness


class TestMemoryBackend(QueueBackendContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness(Policy())


async def test_a_connection_is_refused_by_the_name_of_the_capability() -> None:
    with pytest.raises(CapabilityMissing, match="transactional_enqueue"):
        await MemoryHarness().backend.enqueue([new_job("acme")], connection=object())
