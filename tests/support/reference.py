"""The generated parts of the reference pages, made from the code they describe.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. A test compares it with what is made
here; ``python tests/support/reference.py`` writes it anew.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import psycopg
from databases import TEMPLATE, VERSIONS, make_template, running_server
from markdown_tables import prose, table
from provisions import open_folder
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from python_reference import python_text
from workspace import ROOT, members

from jobs_exec.contracts import HookSpecs
from jobs_exec.settings import CoreSettings, env_names, parse_duration

PAGES = ROOT / "docs/reference"
_PART = r"(<!-- generated: {name} -->\n)(.*?)(<!-- end -->\n)"
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60))


def part(page: Path, name: str) -> str:
    """What the page says between the marks of `name`."""
    match = re.search(_PART.format(name=re.escape(name)), page.read_text(), re.DOTALL)
    assert match, f"{page} has no part {name!r}"
    return match[2]


def names(page: Path) -> list[str]:
    """The generated parts of a page."""
    return re.findall(r"<!-- generated: (.+?) -->", page.read_text())


def replace_part(page: Path, name: str, text: str) -> None:
    """Writes `text` between the marks of `name`."""
    pattern = re.compile(_PART.format(name=re.escape(name)), re.DOTALL)
    page.write_text(pattern.sub(lambda match: match[1] + text + match[3], page.read_text()))


# --- settings ------------------------------------------------------------------------------------------


def settings_classes() -> dict[str, type[BaseSettings]]:
    """Distribution -> its settings class."""
    found: dict[str, type[BaseSettings]] = {"jobs-exec": CoreSettings}
    for member, module in plugin_modules():
        if hasattr(module, "settings_class"):
            found[member] = module.settings_class()
    return found


def plugin_modules() -> Iterator[tuple[str, Any]]:
    """(distribution, plugin module) of every member, each module once."""
    for member in members():
        groups = [names for group, names in member.entry_points.items() if group.startswith("jobs_exec.")]
        targets = {target for names in groups for target in names.values() if ":" not in target}
        for target in sorted(targets):
            yield member.name, import_module(target)


def settings_text(distribution: str) -> str:
    cls = settings_classes()[distribution]
    rows = [
        (
            " or ".join(f"`{env}`" for env in env_names(cls, name, info)),
            _default(info),
            info.description or "",
        )
        for name, info in cls.model_fields.items()
    ]
    return table(("setting", "default", "meaning"), rows)


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value == {}:
        return "–"
    if isinstance(value, SecretStr):
        return "(secret)"
    if any(getattr(each, "func", None) is parse_duration for each in info.metadata):
        return f"`{_duration(value)}`"
    return f"`{int(value) if isinstance(value, bool) else value}`"


def _duration(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


# --- hooks ---------------------------------------------------------------------------------------------


def hooks_text(distribution: str) -> str:
    """Signature and meaning of every hook that a distribution specifies."""
    return "".join(
        f"\n### `{name}`\n\n```text\n{name}{_signature(function)}\n```\n\n{_first_result(function)}{prose(function)}\n"
        for name, function in hook_specs()[distribution].items()
    ) + ("\n" if hook_specs()[distribution] else "")


def hook_specs() -> dict[str, dict[str, Callable[..., Any]]]:
    """Distribution -> hook -> specification."""
    found = {"jobs-exec": _specs(HookSpecs)}
    for member, module in plugin_modules():
        if hasattr(module, "hook_specs"):
            found[member] = _specs(module.hook_specs())
    return found


def _specs(owner: Any) -> dict[str, Callable[..., Any]]:
    return {name: item for name, item in vars(owner).items() if hasattr(item, "jobs_exec_spec")}


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [each for name, each in signature.parameters.items() if name != "self"]
    return str(signature.replace(parameters=parameters)).replace("'", "")


def _first_result(function: Any) -> str:
    return "Asked of plugins until one answers. " if function.jobs_exec_spec["firstresult"] else ""


# --- commands ------------------------------------------------------------------------------------------

_VERBATIM = "\b\n"


def commands() -> dict[str, click.Command]:
    """Every command by its full name, in order of the help."""
    from jobs_exec.cli import main

    return dict(_walk("jobs-exec", main, None))


def _walk(name: str, command: click.Command, parent: click.Context | None) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, info_name=name, parent=parent)
        for each in command.list_commands(ctx):
            below = command.get_command(ctx, each)
            assert below is not None, each
            yield from _walk(f"{name} {each}", below, ctx)


def commands_text() -> str:
    return "".join(_command(name, command) for name, command in commands().items() if not command.hidden) + "\n"


def _command(name: str, command: click.Command) -> str:
    ctx = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(ctx)])
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    records = [record for each in options if (record := each.get_help_record(ctx))]
    rows = table(("option", "meaning"), [(f"`{left}`", _one_line(right)) for left, right in records])
    return f"\n### `{name}`\n\n```text\n{usage}\n```\n\n{_help_text(command)}\n{rows if records else ''}"


def _help_text(command: click.Command) -> str:
    """The help, paragraph by paragraph; those that click leaves as they are become blocks."""
    paragraphs = inspect.cleandoc(command.help or "").split("\f")[0].strip().split("\n\n")
    blocks = [
        f"```text\n{each.removeprefix(_VERBATIM)}\n```" if each.startswith(_VERBATIM) else each for each in paragraphs
    ]
    return "\n\n".join(blocks)


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- the schema ----------------------------------------------------------------------------------------

_COLUMNS = """
    select c.table_name, c.column_name, coalesce('jobs.' || c.domain_name,
            replace(format_type(format('%I.%I', c.udt_schema, c.udt_name)::regtype, null), ' with time zone', 'tz')),
        c.is_nullable = 'NO',
        col_description(format('%I.%I', c.table_schema, c.table_name)::regclass, c.ordinal_position)
    from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'jobs' and t.table_type = 'BASE TABLE'
    order by c.table_name, c.ordinal_position
"""


def schema_text(url: str) -> str:
    """Every table of the migrated database with its columns."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(_COLUMNS).fetchall()
        comments: dict[str, str] = dict(
            connection.execute(
                "select relname, obj_description(oid) from pg_class where relnamespace = 'jobs'::regnamespace"
            ).fetchall()
        )
    text = ""
    for name in dict.fromkeys(row[0] for row in columns):
        rows = [
            (f"`{column}`", f"`{kind}`", "not null" if needed else "", comment or "")
            for owner, column, kind, needed, comment in columns
            if owner == name
        ]
        text += f"\n### `{name}`\n\n{comments.get(name) or ''}\n" + table(("column", "type", "", "meaning"), rows)
    return text


@contextmanager
def migrated_database(folder: Path) -> Iterator[str]:
    """The URL of a database with the schema in it, on a server of its own."""
    with running_server(VERSIONS[0], folder) as server:
        make_template(server)
        yield server.url(TEMPLATE)


def expected(name: str, url: str) -> str:
    """The text of the part `name`, such as ``settings of jobs-exec`` or ``python of jobs_exec.job``."""
    kind, _, distribution = name.partition(" of ")
    match kind:
        case "settings":
            return settings_text(distribution)
        case "hooks":
            return hooks_text(distribution)
        case "python":
            return python_text(distribution)
        case "commands":
            return commands_text()
        case "schema":
            return schema_text(url)
    raise AssertionError(f"nothing generates {name!r}")


def main() -> None:
    """Writes every generated part anew."""
    with open_folder() as folder, migrated_database(folder / "postgres") as url:
        for page in sorted(PAGES.glob("*.md")):
            for name in names(page):
                replace_part(page, name, expected(name, url))


if __name__ == "__main__":
    main()
