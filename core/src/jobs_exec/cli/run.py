"""`jobs-exec run`: an executor in this process, until a signal or until there is nothing left to do."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jobs_exec.cli.durations import duration
from jobs_exec.cli.liveness import liveness
from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.progress import figures
from jobs_exec.cli.session import Overrides, executor_host, host_options, settings_given
from jobs_exec.cli.signals import stopped_by_signals
from jobs_exec.contracts.backend import Capability
from jobs_exec.errors import ConfigurationError

if TYPE_CHECKING:
    from jobs_exec.executor.values import ExitReport, Mode
    from jobs_exec.host import Host

_NOTHING_TO_POLL = (
    "there is nothing to poll, its jobs are pushed; run them with `jobs-exec serve` or `jobs-exec trigger`, and what waits "
    "with `jobs-exec run --backend table --drain --budget 25s`"
)

LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the executor runs; `liveness` is a port, an address or a file, `budget` seconds."""

    mode: Mode
    name: str | None
    liveness: str | None
    budget: float | None = None


@click.command()
@click.option("--queues", metavar="LIST", help="Queues with their concurrency, such as default:100,reports:2.")
@click.option("--drain", is_flag=True, help="End when nothing is ready, running or due.")
@click.option(
    "--budget",
    metavar="DURATION",
    callback=duration,
    help="With --drain: end after so long at the latest; what still runs then is given back.",
)
@click.option("--once", is_flag=True, help="End after one claim in every queue.")
@click.option("--name", metavar="NAME", help="Name of this executor in lists and logs.")
@click.option("--liveness", metavar="[HOST:]PORT|PATH", help="Answer HTTP while alive, or keep a file fresh.")
@click.option("--tolerate-broken-plugins", is_flag=True, help="Start although plugins are broken; their jobs wait.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least level logged.")
@host_options
@json_option
def run(
    overrides: Overrides,
    queues: str | None,
    drain: bool,
    budget: float | None,
    once: bool,
    name: str | None,
    liveness: str | None,
    tolerate_broken_plugins: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Runs jobs until it is told to stop.

    The first SIGTERM or SIGINT lets running jobs finish, the second cancels them, the third ends the process.
    """
    if drain and once:
        raise click.UsageError("--drain and --once are two ways to end; pass one of them")
    if budget is not None and not drain:
        raise click.UsageError("--budget belongs to --drain")
    from jobs_exec.executor.values import Mode

    host = executor_host({**overrides, **settings_given(JOB_QUEUES=queues)}, tolerate_broken=tolerate_broken_plugins)
    _refuse_without_claim(host)
    mode = Mode.DRAIN if drain else Mode.ONCE if once else Mode.FOREVER
    started = time.monotonic()
    report = asyncio.run(_run(host, RunOptions(mode, name, liveness, budget), log_level))
    _print(report, time.monotonic() - started, as_json)
    sys.exit(report.exit_code)


async def _run(host: Host, options: RunOptions, log_level: str) -> ExitReport:
    from jobs_exec.executor import Executor
    from jobs_exec.executor.values import Mode

    with figures(shown=options.mode is not Mode.FOREVER) as show:
        # The stream is taken here: the figures put themselves between it and the terminal.
        _configure_logs(log_level)
        executor = Executor(host, mode=options.mode, name=options.name, on_progress=show, budget=options.budget)
        async with liveness(options.liveness):
            with stopped_by_signals(executor):
                return await executor.run()


def _refuse_without_claim(host: Host) -> None:
    """A setting is wrong here, or this command: a backend that jobs are pushed to has other ways to run them."""
    backend = host.backend
    if Capability.CLAIM not in backend.capabilities:
        raise ConfigurationError("JOB_QUEUE_BACKEND", f"with the {backend.name!r} backend {_NOTHING_TO_POLL}")


def _configure_logs(level: str) -> None:
    from jobs_exec.executor.logs import configure

    configure(sys.stderr, json=not sys.stderr.isatty(), level=logging.getLevelNamesMapping()[level.upper()])


def _print(report: ExitReport, seconds: float, as_json: bool) -> None:
    counts: dict[str, Any] = dataclasses.asdict(report.counts)
    if report.problem:
        say(f"jobs-exec: {report.problem}")
    if as_json:
        ended = {"exit_code": report.exit_code, "problem": report.problem, "seconds": round(seconds, 3)}
        emit_json({**ended, **counts, "held_types": dict(report.held_types)})
    else:
        done = ", ".join(
            f"{count} {name}" for name, count in counts.items() if count and name not in ("claimed", "running")
        )
        say(f"{done or 'no jobs'} in {seconds:.1f} s{_left(report)}")


def _left(report: ExitReport) -> str:
    """What stays behind because nobody here or elsewhere knows how to run it."""
    held = report.held_types
    if not held:
        return ""
    return f"; {sum(held.values())} held: waiting for type {', '.join(held)} (JOB_MODULES, --import)"
