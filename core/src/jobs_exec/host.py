"""The composer: settings, plugins, job types, backend and store become one frozen value the engine runs on.

Everything is looked up here, once. An executor fails closed: with any problem among the plugins it lists all of
them and does not start, because a failed import would turn jobs into dead jobs. A client needs its backend
only; what else is wrong becomes a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar, cast

import pluggy

from jobs_exec.contracts.backend import Capability, QueueBackend
from jobs_exec.contracts.directory import OrgDirectory
from jobs_exec.contracts.handler import JobTable, JobType, Middleware
from jobs_exec.contracts.observer import Observer
from jobs_exec.contracts.plugin import PROJECT, Policy
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.discovery import BACKENDS, STORES, PluginRecord, PluginState, discover, unknown_name_text
from jobs_exec.discovery import Policy as PluginPolicy
from jobs_exec.errors import CapabilityMissing, ConfigurationError, JobsError, PluginError, UnknownBackend
from jobs_exec.installed import installed_settings
from jobs_exec.modules import import_problem
from jobs_exec.plugging import Plugins, unknown_names
from jobs_exec.registry import compile_table, owned_by, recorded, recorded_schedules
from jobs_exec.scheduling.checking import Found, Rules, compile_schedules
from jobs_exec.settings import CoreSettings, SettingsLoader, env_names

log = logging.getLogger(__name__)

S = TypeVar("S")


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


@dataclass(frozen=True, slots=True)
class _PluginHost:
    """`contracts.PluginHost`: what hooks are given."""

    policy: Policy
    hook: pluggy.HookRelay
    loader: SettingsLoader
    backends: Callable[[str, str], QueueBackend]

    def backend(self, name: str, asked_by: str = "JOB_QUEUE_BACKEND") -> QueueBackend:
        """See `contracts.PluginHost.backend`."""
        return self.backends(name, asked_by)

    def settings(self, cls: type[S]) -> S:
        _check_names(cls)
        return self.loader.load(cls)  # type: ignore[type-var]


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
        self.plugin_host = _PluginHost(
            self.settings.policy(), self.plugins.manager.hook, self.loader, self.other_backend
        )
        self._others: dict[str, QueueBackend] = {}
        self.module_problems: list[str] = []

    @property
    def problems(self) -> list[str]:
        """Everything that keeps an executor from starting, so far."""
        return [*self.plugins.problems, *self.module_problems]

    def host(self, for_: Purpose = Purpose.EXECUTOR, *, tolerate_broken: bool = False) -> Host:
        """See `build_host`."""
        self.plugins.load_handlers()
        backend_plugin = self._selected(BACKENDS, self.settings.queue_backend, self._asked("queue_backend"))
        store_plugin = self._selected_store()
        self.plugins.complete()
        backend = self._backend(*backend_plugin)
        queue = _where_jobs_run(backend)
        store = self._store(store_plugin, backend, queue)
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

    def other_backend(self, name: str, asked_by: str) -> QueueBackend:
        """A backend that another one stands on, made once. Raises `UnknownBackend` and `PluginError`."""
        if name not in self._others:
            record, plugin = self._selected(BACKENDS, name, _Asked(asked_by))
            self.plugins.complete()
            self._others[name] = self._backend(record, plugin)
        return self._others[name]

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

    # --- the selected ones -----------------------------------------------------------------------------

    def _selected(self, group: str, name: str, asked: _Asked) -> tuple[PluginRecord, object]:
        """The plugin that a setting names; `UnknownBackend` lists what there is, `PluginError` why it fails."""
        candidates = [record for record in self.plugins.records if record.group == group]
        named = [record for record in candidates if record.name == name]
        if not named:
            kind = "queue backend" if group == BACKENDS else "idempotency store"
            raise UnknownBackend(asked.setting, unknown_name_text(kind, name, str(asked), candidates))
        (record, *_) = named
        if record.state is PluginState.DISABLED:
            raise PluginError([f"{name} is selected by {asked.setting} but {record.reason}"])
        # Asked again it is loaded already, or it failed and says so again.
        known = self.plugins.plugin_of(record) if record.state is PluginState.LOADED else None
        plugin = known or (self.plugins.load(record) if record.state is PluginState.AVAILABLE else None)
        if plugin is None:
            raise PluginError(self.problems or [each.problem or "" for each in named])
        return record, plugin

    def _asked(self, setting: str) -> _Asked:
        return _Asked(f"JOB_{setting.upper()}", self.loader.source(CoreSettings, setting))

    def _selected_store(self) -> tuple[PluginRecord, object] | None:
        name = self.settings.idempotency_store
        return None if name is None else self._selected(STORES, name, self._asked("idempotency_store"))

    def _backend(self, record: PluginRecord, plugin: object) -> QueueBackend:
        backend = self.plugins.demand(record, plugin, "queue_backend", host=self.plugin_host)
        if backend is None:
            missing = f"{record.name} implements no hook queue_backend, or it answered None"
            raise PluginError(self.problems if self.plugins.broken(record) else [*self.problems, missing])
        return cast(QueueBackend, backend)

    def _store(
        self, selected: tuple[PluginRecord, object] | None, backend: QueueBackend, queue: QueueBackend
    ) -> IdempotencyStore:
        store: Any = backend.ledger
        if selected is not None:
            store = self.plugins.demand(*selected, "idempotency_store", host=self.plugin_host, backend=queue)
            if store is None and self.plugins.broken(selected[0]):
                raise PluginError(self.problems)
        if store is None:
            missing = ConfigurationError(
                "JOB_IDEMPOTENCY_STORE",
                f"the {backend.name!r} backend has no store of its own; name one that is installed",
            )
            if backend.capabilities & {Capability.CLAIM, Capability.PUSH} != {Capability.PUSH}:
                raise missing
            return cast(IdempotencyStore, _NoStore(missing))
        return cast(IdempotencyStore, store)

    def _in_order(self, hook: str) -> list[Any]:
        """The answers of every plugin, by entry-point name, so that the order does not hang on the file system."""
        return [answer for _, answer in self.plugins.ask_all(hook, host=self.plugin_host)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which setting names a plugin, and where its value stands when the core's own settings say so."""

    setting: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.setting} from {self.place}" if self.place else self.setting


def _where_jobs_run(backend: QueueBackend) -> QueueBackend:
    """What stores and directories are asked for: of a backend that jobs are pushed to, the queue it stands on.

    A process that only sends jobs may have no such queue; whoever runs jobs asks for it again, and is told what is wrong.
    """
    if Capability.PUSH not in backend.capabilities:
        return backend
    try:
        return backend.queue
    except (CapabilityMissing, ConfigurationError, PluginError):
        return backend


@dataclass(frozen=True, slots=True)
class _NoStore:
    """Stands where no executor will ask: a backend that jobs are only pushed to answers for itself what it cannot do."""

    error: ConfigurationError

    def __getattr__(self, name: str) -> Any:
        raise self.error


def _check_names(cls: type[Any]) -> None:
    """A settings class without a prefix would read any variable of the environment."""
    for name, info in cls.model_fields.items():
        reads = env_names(cls, name, info)[0]
        if info.validation_alias is None and not reads.startswith("JOB_"):
            raise ConfigurationError(
                cls.__name__, f"reads {reads}; give it env_prefix='JOB_NAME_', with the plugin's entry-point name"
            )


def _advice(plugin_problems: list[str]) -> str:
    """What to do; a module of the application cannot be kept out as a plugin can."""
    if plugin_problems:
        return "Mend or uninstall them, exclude them with JOB_PLUGINS_DENY, or start with --tolerate-broken-plugins."
    return "Mend what JOB_MODULES and --import name, or start with --tolerate-broken-plugins."


def _flat(answers: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(item for answer in answers for item in answer)
