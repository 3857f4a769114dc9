"""The composer: settings, plugins, job types, backend and store become one frozen value the engine runs on.

Everything is looked up here, once. An executor fails closed: with any problem among the plugins it lists all of
them and does not start, because a failed import would turn jobs into dead jobs. A client needs its backend
only; what else is wrong becomes a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pluggy

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.contracts.directory import OrgDirectory
from jobs_exec.contracts.handler import JobTable, JobType, Middleware
from jobs_exec.contracts.observer import Observer
from jobs_exec.contracts.plugin import PROJECT, Policy
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.discovery import PluginRecord, discover
from jobs_exec.discovery import Policy as PluginPolicy
from jobs_exec.errors import ConfigurationError, JobsError, PluginError
from jobs_exec.installed import installed_settings
from jobs_exec.modules import import_problem
from jobs_exec.plugging import Plugins, unknown_names
from jobs_exec.registry import compile_table, owned_by, recorded, recorded_schedules
from jobs_exec.scheduling.checking import Found, Rules, compile_schedules
from jobs_exec.selecting import Selecting, where_jobs_run
from jobs_exec.settings import CoreSettings, SettingsLoader

log = logging.getLogger(__name__)


class Purpose(StrEnum):
    """What a host is built for."""

    EXECUTOR = "executor"
    """Runs jobs: refuses to start with a plugin problem."""
    CLIENT = "client"
    """Enqueues and inspects: the backend must load, other problems are warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Everything an executor or client stands on. Built by `build_host`; tests may fill it in themselves."""

    settings: CoreSettings
    policy: Policy
    backend: QueueBackend
    store: IdempotencyStore
    job_types: JobTable
    schedules: tuple[Schedule, ...] = ()
    hook: pluggy.HookRelay = field(default_factory=lambda: pluggy.PluginManager(PROJECT).hook, repr=False)
    plugins: tuple[PluginRecord, ...] = ()
    directory: OrgDirectory | None = None
    middleware: tuple[Middleware, ...] = ()
    observers: tuple[Observer, ...] = ()
    lifespans: tuple[AbstractAsyncContextManager[Any], ...] = ()
    warnings: tuple[str, ...] = ()
    loader: SettingsLoader = field(default_factory=SettingsLoader, repr=False)

    @property
    def ledger_is_store(self) -> bool:
        """True when claim and settle reserve and record by themselves."""
        return self.backend.ledger is self.store


def build_host(
    overrides: Mapping[str, str] | None = None,
    *,
    for_: Purpose = Purpose.EXECUTOR,
    tolerate_broken: bool = False,
) -> Host:
    """Loads plugins and settings into a `Host`.

    Raises `ConfigurationError` (`UnknownBackend`) for a setting, and for an executor `PluginError` with every
    problem at once unless `tolerate_broken`. Warnings that may explain the refusal are logged before, or stand in it.
    """
    assembly = Assembly(overrides)
    try:
        return assembly.host(for_, tolerate_broken=tolerate_broken)
    except JobsError as error:
        raise assembly.explained(error) from None


@dataclass(frozen=True, slots=True)
class Answers:
    """What plugins bring besides backend, store and directory."""

    job_types: JobTable
    middleware: tuple[Middleware, ...]
    observers: tuple[Observer, ...]
    lifespans: tuple[AbstractAsyncContextManager[Any], ...]


class Assembly:
    """One build: loads, registers, then asks each hook once. Nothing is connected to."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self.loader = SettingsLoader(overrides)
        self.settings = self.loader.load(CoreSettings)
        policy = PluginPolicy(self.settings.plugins_allow, self.settings.plugins_deny)
        self.plugins = Plugins(discover(policy))
        self.module_problems: list[str] = []
        self.selecting = Selecting(self.plugins, self.settings, self.loader, lambda: self.problems)
        self.plugin_host = self.selecting.plugin_host

    @property
    def problems(self) -> list[str]:
        """Everything that keeps an executor from starting, so far."""
        return [*self.plugins.problems, *self.module_problems]

    def host(self, for_: Purpose = Purpose.EXECUTOR, *, tolerate_broken: bool = False) -> Host:
        """See `build_host`."""
        self.plugins.load_handlers()
        backend_plugin, store_plugin = self.selecting.backend_plugin(), self.selecting.store_plugin()
        self.plugins.complete()
        backend = self.selecting.backend(backend_plugin)
        queue = where_jobs_run(backend)
        store = self.selecting.store(store_plugin, backend, queue)
        directory = self.plugins.first("org_directory", host=self.plugin_host, backend=queue)
        answers = self.answers(leave_out_broken=for_ is Purpose.EXECUTOR)
        schedules = self.schedules(answers.job_types, has_directory=directory is not None)
        warnings = self.warnings()
        if self.problems and for_ is Purpose.EXECUTOR and not tolerate_broken:
            raise PluginError(self.problems, _advice(self.plugins.problems))
        return Host(
            settings=self.settings,
            policy=self.plugin_host.policy,
            hook=self.plugins.manager.hook,
            plugins=self.plugins.records,
            job_types=answers.job_types,
            schedules=schedules,
            backend=backend,
            store=store,
            directory=directory,
            middleware=answers.middleware,
            observers=answers.observers,
            lifespans=answers.lifespans,
            warnings=(*self.problems, *warnings),
            loader=self.loader,
        )

    def answers(self, *, leave_out_broken: bool) -> Answers:
        """Asks every hook that needs no backend."""
        self.plugins.complete()
        middleware, observers, lifespans = map(self._in_order, ("middleware", "observers", "lifespan"))
        self.plugins.settings_classes()
        # Asked last: an executor that tolerates broken plugins leaves their jobs to wait.
        table = self.job_types(leave_out_broken=leave_out_broken)
        return Answers(table, _flat(middleware), _flat(observers), tuple(lifespans))

    def job_types(self, *, leave_out_broken: bool) -> JobTable:
        """The table; the application's modules are imported for it."""
        self.module_problems += [problem for name in self.settings.modules if (problem := import_problem(name))]
        types: list[JobType] = []
        for record, returned in self.plugins.ask_all("job_types", host=self.plugin_host):
            types.extend(owned_by(made, record.distribution) for made in returned)
        owners = {record.distribution for record, _ in self.plugins.loaded}
        broken = {each.distribution for each, _ in self.plugins.loaded if self.plugins.broken(each)}
        types.extend(recorded(owners))
        table, duplicates = compile_table(made for made in types if not (leave_out_broken and made.owner in broken))
        self.plugins.problems.extend(str(duplicate) for duplicate in duplicates)
        return table

    def schedules(self, table: JobTable, *, has_directory: bool) -> tuple[Schedule, ...]:
        """What plugins answer and what was registered, after `job_types`, which imports the application's modules."""
        answers = self.plugins.ask_all("schedules", host=self.plugin_host)
        sound = [(record, returned) for record, returned in answers if not self.plugins.broken(record)]
        found = [
            Found(replace(made, owner=record.distribution), f"plugin {record.name}")
            for record, returned in sound
            for made in returned
        ]
        owners = {record.distribution for record, _ in self.plugins.loaded if not self.plugins.broken(record)}
        found += [Found(made, "register_schedule") for made in recorded_schedules(owners)]
        rules = Rules(table, has_directory, self.settings.max_payload_bytes)
        schedules, problems = compile_schedules(found, rules)
        self.plugins.problems += [problem.text for problem in problems if problem.of_plugin]
        self.module_problems += [problem.text for problem in problems if not problem.of_plugin]
        return schedules

    def warnings(self) -> list[str]:
        """Names that nobody knows; the unselected plugins are imported only when a setting looks like one of theirs."""
        records = self.plugins.records
        warnings = unknown_names(records, self.settings.plugins_allow, self.settings.plugins_deny)
        classes: list[type[Any]] = [CoreSettings, *self.plugins.settings_classes()]
        if self.loader.unknown(classes):
            warnings += self.loader.unknown([*classes, *(cls for _, cls in installed_settings(records))])
        return warnings

    def explained(self, error: JobsError) -> JobsError:
        """`error`, with the misspelt name of the setting it misses; other warnings are logged."""
        try:
            warnings = self.warnings()
        except JobsError:
            return error
        hints = [
            text for text in warnings if isinstance(error, ConfigurationError) and f"mean {error.setting}?" in text
        ]
        for text in warnings:
            if text not in hints:
                log.warning("%s", text)
        if not hints or type(error) is not ConfigurationError:
            return error
        problem = str(error).removeprefix(f"{error.setting}: ")
        return ConfigurationError(error.setting, f"{problem}. {' '.join(hints)}")

    def _in_order(self, hook: str) -> list[Any]:
        """The answers of every plugin, by entry-point name, so that the order does not hang on the file system."""
        return [answer for _, answer in self.plugins.ask_all(hook, host=self.plugin_host)]


def _advice(plugin_problems: list[str]) -> str:
    """What to do; a module of the application cannot be kept out as a plugin can."""
    if plugin_problems:
        return "Mend or uninstall them, exclude them with JOB_PLUGINS_DENY, or start with --tolerate-broken-plugins."
    return "Mend what JOB_MODULES and --import name, or start with --tolerate-broken-plugins."


def _flat(answers: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(item for answer in answers for item in answer)
