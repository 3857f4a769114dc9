"""Waking: one role turns the backend's hints into claims. Polling is the guarantee, hints are only faster."""

from __future__ import annotations

from collections.abc import Sequence

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.executor.attempt import Lane
from jobs_exec.executor.outage import Outage

_LONGEST_WAIT = 60.0


class Waker:
    """One role: `run` until cancelled."""

    def __init__(self, backend: QueueBackend, lanes: Sequence[Lane]) -> None:
        self._backend = backend
        self._lanes = tuple(lanes)
        self._outage = Outage("waiting for hints")

    async def run(self) -> None:
        """A hint does not say which queue it is about, so all are looked at; an empty look costs 0.2 ms."""
        queues = [lane.queue for lane in self._lanes]
        while True:
            try:
                hinted = await self._backend.wait(queues, _LONGEST_WAIT)
            except Exception as error:
                await self._outage.pause(error)
                continue
            self._outage.recovered()
            if hinted:
                self.wake()

    def wake(self) -> None:
        """Lets every queue be looked at now."""
        for lane in self._lanes:
            lane.hint.set()
