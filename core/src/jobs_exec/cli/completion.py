"""`jobs-exec completion`: the script that teaches a shell to complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from jobs_exec.errors import JobsError

PROGRAM = "jobs-exec"
VARIABLE = "_JOBS_EXEC_COMPLETE"
"""click answers completions when this variable is set; the script sets it."""


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Prints the completion script of SHELL.

    \b
    bash:  eval "$(jobs-exec completion bash)"
    zsh:   eval "$(jobs-exec completion zsh)"
    fish:  jobs-exec completion fish | source
    """
    script = get_completion_class(shell)
    if script is None:
        raise JobsError(f"this version of click has no completion for {shell}")
    click.echo(script(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
