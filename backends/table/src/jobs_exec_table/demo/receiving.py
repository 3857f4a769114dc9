"""The parent's side of the receiver: starts the process, asks it for its counts, ends it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jobs_exec_table.demo.verdict import Received

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class ReceiverProcess:
    """A running receiver at `url`."""

    url: str
    _process: asyncio.subprocess.Process

    async def counts(self) -> Received:
        """What it has counted so far."""
        answered = json.loads(await _asked(self._process, "counts"))
        of = {int(status): tuple(both) for status, both in answered.items()}
        delivered, failed, delayed = of.pop(200, (0, 0)), of.pop(500, (0, 0)), of.pop(503, (0, 0))
        return Received(
            delivered_ids=delivered[1],
            answered_500=failed[0],
            failed_ids=failed[1],
            answered_503=delayed[0],
            refused=sum(count for count, _ in of.values()),
        )


@asynccontextmanager
async def receiver_process(secret: str) -> AsyncIterator[ReceiverProcess]:
    """A receiver that verifies with `secret` while the block runs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jobs_exec_table.demo.receiver", stdin=pipe, stdout=pipe
    )
    try:
        # Through the input: command lines are visible to every user of the machine.
        port = await _asked(process, secret)
        yield ReceiverProcess(f"http://127.0.0.1:{int(port)}", process)
    finally:
        await _end(process)


async def _asked(process: asyncio.subprocess.Process, line: str) -> str:
    assert process.stdin is not None  # noqa: S101  (made with pipes)
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(f"{line}\n".encode())
    async with asyncio.timeout(_PATIENCE):
        await process.stdin.drain()
        answer = await process.stdout.readline()
    if not answer:
        raise RuntimeError("the receiver of the demonstration ended; what it said stands above")
    return answer.decode()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
