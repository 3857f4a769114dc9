"""From entry points to plugin records: what is installed, and what became of each.

pluggy's own loader lets one broken plugin abort all, drops duplicates silently and loads in directory order.
This one makes a single sorted pass, and every candidate ends in exactly one state::

    candidate ─┬─ kept out by allow or deny ──────────▶ disabled
               ├─ two distributions, one name ────────▶ duplicate
               ├─ its requirement excludes this core ─▶ incompatible   (checked before any import)
               └─ available ──(selected)──┬───────────▶ loaded
                                          └───────────▶ broken

This is the only importer of `importlib_metadata`: importing it replaces the standard finder for the process.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from jobs_exec.errors import near_matches
from jobs_exec.places import place_of, words_of
from jobs_exec.registry import recording

CORE = "jobs-exec"
PLUGINS = "jobs_exec.plugins"
BACKENDS = "jobs_exec.backends"
STORES = "jobs_exec.stores"
COMMANDS = "jobs_exec.commands"
WELL_KNOWN = {"table": "jobs-exec-table", "cron": "jobs-exec-cron", "memory": CORE}


class PluginState(StrEnum):
    """What became of one installed plugin."""

    AVAILABLE = "available"
    """Installed, not selected."""
    LOADED = "loaded"
    DISABLED = "disabled"
    INCOMPATIBLE = "incompatible"
    DUPLICATE = "duplicate"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One entry point: its group, name and target, the distribution it came from, and its state with the reason."""

    group: str
    name: str
    value: str
    distribution: str
    version: str
    state: PluginState = PluginState.AVAILABLE
    reason: str = ""
    details: str = field(default="", repr=False)
    """The traceback of a failed import."""
    requires: tuple[str, ...] = field(default=(), repr=False)
    summary: str = field(default="", repr=False)
    """What the distribution says about itself, in one line."""

    @property
    def problem(self) -> str | None:
        """One sentence when this plugin cannot be used as asked."""
        if self.state in (PluginState.INCOMPATIBLE, PluginState.DUPLICATE, PluginState.BROKEN):
            return f"{self.name} ({self.distribution} {self.version}, {self.group}) is {self.state}: {self.reason}"
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """Which plugins may be loaded, by entry-point or distribution name; an empty `allow` allows all."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def verdict(self, record: PluginRecord) -> str:
        """Why `record` is kept out; empty when it is not."""
        names = {record.name, canonicalize_name(record.distribution)}
        if names & _canonical(self.deny):
            return "named in JOB_PLUGINS_DENY"
        return "not named in JOB_PLUGINS_ALLOW" if self.allow and not names & _canonical(self.allow) else ""


def discover(
    policy: Policy | None = None, groups: Sequence[str] = (PLUGINS, BACKENDS, STORES)
) -> tuple[PluginRecord, ...]:
    """All installed plugins of `groups`, sorted by group, name and distribution; nothing is imported."""
    records = sorted(_installed(groups), key=lambda record: (record.group, record.name, record.distribution))
    return _judge(records, policy or Policy())


def commands() -> tuple[PluginRecord, ...]:
    """The sub-commands that plugins bring, by name; nothing is imported."""
    return discover(groups=(COMMANDS,))


def load(record: PluginRecord) -> tuple[PluginRecord, object | None]:
    """Imports the plugin behind `record`; a failure of any kind makes it broken and never escapes."""
    entry = importlib_metadata.EntryPoint(record.name, record.value, record.group)
    try:
        with recording(record.distribution):
            plugin = entry.load()
    except (Exception, SystemExit) as error:
        reason = f"{words_of(error)}{place_of(error)}"
        return replace(record, state=PluginState.BROKEN, reason=reason, details=traceback.format_exc()), None
    return replace(record, state=PluginState.LOADED), plugin


def unknown_name_text(kind: str, name: str, source: str, records: Iterable[PluginRecord]) -> str:
    """What to tell somebody who selected a backend or store that is not installed."""
    installed = list(records)
    listing = ", ".join(f"{each.name} ({each.distribution} {each.version})" for each in installed) or "none"
    near = near_matches(name, (each.name for each in installed))
    hint = f" Did you mean {near[0]!r}?" if near else ""
    pip = f" Install it with: pip install {WELL_KNOWN[name]}" if name in WELL_KNOWN else ""
    return f"no {kind} {name!r} is installed (asked for by {source}); installed: {listing}.{hint}{pip}"


def _installed(groups: Sequence[str]) -> list[PluginRecord]:
    seen: set[str] = set()
    records: list[PluginRecord] = []
    for distribution in importlib_metadata.distributions():
        metadata = distribution.metadata
        name = canonicalize_name(metadata["Name"] or "")
        # The first of two installations of one distribution shadows the other, as in imports.
        if not name or name in seen:
            continue
        seen.add(name)
        requires = tuple(distribution.requires or ())
        records.extend(
            PluginRecord(
                entry.group,
                entry.name,
                entry.value,
                name,
                distribution.version,
                requires=requires,
                summary=metadata.get("Summary") or "",
            )
            for entry in distribution.entry_points
            if entry.group in groups
        )
    return records


def _judge(records: Sequence[PluginRecord], policy: Policy) -> tuple[PluginRecord, ...]:
    disabled = {id(record): policy.verdict(record) for record in records}
    core = _core_version()
    owners = Counter((record.group, record.name) for record in records if not disabled[id(record)])
    judged = []
    for record in records:
        if disabled[id(record)]:
            judged.append(replace(record, state=PluginState.DISABLED, reason=disabled[id(record)]))
        elif owners[record.group, record.name] > 1:
            judged.append(replace(record, state=PluginState.DUPLICATE, reason=_rivals(record, records)))
        elif excluded := _excludes(record.requires, core):
            judged.append(
                replace(record, state=PluginState.INCOMPATIBLE, reason=f"it requires {excluded}, this is {core}")
            )
        else:
            judged.append(record)
    return tuple(judged)


def _rivals(record: PluginRecord, records: Iterable[PluginRecord]) -> str:
    owners = sorted({each.distribution for each in records if (each.group, each.name) == (record.group, record.name)})
    return f"{' and '.join(owners)} both bring it; uninstall one, or keep one out with JOB_PLUGINS_DENY"


def _excludes(requires: Iterable[str], core: str) -> str:
    """The requirement on the core that this core does not meet; empty when there is none."""
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) == CORE and applies:
            return "" if requirement.specifier.contains(core, prereleases=True) else str(requirement)
    return ""


def _core_version() -> str:
    from jobs_exec import __version__

    return __version__


def _canonical(names: Iterable[str]) -> set[str]:
    return {form for name in names for form in (name, canonicalize_name(name))}
