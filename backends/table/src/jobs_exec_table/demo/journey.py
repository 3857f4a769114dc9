"""From an empty folder to three counts: start everything, enqueue, drain, count."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from jobs_exec import Client
from jobs_exec.cli.session import executor_host
from jobs_exec.executor import Executor
from jobs_exec_table.demo.counting import count_in_tables
from jobs_exec_table.demo.drain import drain
from jobs_exec_table.demo.enqueueing import Producer
from jobs_exec_table.demo.receiving import ReceiverProcess, receiver_process
from jobs_exec_table.demo.scenario import ATTEMPTS, Scenario
from jobs_exec_table.demo.surroundings import database, empty_folder
from jobs_exec_table.demo.verdict import Outcome

Advance = Callable[[int], None]
Show = Callable[[str, int], AbstractContextManager[Advance]]
"""From a label and a total to a progress bar."""


def _silent(_label: str, _total: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda _count: None)


@dataclass(frozen=True, slots=True)
class Journey:
    """One demonstration; `show` makes its progress bars, `prepare` is called with the URL of the migrated database."""

    scenario: Scenario
    show: Show = _silent
    say: Callable[[str], None] = lambda _text: None
    prepare: Callable[[str], None] = lambda _url: None

    def run(self) -> Outcome:
        """Everything; the folder and the server are gone afterwards."""
        self.say("starting PostgreSQL in a temporary folder, and a receiver on loopback")
        with empty_folder() as folder, database(folder) as url:
            self.prepare(url)
            return asyncio.run(self._run(url))

    async def _run(self, url: str) -> Outcome:
        secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        settings = _settings(url, secret)
        async with receiver_process(secret) as receiver, Client.open(settings) as client:
            producer = Producer(client, self.scenario, f"{receiver.url}/hooks")
            # Made before anything waits: the wait that is compared later should be the queue's, not imports.
            host = executor_host(settings, tolerate_broken=False)
            await self._enqueue(producer)
            with self.show("delivering", self.scenario.jobs) as advance:
                report = await drain(lambda told: Executor(host, on_progress=told), self.scenario.jobs, advance)
            if report.problem:
                self.say(report.problem)
            await producer.repeats_of_done()
            return await self._count(url, producer, receiver)

    async def _enqueue(self, producer: Producer) -> None:
        """The others come last, so that little but the executor's start lies between them and their claims."""
        with self.show("enqueueing", self.scenario.jobs) as advance:
            await producer.noisy(advance)
            await producer.repeats_of_queued()
            await producer.without_an_org()
            await producer.others(advance)

    async def _count(self, url: str, producer: Producer, receiver: ReceiverProcess) -> Outcome:
        ledger = await asyncio.to_thread(count_in_tables, url)
        return Outcome(producer.receipts, ledger, await receiver.counts())


def _settings(url: str, secret: str) -> Mapping[str, str]:
    return {
        "JOB_DATABASE_URL": url,
        "JOB_QUEUE_BACKEND": "table",
        "JOB_PLUGINS_ALLOW": "table,webhooks",
        "JOB_MAX_ATTEMPTS": str(ATTEMPTS),
        "JOB_POLL_INTERVAL_MS": "100",
        "JOB_WEBHOOKS_ALLOW_PRIVATE": "1",
        "JOB_WEBHOOKS_BACKOFF_SECONDS": "0.05",
        "JOB_WEBHOOKS_SECRET": secret,
    }
