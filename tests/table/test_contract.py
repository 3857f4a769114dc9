"""The table backend and its store pass the suites that every backend and store must pass, on 18 and 15."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from databases import Database

from jobs_exec.contracts import Policy
from jobs_exec.testing.backend_contract import QueueBackendContract
from jobs_exec.testing.store_contract import IdempotencyStoreContract
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings


@pytest.fixture
async def harness(migrated: Database) -> AsyncIterator[TableHarness]:
    backend = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=migrated.url))
    await backend.open()
    yield TableHarness(backend, migrated.url)
    await backend.close()


class TestTableBackend(QueueBackendContract):
    """See `QueueBackendContract`."""


class TestTableStore(IdempotencyStoreContract):
    """See `IdempotencyStoreContract`."""
