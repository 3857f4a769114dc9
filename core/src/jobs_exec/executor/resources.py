"""What executors stand on, open while they work: the backend, a store of its own, the plugins' lifespans.

One process may run several executors on the same resources, one after another or side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from jobs_exec.executor.containing import contained
from jobs_exec.host import Host


@asynccontextmanager
async def opened(host: Host) -> AsyncIterator[None]:
    """Connects, and lets go at the end of the block. Raises `BackendUnavailable` or `SchemaMismatch`."""
    async with AsyncExitStack() as resources:
        for each in (host.backend, *(() if host.ledger_is_store else (host.store,))):
            await each.open()
            resources.push_async_callback(each.close)
        resources.enter_context(contained(asyncio.get_running_loop()))
        for lifespan in host.lifespans:
            await resources.enter_async_context(lifespan)
        yield
