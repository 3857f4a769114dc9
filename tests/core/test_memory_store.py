"""The memory store passes the suite that every store passes."""

from __future__ import annotations

import pytest

from jobs_exec.testing.harness import MemoryHarness
from jobs_exec.testing.store_contract import IdempotencyStoreContract


class TestMemoryStore(IdempotencyStoreContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
