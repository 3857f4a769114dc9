"""Hearing hints that a queue has new jobs: one listening connection a process, opened when somebody first waits.

::

    idle -> connecting -> listening -> (connection lost) -> pausing -> connecting
              |               |
              |               +-- every (re)connect: LISTEN, then wake everybody once, for what was missed
              +-- the probe is not heard -> pausing, for a minute

Polling is the guarantee and this only shortens it. A transaction pooler accepts LISTEN and never delivers, so each
new connection is probed from a second one; behind a pooler nobody listens unless `JOB_LISTEN_URL` leads past it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from uuid import uuid4

from jobs_exec.errors import BackendUnavailable, JobsError
from jobs_exec_table.connections import Conn, Connections
from jobs_exec_table.faults import translated
from jobs_exec_table.notifying import CHANNEL, NOTIFY, Notifier

log = logging.getLogger("jobs_exec.table")

LISTEN = f"listen {CHANNEL}"
PROBE = "?"
"""The first character of a probe: no queue's name begins with it."""

PROBE_TIMEOUT = 5.0
LONGEST_PAUSE = 60.0


class Waking:
    """`wake` and `wait` of the backend."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._notifier = Notifier(connections)
        self._listener: asyncio.Task[None] | None = None
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._missed: set[str] = set()
        """Queues hinted at while nobody waited: the next wait returns at once."""
        self._told = False
        self.listening = asyncio.Event()
        """Set while hints arrive."""

    def wake(self, queues: Sequence[str]) -> None:
        """Hints at `queues`; returns at once, never fails."""
        self._notifier.hint(queues)

    async def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """True at the first hint for one of `queues`, False after `timeout` seconds."""
        self._listen()
        for queue in queues:
            self._waiters.setdefault(queue, set())
        missed = self._missed.intersection(queues)
        if missed:
            self._missed -= missed
            return True
        return await self._hinted(queues, timeout)

    async def close(self) -> None:
        """Sends hints that are due and stops listening; may be called twice."""
        await self._notifier.close()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _hinted(self, queues: Sequence[str], timeout: float) -> bool:
        future = asyncio.get_running_loop().create_future()
        for queue in queues:
            self._waiters[queue].add(future)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            return False
        finally:
            for queue in queues:
                self._waiters[queue].discard(future)
        return True

    def _hint(self, queue: str) -> None:
        waiting = self._waiters.get(queue)
        if waiting is None:
            return  # nobody in this process serves it
        if not waiting:
            self._missed.add(queue)
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # --- the listener ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._listener is not None:
            return
        if self._connections.pooled and self._connections.settings.listen_url is None:
            self._tell(
                logging.INFO,
                "a transaction pooler is in between, so new jobs are found by polling; "
                "JOB_LISTEN_URL past the pooler makes pick-up quicker",
            )
            return
        self._listener = asyncio.create_task(self._run(), name="listener")

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._serve()
            except JobsError as error:
                self._tell(logging.WARNING, f"wake-up hints are not heard, polling goes on: {error}")
            if self.listening.is_set():
                self.listening.clear()
                pause = 0.1
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  (spreads load, guards no secret)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _serve(self) -> None:
        """Listens until the connection is lost."""
        url = self._connections.settings.listen_url
        async with self._connections.single("listen", url.get_secret_value() if url else None) as connection:
            await connection.execute(LISTEN)
            await self._probe(connection)
            self._told = False
            self.listening.set()
            for queue in self._waiters:
                self._hint(queue)
            async for notify in connection.notifies():
                self._hint(notify.payload)
        raise BackendUnavailable("table", "the listening connection was closed")

    async def _probe(self, connection: Conn) -> None:
        word = f"{PROBE}{uuid4()}"
        async with self._connections.connection() as second:
            await second.execute(NOTIFY, (CHANNEL, word))
        with translated():
            async for notify in connection.notifies(timeout=PROBE_TIMEOUT):
                if notify.payload == word:
                    return
        raise BackendUnavailable(
            "table", "LISTEN is accepted and nothing is delivered; JOB_LISTEN_URL must not lead through a pooler"
        )

    def _tell(self, level: int, text: str) -> None:
        """Once, until it works again."""
        log.log(logging.DEBUG if self._told else level, text)
        self._told = True
