"""`jobs-exec enqueue`: one job from options, or many from a file of envelopes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from jobs_exec.cli.bulk import BulkOptions, enqueue_file
from jobs_exec.cli.data import read_data
from jobs_exec.cli.durations import duration
from jobs_exec.cli.errors import NEGATIVE
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.session import Overrides, client_host, host_options, on_host, say_what_is_kept
from jobs_exec.cli.views import job_object
from jobs_exec.cli.waiting import final_view
from jobs_exec.contracts.backend import Capability
from jobs_exec.envelope import Envelope, envelope_from_json
from jobs_exec.errors import CapabilityMissing, MissingOrg

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.job import JobView, Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueRequest:
    """What the command line said about one job; `data` is the text of `--data`, durations are in seconds."""

    type: str | None
    org: str | None
    data: str
    key: str | None
    at: str | None
    delay: float | None
    priority: int | None
    max_attempts: int | None
    expires_at: str | None

    def envelope(self) -> Envelope:
        """The validated envelope; raises `InvalidJob` naming the field."""
        if self.org is None:
            raise MissingOrg("is missing; every job belongs to one org, pass --org ORG")
        fields = {
            "orgId": self.org,
            "type": self.type,
            "data": read_data(self.data),
            "key": self.key,
            "runAt": self.at,
            "delay": self.delay,
            "priority": self.priority,
            "maxAttempts": self.max_attempts,
            "expiresAt": self.expires_at,
        }
        return envelope_from_json(fields)


@click.command()
@click.argument("type", required=False)
@click.option("--org", metavar="ORG", help="The tenant the job belongs to.")
@click.option("--data", metavar="JSON|@FILE|-", default="{}", help="Payload: a JSON object, a file, or - for stdin.")
@click.option("--key", metavar="KEY", help="Tells pieces of work apart instead of the payload.")
@click.option("--at", metavar="TIME", help="Not before this time, such as 2030-01-31T08:00:00Z.")
@click.option("--in", "delay", metavar="DURATION", callback=duration, help="Not before, from now: 90s, 45m, 12h, 30d.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 first, 9 last, inside the org only.  [default: 5]")
@click.option("--max-attempts", type=click.IntRange(1, 1000), help="Attempts before the job is dead.")
@click.option("--expires-at", metavar="TIME", help="Never start it after this time.")
@click.option("--allow-unregistered", is_flag=True, help="Accept a type that nobody has registered yet.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result; exits 1 unless it succeeded.")
@click.option("--timeout", metavar="DURATION", callback=duration, help="Longest wait of --wait.")
@click.option("--from", "source", type=click.File("rb"), metavar="FILE|-", help="Envelopes, one JSON object a line.")
@click.option("--chunk", type=click.IntRange(1, 100_000), help="With --from: a transaction for each so many lines.")
@click.option("--resume-from", type=click.IntRange(1), default=1, metavar="LINE", help="With --from: the first line.")
@click.option("--dry-run", is_flag=True, help="With --from: check all lines, print how many are valid, and stop.")
@click.option("--skip-invalid", is_flag=True, help="With --from: leave invalid lines out instead of refusing all.")
@host_options
@json_option
def enqueue(
    overrides: Overrides,
    source: IO[bytes] | None,
    chunk: int | None,
    resume_from: int,
    skip_invalid: bool,
    dry_run: bool,
    allow_unregistered: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **one: Any,
) -> None:
    """Enqueues a job of TYPE for one org, or with --from a file of envelopes."""
    bulk = bool(chunk or skip_invalid or dry_run or resume_from > 1)
    _check_usage(one["type"], source, wait=wait, timeout=timeout, bulk=bulk)
    if source is not None:
        options = BulkOptions(chunk, resume_from, skip_invalid, allow_unregistered, dry_run)
        enqueue_file(overrides, source, options, as_json=as_json)
        return
    envelope = EnqueueRequest(**one).envelope()
    _enqueue_one(overrides, envelope, allow_unregistered, _Wait(timeout) if wait else None, as_json=as_json)


def _check_usage(type_name: str | None, source: object, *, wait: bool, timeout: float | None, bulk: bool) -> None:
    if (type_name is None) == (source is None):
        raise click.UsageError("name either a TYPE or a file with --from")
    if source is None and bulk:
        raise click.UsageError("--chunk, --resume-from, --skip-invalid and --dry-run belong to --from")
    if source is not None and wait:
        raise click.UsageError("--wait waits for one job; it does not go with --from")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout belongs to --wait")


@dataclass(frozen=True, slots=True)
class _Wait:
    """`--wait`; `timeout` in seconds, None waits as long as it takes."""

    timeout: float | None


def _enqueue_one(
    overrides: Overrides, envelope: Envelope, allow_unregistered: bool, wait: _Wait | None, *, as_json: bool
) -> None:
    host = client_host(overrides)
    if wait is not None and Capability.INSPECT not in host.backend.capabilities:
        raise CapabilityMissing(host.backend.name, Capability.INSPECT, "enqueue without --wait; nothing was enqueued")

    async def work(client: Client) -> tuple[Receipt, JobView | None]:
        (receipt,) = await client.enqueue_many([envelope], allow_unregistered=allow_unregistered)
        if wait is None:
            return receipt, None
        if not as_json:
            _say_receipt(receipt)
        return receipt, await final_view(client.backend.operator, receipt.id, wait.timeout)

    receipt, view = on_host(host, work)
    say_what_is_kept(host)
    if wait is None:
        _print_receipt(receipt, as_json)
    else:
        _print_end(receipt, view, as_json)


def _print_receipt(receipt: Receipt, as_json: bool) -> None:
    if as_json:
        emit_json(receipt)
        return
    click.echo(receipt.id)
    _say_receipt(receipt)


def _say_receipt(receipt: Receipt) -> None:
    if not receipt.duplicate:
        say(f"created {receipt.id}")
        return
    notes = ", moved forward" * receipt.advanced + ", whose payload was another" * receipt.conflict
    say(f"duplicate of {receipt.of} ({receipt.of_state}){notes}")


def _print_end(receipt: Receipt, view: JobView | None, as_json: bool) -> None:
    job = None if view is None else job_object(view)
    if as_json:
        emit_json({**job_object(receipt), "job": job})
    elif view is None or job is None:
        say(f"job {receipt.id} has not ended yet; it goes on, see `jobs-exec show {receipt.id}`")
    else:
        say(f"{view.status} after {view.attempts} attempt(s)" + (f": {view.reason}" if view.reason else ""))
        if job["result"] is not None:
            emit_json(job["result"])
    sys.exit(0 if view is not None and view.status == "succeeded" else NEGATIVE)
