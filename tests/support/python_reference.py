"""The reference of the Python surface, made from signatures, annotations and docstrings.

A field's meaning is the string below it, as in ``priority: int`` followed by a docstring; where it has none, the
docstring of its class says what needs saying.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from typing import Any, is_typeddict

from markdown_tables import prose, table

import jobs_exec
import jobs_exec_cron
import jobs_exec_cron.http

OPTIONS = (
    "jobs_exec.registry.TypeOptions",
    "jobs_exec.client.EnqueueOptions",
    "jobs_exec.scheduling.defining.ScheduleOptions",
    "jobs_exec_cron.calls.CallOptions",
)
"""What ``**options`` stands for in the signatures."""

OF_PLUGINS = ("PluginHost", "Policy", "JobStarted", "JobSettled", "JobLost", "JobEndedAtClaim", "ExecutorChanged")
"""What a plugin author reads beside the contracts themselves, from `jobs_exec.contracts`."""

VALUES = ("jobs_exec.job.Action", "jobs_exec.job.RunStatus")
"""What fields of events hold."""

RUNNING = (
    "jobs_exec.host.build_host",
    "jobs_exec.executor.Executor",
    "jobs_exec.executor.Mode",
    "jobs_exec.executor.ExitReport",
    "jobs_exec.executor.Progress",
    "jobs_exec.contracts.Operator",
    "jobs_exec.job.JobView",
)
"""What runs and looks at jobs from a program: a test, most of all."""

CRON = (jobs_exec_cron, jobs_exec_cron.http)
"""What applications import from the cron distribution."""

VERIFYING = (
    "jobs_exec_cron.verifying.Verifier",
    "jobs_exec_cron.verifying.Presented",
    "jobs_exec_cron.verifying.Verified",
)
"""What a plugin implements, is given and answers that lets callers in."""

SHOWN = {"Executor": ("__init__", "run", "drain", "abort", "progress")}
"""Classes of which this is for everybody; the rest is between them and their roles."""

NOT_SHOWN = {"__version__", "Outcome", "JobsError"}
"""A text, a union of classes that are shown, and the base of the errors."""


def wanted() -> set[str]:
    """The parts that the page must have: all that applications import, and what plugins are given."""
    return {
        *(f"python of jobs_exec.{name}" for name in set(jobs_exec.__all__) - NOT_SHOWN),
        *(f"python of jobs_exec.contracts.{name}" for name in OF_PLUGINS),
        *(f"python of {module.__name__}.{name}" for module in CRON for name in module.__all__),
        *(f"python of {name}" for name in (*OPTIONS, *VALUES, *RUNNING, *VERIFYING)),
    }


def python_text(dotted: str) -> str:
    """A function's signature, or everything public of a class; `dotted` names it."""
    module, _, name = dotted.rpartition(".")
    item = getattr(import_module(module), name)
    if not inspect.isclass(item):
        return "\n" + _function(name, item) + "\n"
    text = f"\n{prose(item)}\n" + _fields_of(item) + "".join(_methods_of(item))
    return text.rstrip("\n") + "\n\n"


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"```text\n{_entered(name + signature(function), function)}\n```\n\n{prose(function)}\n"


def _entered(text: str, function: Callable[..., Any]) -> str:
    """The call as it is written: awaited, or in a with statement."""
    if inspect.iscoroutinefunction(function):
        return f"await {text}"
    if made := _made_inside(function):
        return f"async with {text.rpartition(' -> ')[0]} -> {made}"
    text, found = re.subn(r"-> (Async)?Iterator\[(.+)\]$", r"-> \2", text)
    return f"{'async ' if inspect.isasyncgenfunction(inspect.unwrap(function)) else ''}with {text}" if found else text


def _made_inside(function: Callable[..., Any]) -> str | None:
    """What ``async with`` gives, where the call's own result serves for nothing else."""
    result = getattr(sys.modules[function.__module__], str(function.__annotations__.get("return")), None)
    if result is None or not hasattr(result, "__aenter__") or hasattr(result, "__enter__"):
        return None
    return str(result.__aenter__.__annotations__["return"])


def signature(function: Callable[..., Any]) -> str:
    """As a caller reads it: without ``self``, one parameter a line when it is long."""
    known = inspect.signature(function)
    parameters = [each for name, each in known.parameters.items() if name != "self"]
    text = _plain(str(known.replace(parameters=parameters)))
    if len(text) <= 100:
        return text
    lines = [f"    {_plain(str(each))},\n" for each in parameters]
    kinds = [each.kind for each in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "    *,\n")
    return f"(\n{''.join(lines)}) -> {_plain(str(known.return_annotation))}"


def _plain(text: str) -> str:
    """Annotations without the quotes that postponed ones are shown in; defaults keep theirs."""
    text = re.sub(r"(: |-> |^)'([^']*)'", r"\1\2", text)
    text = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text)  # a member of an enumeration, as it is written
    return re.sub(r"Unpack\[(\w+)\]", r"\1", text)


# --- classes -------------------------------------------------------------------------------------------


def _fields_of(cls: type) -> str:
    """Fields, members or properties, whichever the class is made of."""
    meanings = dict(_meanings(cls))
    if issubclass(cls, Enum):
        rows = [(f"`{each.name}`", f"`{each.value}`", meanings.get(each.name, "")) for each in cls]
        return _table(("member", "value"), rows)
    if dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        return _table(("field", "type"), [_row(each.name, str(each.type), meanings, _default(each)) for each in fields])
    if is_typeddict(cls):
        return _table(("option", "type"), [_row(*each, meanings) for each in _annotations(cls)])
    properties = {name: item.fget for name, item in _public(cls) if isinstance(item, property)}
    rows = [_row(name, get.__annotations__["return"], {name: prose(get)}) for name, get in properties.items()]
    return _table(("attribute", "type"), rows) if rows else ""


def _table(header: tuple[str, str], rows: Sequence[tuple[str, str, str]]) -> str:
    """The meaning stands last, and only where there is one."""
    width = 3 if any(row[-1] for row in rows) else 2
    return table((*header, "meaning")[:width], (row[:width] for row in rows))


def _public(cls: type) -> Iterator[tuple[str, Any]]:
    """What the class itself has and shows."""
    shown = SHOWN.get(cls.__name__)
    for name, item in vars(cls).items():
        if name in shown if shown else not name.startswith("_"):
            yield name, item


def _row(name: str, kind: str, meanings: dict[str, str], default: str = "") -> tuple[str, str, str]:
    return f"`{name}`", f"`{_plain(kind)}{default}`", meanings.get(name, "")


def _annotations(cls: type) -> list[tuple[str, str]]:
    return [(name, getattr(kind, "__forward_arg__", str(kind))) for name, kind in cls.__annotations__.items()]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return ""
    return f" = {field.default.value if isinstance(field.default, Enum) else field.default!r}"


def _meanings(cls: type) -> Iterator[tuple[str, str]]:
    """Name -> the string right below it in the class body."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, body.body[1:], strict=False):
        match statement, below:
            case (
                (ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)])),
                ast.Expr(ast.Constant(str(text))),
            ):
                yield name, prose(text)


def _methods_of(cls: type) -> Iterator[str]:
    """Public methods; a constructor is told by its class."""
    for name, item in _public(cls):
        function = getattr(cls, name) if isinstance(item, classmethod) else item
        if name == "__init__":
            yield f"\n```text\n{cls.__name__}{signature(function).removesuffix(' -> None')}\n```\n"
        elif inspect.isroutine(function) and inspect.getdoc(function):
            yield "\n" + _function(f"{cls.__name__}.{name}" if isinstance(item, classmethod) else name, function)
