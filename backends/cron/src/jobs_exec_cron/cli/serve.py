"""`jobs-exec serve`: the endpoint in a process of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
import sys
from typing import TYPE_CHECKING

import click

from jobs_exec.cli.output import json_option, say
from jobs_exec.cli.session import executor_host, settings_given
from jobs_exec.cli.signals import stopped_by_signals

if TYPE_CHECKING:
    from jobs_exec.inline import ExitReport, Host

LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.option("--host", "address", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free one.")
@click.option(
    "--mode", type=click.Choice(("inline", "enqueue")), help="Run jobs here, or only enqueue (JOB_TRIGGER_MODE)."
)
@click.option("--types", metavar="LIST", help="Job types that may be triggered, * for all (JOB_CRON_TYPES).")
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Module that registers job types (JOB_MODULES); may be repeated.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least level logged.")
@json_option
def serve(
    address: str,
    port: int,
    mode: str | None,
    types: str | None,
    modules: tuple[str, ...],
    log_level: str,
    as_json: bool,
) -> None:
    """Serves POST /trigger and POST /tick for verified callers, until it is told to stop.

    Jobs run on the rows of the backend that JOB_CRON_QUEUE names. The first SIGTERM or SIGINT lets running jobs finish,
    the second cancels them, the third ends the process.
    """
    given = settings_given(JOB_TRIGGER_MODE=mode, JOB_CRON_TYPES=types, JOB_MODULES=",".join(modules))
    host = executor_host({**given, "JOB_QUEUE_BACKEND": "cron"}, tolerate_broken=False)
    report = asyncio.run(_serve(host, (address, port), log_level, as_json))
    if report.problem:
        say(f"jobs-exec: {report.problem}")
    sys.exit(report.exit_code)


async def _serve(host: Host, place: tuple[str, int], log_level: str, as_json: bool) -> ExitReport:
    from jobs_exec.executor.logs import configure
    from jobs_exec_cron.http import Endpoint
    from jobs_exec_cron.http.serving import Serving, listening

    configure(sys.stderr, json=not sys.stderr.isatty(), level=logging.getLevelNamesMapping()[log_level.upper()])
    endpoint = Endpoint(host)
    with listening(*place) as listener:
        _warn_of_strangers(place[0])
        serving = Serving(endpoint, host.settings.shutdown_grace, lambda: _tell(listener, as_json))
        with stopped_by_signals(serving):
            return await serving.run(listener)


def _tell(listener: socket.socket, as_json: bool) -> None:
    """Where it listens, once it does: a program that started it waits for this line."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    click.echo(json.dumps({"url": url, "host": host, "port": port}) if as_json else f"listening on {url}")
    sys.stdout.flush()


def _warn_of_strangers(host: str) -> None:
    if not _loopback(host):
        say(
            f"warning: listening on {host}, beyond this machine, without TLS; put a proxy that ends TLS in front, or "
            "bearer tokens and results travel in clear text"
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
