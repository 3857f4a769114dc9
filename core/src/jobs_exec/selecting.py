"""The plugins that settings name: the queue backend, the idempotency store, and backends that stand on others.

Only these are imported of their groups, and each is asked for what it brings once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import pluggy

from jobs_exec.contracts.backend import Capability, QueueBackend
from jobs_exec.contracts.plugin import Policy
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.discovery import BACKENDS, STORES, PluginRecord, PluginState, unknown_name_text
from jobs_exec.errors import CapabilityMissing, ConfigurationError, PluginError, UnknownBackend
from jobs_exec.plugging import Plugins
from jobs_exec.settings import CoreSettings, SettingsLoader, env_names

S = TypeVar("S")
Selected: TypeAlias = tuple[PluginRecord, object]
"""A plugin and the object behind it."""


@dataclass(frozen=True, slots=True)
class PluginHost:
    """`contracts.PluginHost`: what hooks are given."""

    policy: Policy
    hook: pluggy.HookRelay
    loader: SettingsLoader
    backends: Callable[[str, str], QueueBackend]

    def backend(self, name: str, asked_by: str = "JOB_QUEUE_BACKEND") -> QueueBackend:
        """See `contracts.PluginHost.backend`."""
        return self.backends(name, asked_by)

    def settings(self, cls: type[S]) -> S:
        """See `contracts.PluginHost.settings`."""
        _check_names(cls)
        return self.loader.load(cls)  # type: ignore[type-var]


class Selecting:
    """The selected ones of one build. `problems` are all that is wrong so far, told when one of them cannot be had."""

    def __init__(
        self,
        plugins: Plugins,
        settings: CoreSettings,
        loader: SettingsLoader,
        problems: Callable[[], list[str]],
    ) -> None:
        self._plugins = plugins
        self._settings = settings
        self._loader = loader
        self._problems = problems
        self._others: dict[str, QueueBackend] = {}
        self.plugin_host = PluginHost(settings.policy(), plugins.manager.hook, loader, self.other_backend)

    def backend_plugin(self) -> Selected:
        """The plugin of ``JOB_QUEUE_BACKEND``, loaded. Raises `UnknownBackend` and `PluginError`."""
        return self._selected(BACKENDS, self._settings.queue_backend, self._asked("queue_backend"))

    def store_plugin(self) -> Selected | None:
        """The plugin of ``JOB_IDEMPOTENCY_STORE``, loaded; None when it is the backend's own."""
        name = self._settings.idempotency_store
        return None if name is None else self._selected(STORES, name, self._asked("idempotency_store"))

    def backend(self, selected: Selected) -> QueueBackend:
        """What the plugin brings. Raises `PluginError`, and what the plugin says of its settings."""
        record, plugin = selected
        backend = self._plugins.demand(record, plugin, "queue_backend", host=self.plugin_host)
        if backend is None:
            missing = f"{record.name} implements no hook queue_backend, or it answered None"
            problems = self._problems()
            raise PluginError(problems if self._plugins.broken(record) else [*problems, missing])
        return cast(QueueBackend, backend)

    def store(self, selected: Selected | None, backend: QueueBackend, queue: QueueBackend) -> IdempotencyStore:
        """What the plugin brings for `queue`, or the backend's own ledger. Raises `ConfigurationError` for neither."""
        store: Any = backend.ledger
        if selected is not None:
            store = self._plugins.demand(*selected, "idempotency_store", host=self.plugin_host, backend=queue)
            if store is None and self._plugins.broken(selected[0]):
                raise PluginError(self._problems())
        return cast(IdempotencyStore, _no_store(backend) if store is None else store)

    def other_backend(self, name: str, asked_by: str) -> QueueBackend:
        """A backend that another one stands on, made once. Raises `UnknownBackend` and `PluginError`."""
        if name not in self._others:
            selected = self._selected(BACKENDS, name, _Asked(asked_by))
            self._plugins.complete()
            self._others[name] = self.backend(selected)
        return self._others[name]

    def _selected(self, group: str, name: str, asked: _Asked) -> Selected:
        """The plugin that a setting names; `UnknownBackend` lists what there is, `PluginError` why it fails."""
        candidates = [record for record in self._plugins.records if record.group == group]
        named = [record for record in candidates if record.name == name]
        if not named:
            kind = "queue backend" if group == BACKENDS else "idempotency store"
            raise UnknownBackend(asked.setting, unknown_name_text(kind, name, str(asked), candidates))
        (record, *_) = named
        if record.state is PluginState.DISABLED:
            raise PluginError([f"{name} is selected by {asked.setting} but {record.reason}"])
        # Asked again it is loaded already, or it failed and says so again.
        known = self._plugins.plugin_of(record) if record.state is PluginState.LOADED else None
        plugin = known or (self._plugins.load(record) if record.state is PluginState.AVAILABLE else None)
        if plugin is None:
            raise PluginError(self._problems() or [each.problem or "" for each in named])
        return record, plugin

    def _asked(self, setting: str) -> _Asked:
        return _Asked(f"JOB_{setting.upper()}", self._loader.source(CoreSettings, setting))


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which setting names a plugin, and where its value stands when the core's own settings say so."""

    setting: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.setting} from {self.place}" if self.place else self.setting


def where_jobs_run(backend: QueueBackend) -> QueueBackend:
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


def _no_store(backend: QueueBackend) -> object:
    missing = ConfigurationError(
        "JOB_IDEMPOTENCY_STORE",
        f"the {backend.name!r} backend has no store of its own; name one that is installed",
    )
    if backend.capabilities & {Capability.CLAIM, Capability.PUSH} != {Capability.PUSH}:
        raise missing
    return _NoStore(missing)


def _check_names(cls: type[Any]) -> None:
    """A settings class without a prefix would read any variable of the environment."""
    for name, info in cls.model_fields.items():
        reads = env_names(cls, name, info)[0]
        if info.validation_alias is None and not reads.startswith("JOB_"):
            raise ConfigurationError(
                cls.__name__, f"reads {reads}; give it env_prefix='JOB_NAME_', with the plugin's entry-point name"
            )
