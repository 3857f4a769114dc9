"""The first count: what is enqueued, and what the receipts say.

The noisy org comes first with everything it has, then the others together, all in batches. Exact repeats come twice:
of jobs that still wait, and of jobs that have run. Envelopes without an org are refused before anything reaches the
database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobs_exec import Client, Envelope, Receipt
from jobs_exec.errors import MissingOrg
from jobs_exec_table.demo.scenario import EACH, NOISY, ORGLESS, TYPE, Scenario, chunks, group_of, payload
from jobs_exec_table.demo.verdict import Receipts

BATCH = 1000

Advance = Callable[[int], None]


@dataclass(slots=True)
class Producer:
    """Enqueues the parts of a scenario through `client` and keeps count of the receipts."""

    client: Client
    scenario: Scenario
    base_url: str
    _outcomes: Counter[str] = field(default_factory=Counter)
    _duplicates: Counter[str] = field(default_factory=Counter)
    _refusals: list[str] = field(default_factory=list)

    @property
    def receipts(self) -> Receipts:
        """What was answered so far."""
        of_done = self._outcomes["succeeded"]
        return Receipts(
            created=self._outcomes["created"],
            of_queued=sum(self._outcomes.values()) - self._outcomes["created"] - of_done,
            of_done=of_done,
            refusals=tuple(self._refusals),
            by_group=dict(self._duplicates),
        )

    async def noisy(self, advance: Advance) -> None:
        """The noisy org's jobs; `advance` is told how many each batch had."""
        await self._in_batches([(NOISY, number) for number in range(self.scenario.noisy)], advance)

    async def others(self, advance: Advance) -> None:
        """The jobs of all other orgs."""
        jobs = [(org_id, number) for org_id in self.scenario.small_orgs for number in range(EACH)]
        await self._in_batches(jobs, advance)

    async def repeats_of_queued(self) -> None:
        """Exact repeats of jobs that wait."""
        await self._enqueue(self.scenario.repeats_of_queued())

    async def repeats_of_done(self) -> None:
        """Exact repeats of jobs that have run."""
        await self._enqueue(self.scenario.repeats_of_done())

    async def without_an_org(self) -> None:
        """Envelopes that must be refused."""
        for nobody in ORGLESS:
            try:
                receipt = await self.client.enqueue(org_id=nobody, type=TYPE, data=payload(self.base_url, NOISY, -1))
            except MissingOrg as error:
                self._refusals.append(str(error))
            else:
                self._note(NOISY, receipt)

    async def _in_batches(self, jobs: Sequence[tuple[str, int]], advance: Advance) -> None:
        for part in chunks(len(jobs), BATCH):
            advance(await self._enqueue(jobs[part.start : part.stop]))

    async def _enqueue(self, jobs: Sequence[tuple[str, int]]) -> int:
        envelopes = [Envelope(org_id, TYPE, payload(self.base_url, org_id, number)) for org_id, number in jobs]
        for envelope, receipt in zip(envelopes, await self.client.enqueue_many(envelopes), strict=True):
            self._note(envelope.org_id, receipt)
        return len(envelopes)

    def _note(self, org_id: str, receipt: Receipt) -> None:
        self._outcomes[receipt.of_state or receipt.outcome.value] += 1
        if receipt.duplicate:
            self._duplicates[group_of(org_id)] += 1
