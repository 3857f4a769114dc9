"""Asking before something is done that cannot be undone: on a terminal a question, elsewhere `--yes`."""

from __future__ import annotations

import sys

import click

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal.")


def ask(question: str, *, yes: bool) -> None:
    """Returns when the answer is yes; raises `click.Abort` for a no, `UsageError` where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask on; pass --yes")
    click.confirm(question, abort=True, err=True)
