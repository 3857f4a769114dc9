"""The composer: settings, plugins, job types, backend and store become one frozen value the engine runs on.

Everything is looked up here, once. An executor fails closed: with any problem among the plugins it lists all of
them and does not start, because a failed import would turn jobs into dead jobs. A client needs its backend
only; what else is wrong becomes a warning.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar, cast

import pluggy

from jobs_exec.contracts.backend import Capability, QueueBackend
from jobs_exec.contracts.directory import OrgDirectory
from jobs_exec.contracts.handler import JobTable, JobType, Middleware
from jobs_exec.contracts.observer import Observer
from jobs_exec.contracts.plugin import PROJECT, HookSpecs, Policy
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.discovery import BACKENDS, PLUGINS, STORES, PluginRecord, PluginState, discover, load, unknown_name_text
from jobs_exec.discovery import Policy as PluginPolicy
from jobs_exec.errors import ConfigurationError, JobsError, PluginError, UnknownBackend
from jobs_exec.installed import installed_settings
from jobs_exec.registry import compile_table, owned_by, recorded
from jobs_exec.settings import CoreSettings, SettingsLoader

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

    def settings(self, cls: type[S]) -> S:
        return self.loader.load(cls)  # type: ignore[type-var]


def inspect_plugins(overrides: Mapping[str, str] | None = None) -> tuple[PluginRecord, ...]:
    """Every installed plugin with its state, handler plugins imported; never raises for a plugin's fault."""
    settings = SettingsLoader(overrides).load(CoreSettings)
    return _Assembly(settings, SettingsLoader(overrides)).records_after_loading()


def build_host(
    overrides: Mapping[str, str] | None = None,
    *,
    for_: Purpose = Purpose.EXECUTOR,
    tolerate_broken: bool = False,
) -> Host:
    """Loads plugins and settings into a `Host`.

    Raises `ConfigurationError` (`UnknownBackend`) for a setting, and for an executor `PluginError` with every
    problem at once unless `tolerate_broken`.
    """
    loader = SettingsLoader(overrides)
    assembly = _Assembly(loader.load(CoreSettings), loader)
    return assembly.host(fail_closed=for_ is Purpose.EXECUTOR and not tolerate_broken)


class _Assembly:
    """One build: loads, registers, then asks each hook once."""

    def __init__(self, settings: CoreSettings, loader: SettingsLoader) -> None:
        self.settings = settings
        self.loader = loader
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(HookSpecs)
        self.plugin_host = _PluginHost(settings.policy(), self.manager.hook, loader)
        self.records = list(discover(PluginPolicy(settings.plugins_allow, settings.plugins_deny)))
        self.loaded: dict[PluginRecord, object] = {}
        self.problems: list[str] = []

    def records_after_loading(self) -> tuple[PluginRecord, ...]:
        self._load_handler_plugins()
        return tuple(self.records)

    def host(self, *, fail_closed: bool) -> Host:
        self._load_handler_plugins()
        backend_plugin = self._selected(BACKENDS, "queue_backend", self.settings.queue_backend)
        store_plugin = self._selected_store()
        self._complete_hooks()
        backend = self._backend(backend_plugin)
        store = self._store(store_plugin, backend)
        table = self._job_types()
        if fail_closed and self.problems:
            raise PluginError(self.problems)
        return Host(
            settings=self.settings,
            policy=self.plugin_host.policy,
            hook=self.manager.hook,
            plugins=tuple(self.records),
            job_types=table,
            backend=backend,
            store=store,
            directory=self.manager.hook.org_directory(host=self.plugin_host, backend=backend),
            middleware=_flat(self._in_order("middleware")),
            observers=_flat(self._in_order("observers")),
            lifespans=tuple(self._in_order("lifespan")),
            warnings=(*self.problems, *self._unknown_settings()),
            loader=self.loader,
        )

    # --- loading ---------------------------------------------------------------------------------------

    def _load_handler_plugins(self) -> None:
        for record in [each for each in self.records if each.group == PLUGINS]:
            if record.state is PluginState.AVAILABLE:
                self._load(record)
            elif record.problem:
                self.problems.append(record.problem)

    def _load(self, record: PluginRecord) -> object | None:
        after, plugin = load(record)
        if plugin is not None:
            after = self._register(after, plugin)
        self.records[self.records.index(record)] = after
        if after.problem:
            self.problems.append(after.problem)
            return None
        return plugin

    def _register(self, record: PluginRecord, plugin: object) -> PluginRecord:
        if self.manager.is_registered(plugin):
            return record
        try:
            self.manager.register(plugin, name=f"{record.distribution}:{record.name}")
        except (pluggy.PluginValidationError, ValueError) as error:
            return _broken(record, error)
        self.loaded[record] = plugin
        return record

    def _selected(self, group: str, setting: str, name: str) -> object:
        """The plugin that a setting names; `UnknownBackend` lists what there is, `PluginError` why it fails."""
        candidates = [record for record in self.records if record.group == group]
        named = [record for record in candidates if record.name == name]
        if not named:
            kind = "queue backend" if group == BACKENDS else "idempotency store"
            source = f"JOB_{setting.upper()} from {self.loader.source(CoreSettings, setting)}"
            raise UnknownBackend(f"JOB_{setting.upper()}", unknown_name_text(kind, name, source, candidates))
        if named[0].state is PluginState.DISABLED:
            raise PluginError([f"{name} is selected by JOB_{setting.upper()} but {named[0].reason}"])
        plugin = self._load(named[0]) if named[0].state is PluginState.AVAILABLE else None
        if plugin is None:
            raise PluginError(self.problems or [each.problem or "" for each in named])
        return plugin

    def _selected_store(self) -> object | None:
        name = self.settings.idempotency_store
        return None if name is None else self._selected(STORES, "idempotency_store", name)

    # --- hooks -----------------------------------------------------------------------------------------

    def _complete_hooks(self) -> None:
        for specs in self.manager.hook.hook_specs():
            self.manager.add_hookspecs(specs)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            self.problems.append(f"a hook nobody defines: {error}")

    def _backend(self, plugin: object) -> QueueBackend:
        backend = self._ask(plugin, "queue_backend")
        if backend is None:
            raise PluginError([f"{self.settings.queue_backend} implements no hook queue_backend"])
        return backend  # type: ignore[no-any-return]

    def _store(self, plugin: object | None, backend: QueueBackend) -> IdempotencyStore:
        asked = plugin is not None
        store = self._ask(plugin, "idempotency_store", backend=backend) if asked else backend.ledger
        if store is None:
            missing = ConfigurationError(
                "JOB_IDEMPOTENCY_STORE",
                f"the {backend.name!r} backend has no store of its own; name one that is installed",
            )
            if backend.capabilities & {Capability.CLAIM, Capability.PUSH} != {Capability.PUSH}:
                raise missing
            return cast(IdempotencyStore, _NoStore(missing))
        return store

    def _ask(self, plugin: object, hook: str, **arguments: Any) -> Any:
        """Calls `hook` of one plugin only: unselected backends must not answer."""
        others = [each for each in self.manager.get_plugins() if each is not plugin]
        return self.manager.subset_hook_caller(hook, others)(host=self.plugin_host, **arguments)

    def _in_order(self, hook: str) -> list[Any]:
        """One hook of every plugin, by entry-point name, so that the order does not hang on the file system."""
        ordered = sorted(self.loaded.items(), key=lambda item: (item[0].name, item[0].group))
        return [answer for _, plugin in ordered for answer in self._ask(plugin, hook)]

    def _job_types(self) -> JobTable:
        self._import_modules()
        types: list[JobType] = []
        for record, plugin in self.loaded.items():
            try:
                returned = _flat(self._ask(plugin, "job_types"))
            except JobsError as error:
                self.problems.append(f"{record.name} ({record.distribution}): {error}")
                continue
            types.extend(owned_by(made, record.distribution) for made in returned)
        owners = {record.distribution for record in self.loaded}
        table, duplicates = compile_table([*types, *recorded(owners)])
        self.problems.extend(str(duplicate) for duplicate in duplicates)
        return table

    def _import_modules(self) -> None:
        for name in self.settings.modules:
            try:
                importlib.import_module(name)
            except Exception as error:
                self.problems.append(
                    f"module {name} of JOB_MODULES cannot be imported: {type(error).__name__}: {error}"
                )

    def _unknown_settings(self) -> list[str]:
        """Warnings for names that no installed plugin knows; the unselected are imported only when one looks so."""
        classes = [CoreSettings, *self.manager.hook.settings_class()]
        if not self.loader.unknown(classes):
            return []
        return self.loader.unknown([*classes, *(cls for _, cls in installed_settings(self.records))])


@dataclass(frozen=True, slots=True)
class _NoStore:
    """Stands where no executor will ask: a backend that jobs are only pushed to answers for itself what it cannot do."""

    error: ConfigurationError

    def __getattr__(self, name: str) -> Any:
        raise self.error


def _broken(record: PluginRecord, error: Exception) -> PluginRecord:
    return replace(record, state=PluginState.BROKEN, reason=str(error))


def _flat(answers: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(item for answer in answers for item in answer)
