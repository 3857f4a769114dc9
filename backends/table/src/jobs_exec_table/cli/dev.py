"""`jobs-exec dev`: a database, its schema and an executor in one command, for work on an application."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from jobs_exec.cli.output import json_option, say
from jobs_exec.cli.run import run


@click.command()
@click.option("--queues", metavar="LIST", help="Queues with their concurrency, such as default:100,reports:2.")
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Module that registers job types (JOB_MODULES); may be repeated.",
)
@json_option
@click.pass_context
def dev(context: click.Context, queues: str | None, modules: tuple[str, ...], as_json: bool) -> None:
    """Starts PostgreSQL in .jobs/, migrates it, and runs jobs until it is told to stop.

    Other commands in this folder reach the same database with JOB_DATABASE_URL=embedded. Data is kept.
    """
    from jobs_exec_table.settings import EMBEDDED

    # The executor, and whatever the handlers start, shall find this database whatever else is configured here.
    os.environ["JOB_DATABASE_URL"] = EMBEDDED
    with _migrated():
        say("in another terminal: JOB_DATABASE_URL=embedded jobs-exec enqueue TYPE --org ORG --data JSON")
        context.invoke(run, backend="table", modules=modules, queues=queues, as_json=as_json)


@contextmanager
def _migrated() -> Iterator[None]:
    """The embedded server with the schema in it; it runs at least until the end of the block."""
    import psycopg

    from jobs_exec_table.connecting import FOLDER, server_url
    from jobs_exec_table.faults import translated
    from jobs_exec_table.migrating import Migrator
    from jobs_exec_table.settings import EMBEDDED

    say(f"PostgreSQL in {FOLDER}/ ...")
    with server_url(EMBEDDED) as url:
        with translated(), psycopg.connect(url, autocommit=True) as connection:
            Migrator(connection).apply(lambda each: say(f"applying {each}"))
        yield
