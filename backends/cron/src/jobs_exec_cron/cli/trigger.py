"""`jobs-exec trigger`: one job, run here and now, for crontab and CronJobs; with `--url` an endpoint runs it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from jobs_exec.cli.data import read_data
from jobs_exec.cli.errors import NEGATIVE, REFUSED
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.session import Overrides, executor_host, host_options, load_settings
from jobs_exec.cli.signals import stopped_by_signals
from jobs_exec.cli.times import Time
from jobs_exec.errors import MissingOrg

if TYPE_CHECKING:
    from jobs_exec.inline import Call, Host
    from jobs_exec_cron.answering import TriggerAnswer

LEVELS = ("debug", "info", "warning", "error")
NOW = "now"
_DONE = ("succeeded", "duplicate", "accepted")


@click.command()
@click.argument("type")
@click.option("--org", metavar="ORG", help="The tenant the job belongs to.")
@click.option("--data", metavar="JSON|@FILE|-", default="{}", help="Payload: a JSON object, a file, or - for stdin.")
@click.option("--key", metavar="KEY", help="Tells pieces of work apart instead of the payload.")
@click.option(
    "--tick",
    metavar="TIME",
    type=Time(NOW),
    help="The time the call is for: an ISO time with an offset, @SECONDS since 1970, or now (this minute).",
)
@click.option("--max-attempts", type=click.IntRange(1, 1000), help="Attempts before the job is dead.")
@click.option("--expires-at", metavar="TIME", help="Never start it after this time.")
@click.option("--url", metavar="URL", help="Send the call, signed, to the endpoint at this URL; nothing runs here.")
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="warning", show_default=True, help="Least level logged."
)
@host_options
@json_option
def trigger(overrides: Overrides, url: str | None, log_level: str, as_json: bool, **one: Any) -> None:
    """Runs a job of TYPE for one org now, unless the same work was done before.

    Call it again after a failure, with the same --tick: it is the same piece of work, and an early call spends nothing.
    Prints the result. Exits 0 when the work is done (also by an earlier call), 1 when it is not, 6 when the org is
    unknown. Signals as in `jobs-exec run`.
    """
    call = _call(one)
    if url is None:
        answer = _run_here(executor_host(overrides, tolerate_broken=False), call, log_level)
    else:
        answer = _send(call, {**overrides, "JOB_TRIGGER_URL": url})
    _print(answer, as_json)


def _call(given: dict[str, Any]) -> Call:
    """Raises `InvalidJob` naming the field."""
    from jobs_exec.inline import call_from_json

    if given["org"] is None:
        raise MissingOrg("is missing; every job belongs to one org, pass --org ORG")
    fields = {
        "orgId": given["org"],
        "type": given["type"],
        "data": read_data(given["data"]),
        "key": given["key"],
        "maxAttempts": given["max_attempts"],
        "expiresAt": given["expires_at"],
        "tick": _tick(given["tick"]),
    }
    return call_from_json(fields)


def _tick(given: datetime | str | None) -> str | None:
    if given == NOW:
        # Whoever is started by a clock is started once a minute at most: a retry within it is the same call.
        given = datetime.now(UTC).replace(second=0, microsecond=0)
    return given.isoformat() if isinstance(given, datetime) else given


# --- here ----------------------------------------------------------------------------------------------


def _run_here(host: Host, call: Call, log_level: str) -> TriggerAnswer:
    from jobs_exec.executor.logs import configure

    configure(sys.stderr, json=not sys.stderr.isatty(), level=logging.getLevelNamesMapping()[log_level.upper()])
    return asyncio.run(_triggered(host, call))


class _Stop:
    """What signals do: the first lets the job end within the grace, the second cancels it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancel: Callable[[], None] = lambda: None

    def drain(self) -> None:
        """The executor ends as at the end of its block."""
        self.asked.set()

    def abort(self) -> None:
        """It gives the job back at once."""
        self.asked.set()
        self.cancel()


async def _triggered(host: Host, call: Call) -> TriggerAnswer:
    from jobs_exec.inline import Inline
    from jobs_exec_cron.answering import answer_of

    stop = _Stop()
    with stopped_by_signals(stop):
        async with Inline.open(host=host, slots=1, name="trigger") as inline:
            stop.cancel = inline.abort
            running = asyncio.create_task(inline.trigger(call))
            asked = asyncio.create_task(stop.asked.wait())
            await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
        return answer_of(await running, call)


# --- elsewhere -----------------------------------------------------------------------------------------


def _send(call: Call, overrides: Overrides) -> TriggerAnswer:
    from jobs_exec_cron.calling import place_of
    from jobs_exec_cron.settings import CronSettings

    return asyncio.run(_sent(call, place_of(load_settings(CronSettings, overrides))))


async def _sent(call: Call, place: Any) -> TriggerAnswer:
    from jobs_exec_cron.calling import Caller
    from jobs_exec_cron.calls import at_once
    from jobs_exec_cron.replies import answer_in
    from jobs_exec_cron.wire import body_of_call

    caller = Caller(place)
    try:
        return answer_in(await caller.call(str(uuid4()), body_of_call(at_once(call))), place.origin)
    finally:
        await caller.close()


# --- what it says --------------------------------------------------------------------------------------


def _print(answer: TriggerAnswer, as_json: bool) -> None:
    if as_json:
        emit_json(answer.to_json())
    else:
        say(_sentence(answer))
        if answer.result is not None:
            emit_json(answer.result)
    sys.exit(0 if answer.outcome in _DONE else REFUSED if answer.outcome == "rejected" else NEGATIVE)


def _sentence(answer: TriggerAnswer) -> str:
    """What came of it, and what to do next."""
    job = f" (job {answer.job_id})" if answer.job_id else ""
    match answer.outcome.value:
        case "duplicate":
            said = f"done before by {answer.of}" if answer.of_state in (None, "succeeded") else f"known{job}"
            return said + (f"; {answer.hint}" if answer.hint else "")
        case "in_flight":
            return f"in flight{job}: somebody else runs it now; call again to see how it ended"
        case "failed":
            left = "" if answer.attempts_left is None else f", {answer.attempts_left} attempt(s) left"
            when = f" in {answer.retry_after:.0f} s" if answer.retry_after else ""
            return f"failed{_why(answer)}{job}{left}; call again{when}, or let an executor do it"
        case "held":
            return f"held{job}: its org is suspended; it runs when that ends, or call again then"
        case "dead":
            return f"dead{_why(answer)}{job}; see `jobs-exec show {answer.job_id}`, `jobs-exec retry` runs it again"
        case "rejected":
            return f"rejected{job}: the org directory does not know its org"
    return f"{answer.outcome.value}{_why(answer)}{job}"


def _why(answer: TriggerAnswer) -> str:
    return f": {answer.reason}" if answer.reason not in (None, answer.outcome.value) else ""
