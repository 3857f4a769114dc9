"""The whole contract once more, through PgBouncer in transaction mode, where no session is anybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from poolers import Pooled

from jobs_exec.contracts import Policy
from jobs_exec.testing.backend_contract import QueueBackendContract
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.harness import TableHarness
from jobs_exec_table.settings import TableSettings


@pytest.fixture
async def harness(pooled: Pooled) -> AsyncIterator[TableHarness]:
    settings = TableSettings(JOB_DATABASE_URL=pooled.url, JOB_LISTEN_URL=pooled.direct.url)
    backend = TableBackend(Policy(), settings)
    await backend.open()
    assert backend.connections.pooled
    yield TableHarness(backend, pooled.direct.url)
    await backend.close()


class TestTableBackendThroughAPooler(QueueBackendContract):
    """See `QueueBackendContract`."""
