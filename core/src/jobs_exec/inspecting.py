"""Looking at plugins without running anything: their states, what an executor would make of them, all about one.

Nothing here raises for a plugin's fault, and nothing is connected to.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from jobs_exec.asking import implementations
from jobs_exec.contracts.handler import JobType
from jobs_exec.discovery import BACKENDS, CORE, STORES, PluginRecord, PluginState
from jobs_exec.errors import ConfigurationError, PluginError, UnknownBackend
from jobs_exec.host import Assembly
from jobs_exec.plugging import Key, key_of
from jobs_exec.settings import env_names


@dataclass(frozen=True, slots=True)
class Inspection:
    """Every plugin with its state; `problems` would keep an executor from starting, `warnings` would not."""

    records: tuple[PluginRecord, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PluginDetails:
    """All about one plugin; what needs its import is empty when it is broken or kept out."""

    record: PluginRecord
    file: str = ""
    requires: str = ""
    job_types: tuple[str, ...] = ()
    implements: tuple[str, ...] = ()
    """Hooks it implements."""
    defines: tuple[str, ...] = ()
    """Hooks it adds."""
    settings_class: str = ""
    settings: tuple[str, ...] = field(default=())


def inspect_plugins(overrides: Mapping[str, str] | None = None) -> tuple[PluginRecord, ...]:
    """Every installed plugin with its state, handler plugins imported; never raises for a plugin's fault."""
    assembly = Assembly(overrides)
    assembly.plugins.load_handlers()
    return assembly.plugins.records


def check_plugins(overrides: Mapping[str, str] | None = None) -> Inspection:
    """Makes what an executor would run on, then imports the backends and stores that are not selected.

    A setting of the backend that is missing is a warning: where plugins are checked there need not be a database.
    """
    assembly = Assembly(overrides)
    more: list[str] = []
    warnings: list[str] = []
    try:
        assembly.host(tolerate_broken=True)
    except PluginError as error:
        more += error.problems
    except UnknownBackend as error:
        more.append(str(error))
    except ConfigurationError as error:
        warnings.append(f"the backend cannot be made here: {error}")
    if more or warnings:
        answers = assembly.answers(leave_out_broken=False)
        assembly.schedules(answers.job_types, has_directory=True)
    warnings += assembly.warnings()
    unselected = _load_others(assembly)
    problems = dict.fromkeys([*assembly.problems, *more])
    records = (_as_selected(each, unselected) for each in assembly.plugins.records)
    return Inspection(tuple(records), tuple(problems), tuple(warnings))


def _as_selected(record: PluginRecord, unselected: set[Key]) -> PluginRecord:
    """One that was imported for its check alone is not loaded in an executor."""
    only_checked = record.state is PluginState.LOADED and key_of(record) in unselected
    return replace(record, state=PluginState.AVAILABLE) if only_checked else record


def describe_plugins(name: str, overrides: Mapping[str, str] | None = None) -> list[PluginDetails]:
    """The plugins whose entry point or distribution is `name`, imported and asked for what they bring."""
    assembly = Assembly(overrides)
    assembly.plugins.load_handlers()
    _load_others(assembly, name)
    types = assembly.job_types(leave_out_broken=False)
    found = [each for each in assembly.plugins.records if name in (each.name, each.distribution)]
    return [_details(assembly, record, list(types.values())) for record in found]


def known_names(overrides: Mapping[str, str] | None = None) -> set[str]:
    """Entry points and distributions."""
    return {form for each in Assembly(overrides).plugins.records for form in (each.name, each.distribution)}


def _load_others(assembly: Assembly, name: str | None = None) -> set[Key]:
    """Imports backends and stores that are not loaded yet, all or those of `name`, and notes what is wrong with them."""
    plugins = assembly.plugins
    imported: set[Key] = set()
    for record in plugins.records:
        if record.group not in (BACKENDS, STORES) or (name and name not in (record.name, record.distribution)):
            continue
        if record.state is PluginState.AVAILABLE:
            imported.add(key_of(record))
            plugins.load(record)
        elif record.problem and record.problem not in plugins.problems:
            plugins.problems.append(record.problem)
    plugins.complete()
    plugins.settings_classes()
    return imported


def _details(assembly: Assembly, record: PluginRecord, types: list[JobType]) -> PluginDetails:
    plugins = assembly.plugins
    plugin = plugins.plugin_of(record)
    if plugin is None:
        return PluginDetails(record, requires=_requirement(record))
    cls = plugins.ask(record, plugin, "settings_class")
    return PluginDetails(
        record=record,
        file=_file(plugin),
        requires=_requirement(record),
        job_types=tuple(sorted(made.name for made in types if made.owner == record.distribution)),
        implements=tuple(sorted({hook for hook, _ in implementations(plugins.manager, plugin)})),
        defines=plugins.defined.get(key_of(record), ()),
        settings_class=f"{cls.__module__}.{cls.__qualname__}" if cls else "",
        settings=_settings(cls) if cls else (),
    )


def _settings(cls: type[Any]) -> tuple[str, ...]:
    return tuple(env_names(cls, name, info)[0] for name, info in cls.model_fields.items())


def _file(plugin: object) -> str:
    """Where its code is."""
    try:
        return str(Path(inspect.getfile(plugin if isinstance(plugin, ModuleType) else type(plugin))))
    except (TypeError, OSError):
        return ""


def _requirement(record: PluginRecord) -> str:
    """What it requires of the core; empty when it says nothing."""
    for text in record.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.name.lower().replace("_", "-") == CORE:
            return str(requirement)
    return ""
