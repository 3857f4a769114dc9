"""`jobs-exec db grant` and `db revoke`: which other roles may enqueue, or run jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from jobs_exec.cli.output import emit_json, json_option, say
from jobs_exec.cli.session import load_settings
from jobs_exec_table.connecting import sync_connection
from jobs_exec_table.faults import translated
from jobs_exec_table.granting import Granting, Right
from jobs_exec_table.settings import TableSettings

MEANING = {Right.ENQUEUE: "may enqueue", Right.RUN: "may enqueue and run jobs"}

_dry_run = click.option("--dry-run", is_flag=True, help="Print the SQL and execute nothing.")


@click.command()
@click.argument("role", metavar="ROLE")
@click.option(
    "--enqueue", "right", flag_value=Right.ENQUEUE.value, help="For applications: enqueue and know the types, no more."
)
@click.option(
    "--run", "right", flag_value=Right.RUN.value, help="For executors and operators: all but the owner's rights."
)
@_dry_run
@json_option
def grant(role: str, right: str | None, dry_run: bool, as_json: bool) -> None:
    """Lets another ROLE of the database server use the jobs; connect as the owner of the schema.

    May be repeated. `db migrate` grants anew what roles had, so that they may use what a new version brings.
    """
    if right is None:
        raise click.UsageError("say what the role may do: --enqueue or --run")
    with _granting() as granting:
        statements = granting.grant(role, Right(right), dry_run=dry_run)
    _print(role, statements, f"{role} {MEANING[Right(right)]}", dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("role", metavar="ROLE")
@_dry_run
@json_option
def revoke(role: str, dry_run: bool, as_json: bool) -> None:
    """Takes from ROLE every right on the jobs; do it before `drop role`."""
    with _granting() as granting:
        statements = granting.revoke(role, dry_run=dry_run)
    _print(role, statements, f"{role} has no right on the jobs", dry_run=dry_run, as_json=as_json)


@contextmanager
def _granting() -> Iterator[Granting]:
    with sync_connection(load_settings(TableSettings), "db") as connection, translated():
        yield Granting(connection)


def _print(role: str, statements: list[str], done: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        emit_json({"role": role, "executed": not dry_run, "statements": statements})
    elif dry_run:
        click.echo("".join(f"{each};\n" for each in statements), nl=False)
    else:
        say(done)
