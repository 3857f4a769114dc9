"""The settings classes of every installed plugin, selected or not.

A host loads the selected backend only, but ``JOB_TRIGGER_URL`` is no typing error because another backend is
selected, and `jobs-exec config show` shows everything. So here all plugins are imported, each on its own: one
that cannot be imported is left out and shows up in `jobs-exec plugins check`; one that is kept out by allow or
deny stays out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from jobs_exec.contracts.plugin import PROJECT, HookSpecs
from jobs_exec.discovery import PluginRecord, PluginState, load


def installed_settings(records: Iterable[PluginRecord]) -> list[tuple[str, type[Any]]]:
    """(distribution, settings class) of every plugin of `records` that can be imported, each class once."""
    found: dict[type[Any], str] = {}
    for record in records:
        for cls in _classes(record):
            found.setdefault(cls, record.distribution)
    return [(owner, cls) for cls, owner in found.items()]


def _classes(record: PluginRecord) -> list[type[Any]]:
    plugin = load(record)[1] if record.state in (PluginState.AVAILABLE, PluginState.LOADED) else None
    if plugin is None:
        return []
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    try:
        manager.register(plugin)
    except (pluggy.PluginValidationError, ValueError):
        return []
    return list(manager.hook.settings_class())
