"""The root of the command. Sub-commands are imported when they are called, so that `--help` costs nothing.

Those of the core are listed here; those of plugins come from the entry-point group ``jobs_exec.commands``, whose
names are read from metadata.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from jobs_exec import __version__
from jobs_exec.cli.errors import exit_code
from jobs_exec.errors import JobsError, PluginError

COMMANDS = {
    "config": ("jobs_exec.cli.config", "Show settings and where each value came from."),
    "plugins": ("jobs_exec.cli.plugins", "List, show and check installed plugins."),
}


class LazyGroup(click.Group):
    """Commands by name; a module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The core's commands and those of installed plugins."""
        from jobs_exec.discovery import commands

        return sorted({*COMMANDS, *(record.name for record in commands())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself; a plugin's that cannot be imported fails when it is called, not in the listing."""
        if cmd_name in COMMANDS:
            return _attribute(COMMANDS[cmd_name][0], cmd_name)
        return _plugin_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names with their help lines, without importing anything."""
        rows = [(name, COMMANDS.get(name, ("", "From a plugin."))[1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error of ours becomes one sentence and its exit code."""
        try:
            return super().invoke(ctx)
        except JobsError as error:
            click.echo(f"jobs-exec: {error}", err=True)
            sys.exit(exit_code(error))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jobs-exec")
def main() -> None:
    """Background jobs for multi-tenant applications on Postgres."""


def _attribute(module: str, name: str) -> click.Command:
    command: click.Command = getattr(import_module(module), name)
    return command


def _plugin_command(name: str) -> click.Command | None:
    from jobs_exec.discovery import commands, load

    found = [record for record in commands() if record.name == name]
    if not found:
        return None
    record, command = load(found[0]) if found[0].problem is None else (found[0], None)
    if record.problem or not isinstance(command, click.Command):
        raise PluginError([record.problem or f"{record.value} is not a click command"])
    return command
