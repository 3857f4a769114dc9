"""`jobs-exec schedules sync`: what executors do at their start, for deployments that have none running.

Where pg_cron or a crontab is the clock, the schedules of code have to come into the book with a deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.session import Overrides, executor_host, host_options, on_host, say_what_is_kept

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.schedule import ScheduleRecord


@click.command()
@host_options
@json_option
def sync(overrides: Overrides, as_json: bool) -> None:
    """Writes the schedules of code into the database, as every executor does at its start.

    For deployments where no executor runs and another clock fires them, with `schedules run` or `jobs.fire`.
    """
    host = executor_host(overrides, tolerate_broken=False)

    async def work(client: Client) -> list[ScheduleRecord]:
        from jobs_exec.scheduling.records import record_of

        book = client.backend.schedules
        now = await book.now()
        records = [record_of(made, now, host.policy.max_payload_bytes) for made in host.schedules]
        await book.sync(records)
        return records

    written = on_host(host, work)
    say_what_is_kept(host)
    names = [str(record.schedule.ref) for record in written]
    if as_json:
        emit_json({"schedules": names})
    else:
        say(f"{len(names)} schedule(s) of code are in the book" + (f": {', '.join(names)}" if names else ""))
