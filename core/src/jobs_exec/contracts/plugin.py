"""The hooks a plugin may implement, and what it is given.

A plugin is a module (or object) behind an entry point of the group ``jobs_exec.plugins``, ``jobs_exec.backends``
or ``jobs_exec.stores``; its functions marked `hookimpl` are called once at start. What they return may be async.
Hooks of the core are listed in `HookSpecs`; a plugin adds its own with `hook_specs`, and implements those of
another plugin with ``@hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pluggy

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.contracts.directory import OrgDirectory
from jobs_exec.contracts.handler import JobType, Middleware
from jobs_exec.contracts.observer import Observer
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.contracts.store import IdempotencyStore

PROJECT = "jobs_exec"

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks a hook specification, for plugins that define hooks of their own."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The core's settings that backends and plugins need; durations in seconds, sizes in bytes."""

    poll_interval: float = 0.5
    lease: float = 15.0
    max_attempts: int = 5
    timeout: float = 600.0
    max_age: float = 7 * 86_400.0
    max_crashes: int = 3
    runs_retention: float = 30 * 86_400.0
    max_payload_bytes: int = 256 * 1024
    max_result_bytes: int = 64 * 1024


class PluginHost(Protocol):
    """What hooks are given: the core's policy, the plugin's own settings, and the hooks of everybody."""

    @property
    def policy(self) -> Policy:
        """The core's settings that concern plugins."""

    @property
    def hook(self) -> pluggy.HookRelay:
        """Calls hooks, for plugins that define their own; complete when `job_types` is called."""

    def settings(self, cls: type[S]) -> S:
        """An instance of a pydantic-settings class, read from the command line's overrides, the environment,
        ``.env`` and ``[tool.jobs-exec]``. Raises `ConfigurationError` naming the setting."""

    def backend(self, name: str, asked_by: str = "JOB_QUEUE_BACKEND") -> QueueBackend:
        """The installed backend of that entry-point name, for one that stands on another's queue; made once.

        `asked_by` is the setting that named it. Raises `UnknownBackend` when it is not installed, `PluginError` when
        it is broken, and what it says about its own settings.
        """


class HookSpecs(Protocol):
    """The core's hooks. All are called once, synchronously; none is called per job."""

    @hookspec
    def job_types(self, host: PluginHost) -> Sequence[JobType]:
        """The job types of this plugin, made with `jobs_exec.job_type`."""

    @hookspec
    def schedules(self, host: PluginHost) -> Sequence[Schedule]:
        """The schedules of this plugin, made with `jobs_exec.schedule`."""

    @hookspec(firstresult=True)
    def queue_backend(self, host: PluginHost) -> QueueBackend | None:
        """The queue backend; asked only of the plugin that ``JOB_QUEUE_BACKEND`` selects."""

    @hookspec(firstresult=True)
    def idempotency_store(self, host: PluginHost, backend: QueueBackend) -> IdempotencyStore | None:
        """The store; asked only of the plugin that ``JOB_IDEMPOTENCY_STORE`` selects."""

    @hookspec
    def middleware(self, host: PluginHost) -> Sequence[Middleware]:
        """Wrappers around every attempt."""

    @hookspec
    def observers(self, host: PluginHost) -> Sequence[Observer]:
        """Listeners for what happens to jobs."""

    @hookspec(firstresult=True)
    def org_directory(self, host: PluginHost, backend: QueueBackend) -> OrgDirectory | None:
        """Which orgs exist; None leaves it to the next plugin."""

    @hookspec
    def lifespan(self, host: PluginHost) -> AbstractAsyncContextManager[Any]:
        """Resources that live as long as the executor (an HTTP client): entered at its start, left at its end."""

    @hookspec
    def settings_class(self) -> type[Any]:
        """The pydantic-settings class of this plugin, for ``config show`` and the check of ``JOB_*`` names."""

    @hookspec
    def hook_specs(self) -> object:
        """A class or module with further hook specifications; collected before any other hook is called."""
