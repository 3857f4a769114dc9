"""The root of the command. Sub-commands are imported when they are called, so that `--help` costs nothing.

Those of the core are listed here; those of plugins come from the entry-point group ``jobs_exec.commands``, whose
names are read from metadata.
"""

from __future__ import annotations

import signal
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from jobs_exec import __version__
from jobs_exec.cli.errors import NEGATIVE, as_jobs_error, exit_code, in_words_of_the_command
from jobs_exec.cli.output import say
from jobs_exec.cli.summaries import summary_of
from jobs_exec.errors import PluginError, near_matches
from jobs_exec.masking import masked

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "cancel": ("jobs_exec.cli.verbs:cancel", "Cancel queued jobs."),
    "completion": ("jobs_exec.cli.completion:completion", "Print the completion script of a shell."),
    "config": ("jobs_exec.cli.config:config", "Show settings and where each value came from."),
    "enqueue": ("jobs_exec.cli.enqueue:enqueue", "Enqueue one job, or many from a file."),
    "executors": ("jobs_exec.cli.listing:executors", "List executors."),
    "list": ("jobs_exec.cli.listing:list_", "List jobs, newest first."),
    "orgs": ("jobs_exec.cli.listing:orgs", "List orgs, the longest waiting first."),
    "plugins": ("jobs_exec.cli.plugins:plugins", "List, show and check installed plugins."),
    "retry": ("jobs_exec.cli.verbs:retry", "Put jobs that did not succeed back into the queue."),
    "run": ("jobs_exec.cli.run:run", "Run jobs until told to stop."),
    "schedules": ("jobs_exec.cli.schedules:schedules", "List, add, change, fire and export schedules."),
    "show": ("jobs_exec.cli.listing:show", "Show everything kept about a job."),
    "types": ("jobs_exec.cli.listing:types", "List job types with their queued jobs."),
}


class LazyGroup(click.Group):
    """Commands by name; a module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The core's commands and those of installed plugins."""
        return sorted(_help_lines())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself; a plugin's that cannot be imported fails when it is called, not in the listing."""
        if cmd_name in COMMANDS:
            return _attribute(COMMANDS[cmd_name][0])
        return _plugin_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names what looks like a command that there is not."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = near_matches(args[0], _help_lines())
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names with their help lines, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_help_lines().items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and options, without importing the commands: completion runs at every press of the key."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in sorted(_help_lines().items())]
        return [item for item in names if item.value.startswith(incomplete)] + click.Command.shell_complete(
            self, ctx, incomplete
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error of ours becomes one sentence and its exit code, others lose their passwords."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            sys.exit(_said(error))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jobs-exec")
def main() -> None:
    """Background jobs for multi-tenant applications on Postgres."""


def _said(error: Exception) -> int:
    """Tells what went wrong and returns the exit code; only an error that nobody foresaw shows where it happened."""
    known = as_jobs_error(error)
    if known is None:
        say(masked("".join(traceback.format_exception(error))))
        return NEGATIVE
    say(f"jobs-exec: {masked(in_words_of_the_command(str(known)))}")
    return exit_code(known)


def _help_lines() -> dict[str, str]:
    from jobs_exec.discovery import commands

    from_plugins = {record.name: summary_of(record.value) or f"From {record.distribution}." for record in commands()}
    return from_plugins | {name: text for name, (_, text) in COMMANDS.items()}


def _attribute(target: str) -> click.Command:
    module, _, name = target.partition(":")
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
