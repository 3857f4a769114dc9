"""What plugins answer, checked: each hook is asked of one plugin at a time, so that a fault has an owner.

A hook that raises, that is async, or whose answer is not what its specification says, is a `Fault`: one sentence that
names the hook and the line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pluggy
from pydantic_settings import BaseSettings

from jobs_exec.contracts.handler import JobType
from jobs_exec.contracts.schedule import Schedule
from jobs_exec.errors import JobsError, near_matches
from jobs_exec.places import place_of, place_of_function, words_of


class Fault(Exception):
    """One sentence about a plugin's hook."""


def _is_settings_class(item: object) -> bool:
    return isinstance(item, type) and issubclass(item, BaseSettings)


_ITEMS: dict[str, tuple[Callable[[object], bool], str]] = {
    "job_types": (lambda item: isinstance(item, JobType), "job types made by jobs_exec.job_type"),
    "schedules": (lambda item: isinstance(item, Schedule), "schedules made by jobs_exec.schedule"),
    "middleware": (callable, "async functions (ctx, call_next)"),
    "observers": (callable, "functions (event)"),
}
"""Hooks that answer with a sequence, and what it holds."""

_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "lifespan": (lambda item: isinstance(item, AbstractAsyncContextManager), "an async context manager"),
    "settings_class": (_is_settings_class, "a class derived from pydantic_settings.BaseSettings"),
    "queue_backend": (
        lambda item: all(hasattr(item, each) for each in ("name", "capabilities", "ledger")),
        "a queue backend with name, capabilities and ledger",
    ),
    "org_directory": (lambda item: callable(getattr(item, "check", None)), "an org directory with check"),
}
"""Hooks that answer with one thing."""


def ask(manager: pluggy.PluginManager, plugin: object, hook: str, **arguments: Any) -> Any:
    """What `plugin` alone answers, checked; None when it does not implement `hook`. Raises `Fault`.

    The errors of the framework are raised as they are: a setting that is missing is no fault of the plugin.
    """
    where = place_of_function(getattr(plugin, hook, None))
    others = [each for each in manager.get_plugins() if each is not plugin]
    try:
        answer = manager.subset_hook_caller(hook, others)(**arguments)
        if isinstance(answer, list):  # a hook without firstresult: one implementation, one answer
            answer = answer[0] if answer else None
        return None if answer is None else _checked(hook, answer, where)
    except (JobsError, Fault):
        raise
    except (Exception, SystemExit) as error:
        raise Fault(f"its hook {hook} failed: {words_of(error)}{place_of(error) or where}") from error


def _checked(hook: str, answer: Any, where: str) -> Any:
    if inspect.iscoroutine(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise Fault(f"its hook {hook} is async; hooks are called once, at start, and must be plain functions{where}")
    if hook in _ITEMS:
        return _sequence(hook, answer, where)
    fits, wanted = _VALUES.get(hook, (lambda _: True, ""))
    if not fits(answer):
        raise Fault(f"its hook {hook} returned {_named(answer)}, it must return {wanted}{where}")
    return answer


def _sequence(hook: str, answer: Any, where: str) -> tuple[Any, ...]:
    fits, wanted = _ITEMS[hook]
    if not isinstance(answer, Iterable) or isinstance(answer, str):
        raise Fault(f"its hook {hook} returned {_named(answer)}, it must return a list of {wanted}{where}")
    items = tuple(answer)
    for item in items:
        if not fits(item):
            raise Fault(f"its hook {hook} returned a list with {_named(item)} in it, not only {wanted}{where}")
    return items


def _named(value: object) -> str:
    """What to call a value of a plugin, without showing what it holds."""
    name = getattr(value, "__qualname__", None)
    return f"the {type(value).__name__} {name}" if name else f"an object of class {type(value).__name__}"


# --- signatures ------------------------------------------------------------------------------------------


def implementations(manager: pluggy.PluginManager, plugin: object) -> Iterator[tuple[str, Any]]:
    """(hook, function) for everything in `plugin` that is marked as an implementation."""
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            yield options.get("specname") or name, getattr(plugin, name)


def specifications(manager: pluggy.PluginManager, owner: object) -> dict[str, tuple[str, ...]]:
    """Hook -> what it may ask for, of a class or module with hook specifications."""
    return {
        name: _asks_for(getattr(owner, name))
        for name in dir(owner)
        if manager.parse_hookspec_opts(owner, name) is not None  # type: ignore[arg-type]
    }


def misfits(manager: pluggy.PluginManager, plugin: object, specs: dict[str, tuple[str, ...]]) -> list[str]:
    """Every implementation in `plugin` that asks for what its hook in `specs` does not give, one sentence each."""
    faults = []
    for hook, function in implementations(manager, plugin):
        offered = specs.get(hook)
        if offered is None:
            continue
        for name in _asks_for(function):
            if name not in offered:
                near = near_matches(name, offered)
                hint = f"did you mean {near[0]}?" if near else f"it may ask for {', '.join(offered) or 'nothing'}"
                faults.append(f"its hook {hook} asks for {name!r}, {hint}{place_of_function(function)}")
    return faults


def _asks_for(function: Any) -> tuple[str, ...]:
    """The parameters that pluggy fills in: positional, without a default, without the ``self`` of a class."""
    names = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.default is each.empty
    ]
    unbound = names[:1] == ["self"] and "." in getattr(function, "__qualname__", "")
    return tuple(names[1:] if unbound else names)
