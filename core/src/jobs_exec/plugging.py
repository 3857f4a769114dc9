"""The plugins of one host: loaded, registered, and kept together with what is wrong with each.

A fault makes its plugin ``broken`` and is one problem, in one sentence that names the plugin, its distribution, the
hook and the line. Nothing that a plugin does escapes from here, except the framework's own errors where a caller asks
for them (`demand`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pluggy

from jobs_exec.asking import Fault, ask, misfits, specifications
from jobs_exec.contracts.plugin import PROJECT, HookSpecs
from jobs_exec.discovery import PLUGINS, PluginRecord, PluginState, load
from jobs_exec.errors import JobsError, near_matches
from jobs_exec.places import place_of, place_of_function
from jobs_exec.settings import env_names

Key = tuple[str, str, str]


def key_of(record: PluginRecord) -> Key:
    """What a record is known by while its state changes."""
    return record.group, record.name, record.distribution


class Plugins:
    """All installed plugins, those that are loaded as objects; `problems` are sentences, in the order they came up."""

    def __init__(self, records: Iterable[PluginRecord]) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(HookSpecs)
        self.problems: list[str] = []
        self._records = {key_of(record): record for record in records}
        self._loaded: dict[Key, object] = {}
        self._specs = specifications(self.manager, HookSpecs)
        self._completed: set[Key] = set()
        self.defined: dict[Key, tuple[str, ...]] = {}
        """The hooks that plugins added."""

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plugin with its state of now."""
        return tuple(self._records.values())

    @property
    def loaded(self) -> list[tuple[PluginRecord, object]]:
        """By entry-point name, so that the order does not hang on the file system."""
        pairs = [(self._records[key], plugin) for key, plugin in self._loaded.items()]
        return sorted(pairs, key=lambda pair: (pair[0].name, pair[0].group))

    def load_handlers(self) -> None:
        """Loads every handler plugin that may be; what is wrong with the others is a problem too."""
        for record in [each for each in self.records if each.group == PLUGINS]:
            if record.state is PluginState.AVAILABLE:
                self.load(record)
            elif record.problem:
                self.problems.append(record.problem)

    def load(self, record: PluginRecord) -> object | None:
        """Imports and registers one plugin; None when it is broken."""
        after, plugin = load(record)
        self._records[key_of(record)] = after
        if plugin is None:
            self.problems.append(after.problem or after.reason)
            return None
        if self.manager.is_registered(plugin):
            return plugin
        faults = misfits(self.manager, plugin, self._specs) or self._registered(record, plugin)
        for text in faults:
            self.fault(record, text)
        if faults:
            return None
        self._loaded[key_of(record)] = plugin
        return plugin

    def plugin_of(self, record: PluginRecord) -> object | None:
        """The object behind a record that is loaded; several records may share one."""
        own = self._loaded.get(key_of(record))
        if own is not None or self._records[key_of(record)].state is not PluginState.LOADED:
            return own
        shared = (plugin for key, plugin in self._loaded.items() if self._records[key].value == record.value)
        return next(shared, None)

    def fault(self, record: PluginRecord, text: str) -> None:
        """Makes the plugin broken; several faults of one plugin are several problems."""
        known = self._records[key_of(record)]
        if known.state is PluginState.BROKEN and text in known.reason:
            return
        reason = f"{known.reason}; {text}" if known.state is PluginState.BROKEN else text
        self._records[key_of(record)] = replace(known, state=PluginState.BROKEN, reason=reason)
        self.problems.append(replace(known, state=PluginState.BROKEN, reason=text).problem or text)

    def broken(self, record: PluginRecord) -> bool:
        """True when anything is wrong with the plugin by now."""
        return self._records[key_of(record)].state is PluginState.BROKEN

    # --- hooks of their own -----------------------------------------------------------------------------

    def complete(self) -> None:
        """Adds the hooks that plugins define, once each; an implementation of a hook that nobody defines is a fault."""
        for record, plugin in [pair for pair in self.loaded if key_of(pair[0]) not in self._completed]:
            self._completed.add(key_of(record))
            specs = self.ask(record, plugin, "hook_specs")
            if specs is not None:
                self._define(record, specs)
        self._refuse_unknown_hooks()

    def _define(self, record: PluginRecord, specs: Any) -> None:
        added = specifications(self.manager, specs)
        for other, plugin in self.loaded:
            faults = misfits(self.manager, plugin, added)
            for text in faults:
                self.fault(other, text)
            if faults:
                self.manager.unregister(plugin)
                del self._loaded[key_of(other)]
        try:
            self.manager.add_hookspecs(specs)
        except (pluggy.PluginValidationError, ValueError) as error:
            self.fault(record, f"its hook_specs cannot be used: {_one_line(error)}")
            return
        self.defined[key_of(record)] = tuple(added)

    def _refuse_unknown_hooks(self) -> None:
        callers = {name: each for name, each in vars(self.manager.hook).items() if not name.startswith("_")}
        known = [name for name, caller in callers.items() if caller.has_spec()]
        owners = {id(plugin): record for record, plugin in self.loaded}
        for name in sorted(callers.keys() - set(known)):
            near = near_matches(name, known)
            hint = f"did you mean {near[0]}?" if near else "mark it optionalhook=True if its definer may be missing"
            for each in callers[name].get_hookimpls():
                if not each.optionalhook:
                    text = f"it implements a hook that nobody defines: {name}; {hint}{place_of_function(each.function)}"
                    self.fault(owners[id(each.plugin)], text)

    def _registered(self, record: PluginRecord, plugin: object) -> list[str]:
        try:
            self.manager.register(plugin, name=f"{record.distribution}:{record.name}")
        except (pluggy.PluginValidationError, ValueError) as error:
            return [_one_line(error)]
        return []

    # --- asking -----------------------------------------------------------------------------------------

    def ask(self, record: PluginRecord, plugin: object, hook: str, **arguments: Any) -> Any:
        """What one plugin answers; None also when it fails, which is noted as its fault."""
        try:
            return ask(self.manager, plugin, hook, **arguments)
        except Fault as fault:
            self.fault(record, str(fault))
        except JobsError as error:
            self.fault(record, f"its hook {hook} failed: {error}{place_of(error)}")
        return None

    def demand(self, record: PluginRecord, plugin: object, hook: str, **arguments: Any) -> Any:
        """`ask`, but the framework's own errors are raised: `ConfigurationError` of a setting above all."""
        try:
            return ask(self.manager, plugin, hook, **arguments)
        except Fault as fault:
            self.fault(record, str(fault))
        return None

    def ask_all(self, hook: str, **arguments: Any) -> list[tuple[PluginRecord, Any]]:
        """The answers of all that have one, by entry-point name."""
        asked = [(record, self.ask(record, plugin, hook, **arguments)) for record, plugin in self.loaded]
        return [(record, answer) for record, answer in asked if answer is not None]

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer there is, in pluggy's order."""
        owners = {id(plugin): record for record, plugin in self.loaded}
        for each in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            answer = self.ask(owners[id(each.plugin)], each.plugin, hook, **arguments)
            if answer is not None:
                return answer
        return None

    def settings_classes(self) -> list[type[Any]]:
        """Those of loaded plugins; one that does not keep to its own names is a fault."""
        found = []
        for record, cls in self.ask_all("settings_class"):
            fault = self._prefix_fault(record, cls)
            if fault:
                self.fault(record, fault)
            else:
                found.append(cls)
        return found

    def _prefix_fault(self, record: PluginRecord, cls: type[Any]) -> str:
        siblings = [each.name for each in self.records if each.distribution == record.distribution]
        allowed = {f"JOB_{name}_".upper().replace("-", "_") for name in siblings}
        own = [name for name, info in cls.model_fields.items() if info.validation_alias is None]
        prefix = str(cls.model_config.get("env_prefix", "")).upper()
        if not own or prefix in allowed:
            return ""
        reads = env_names(cls, own[0], cls.model_fields[own[0]])[0]
        wanted = f"JOB_{record.name}_".upper().replace("-", "_")
        return f"its settings class {cls.__name__} reads {reads}; give it env_prefix={wanted!r}"


def unknown_names(records: Sequence[PluginRecord], allow: Sequence[str], deny: Sequence[str]) -> list[str]:
    """A warning for each name in the two settings that no installed plugin and no distribution has."""
    known = {form for record in records for form in (record.name, record.distribution)}
    warnings = []
    for setting, names in (("JOB_PLUGINS_ALLOW", allow), ("JOB_PLUGINS_DENY", deny)):
        for name in names:
            if not {name, name.lower().replace("_", "-")} & known:
                near = near_matches(name, known)
                hint = f" Did you mean {near[0]}?" if near else " See `jobs-exec plugins list`."
                warnings.append(f"{setting} names {name!r}, which is no installed plugin.{hint}")
    return warnings


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
