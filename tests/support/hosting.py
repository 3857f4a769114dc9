"""ASGI apps of other people behind a real server, in the loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from jobs_exec_cron.http.serving import Guarded, Server, listening


@asynccontextmanager
async def hosted(
    app: Any, lifespan: str = "on", limit_concurrency: int | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` behind uvicorn, which runs its lifespan unless it is ``off``."""
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan=lifespan,  # type: ignore[arg-type]
        ws="none",
        http=Guarded,
        limit_concurrency=limit_concurrency,
    )
    listens = asyncio.Event()
    server = Server(config, listens.set)
    with listening("127.0.0.1", 0) as listener:
        running = asyncio.create_task(server.serve([listener]))
        waiting = asyncio.create_task(listens.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                yield client
        finally:
            waiting.cancel()
            server.should_exit = True
            await running
