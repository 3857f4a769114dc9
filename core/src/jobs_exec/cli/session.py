"""How a command reaches the backend: settings from its options, a host, a client that is open while it works.

Nothing heavy is imported with this module: `--help` of a command that uses it stays cheap.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobs_exec.cli.output import say
from jobs_exec.masking import masked

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.host import Host

T = TypeVar("T")
Overrides = Mapping[str, str]


def host_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--backend` and `--import`, handed to the command as one mapping `overrides` of settings by name."""

    @click.option("--backend", metavar="NAME", help="Queue backend (JOB_QUEUE_BACKEND).")
    @click.option(
        "--import",
        "modules",
        metavar="MODULE",
        multiple=True,
        help="Module that registers job types (JOB_MODULES); may be repeated.",
    )
    @functools.wraps(function)
    def command(*args: Any, backend: str | None, modules: tuple[str, ...], **kwargs: Any) -> None:
        overrides = settings_given(JOB_QUEUE_BACKEND=backend, JOB_MODULES=",".join(modules))
        function(*args, overrides=overrides, **kwargs)

    return command


def settings_given(**settings: str | None) -> dict[str, str]:
    """Those of `settings` that were given on the command line."""
    return {name: value for name, value in settings.items() if value}


def load_settings(cls: type[T], overrides: Overrides | None = None) -> T:
    """An instance of a plugin's settings class, for its commands that need no host (`jobs-exec db`)."""
    from jobs_exec.settings import SettingsLoader

    return SettingsLoader(overrides).load(cls)  # type: ignore[type-var]


def client_host(overrides: Overrides) -> Host:
    """The host of a command that enqueues or inspects; what is wrong beside the backend is said on stderr."""
    from jobs_exec import host

    see_working_directory()
    with _logs_said():
        return _warned(host.build_host(overrides, for_=host.Purpose.CLIENT))


def executor_host(overrides: Overrides, *, tolerate_broken: bool) -> Host:
    """The host of an executor; raises `PluginError` with all problems at once unless `tolerate_broken`."""
    from jobs_exec import host

    see_working_directory()
    with _logs_said():
        return _warned(host.build_host(overrides, for_=host.Purpose.EXECUTOR, tolerate_broken=tolerate_broken))


def say_what_is_kept(host: Host) -> None:
    """Warns after enqueueing into the memory of a command that ends."""
    if host.backend.name == "memory":
        say("warning: the memory backend keeps nothing after this command; choose another with JOB_QUEUE_BACKEND")


def with_client(overrides: Overrides, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `work` with an open client and closes it; returns what `work` returns."""
    return on_host(client_host(overrides), work)


def on_host(host: Host, work: Callable[[Client], Awaitable[T]]) -> T:
    """`with_client` for a host that is built already."""
    from jobs_exec.client import Client

    async def session() -> T:
        async with Client.open(host=host) as client:
            return await work(client)

    with _logs_said():
        return asyncio.run(session())


def see_working_directory() -> None:
    """Lets JOB_MODULES name modules beside the caller, as `python -m` does; a console script does not by itself."""
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)


class _Said(logging.Handler):
    """Warnings of libraries as lines of talk; Python's own last resort would show their passwords."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {masked(record.getMessage())}")


@contextmanager
def _logs_said() -> Iterator[None]:
    root, handler = logging.getLogger(), _Said(logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _warned(host: Host) -> Host:
    for warning in host.warnings:
        say(f"warning: {masked(warning)}")
    return host
