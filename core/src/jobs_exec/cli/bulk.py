"""`jobs-exec enqueue --from`: envelopes from a file, one JSON object a line.

Every line is checked before the first is written, so that a refused file leaves nothing behind. Up to
100,000 lines are one transaction; a longer file goes in chunks, each a transaction, and whatever stops it
names the line to go on from.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from jobs_exec.cli.errors import REFUSED, in_words_of_the_command
from jobs_exec.cli.output import emit_json, say
from jobs_exec.cli.progress import Advance, bar
from jobs_exec.cli.session import Overrides, client_host, on_host, say_what_is_kept
from jobs_exec.envelope import envelope_from_json
from jobs_exec.errors import EnqueueConflict, InvalidJob
from jobs_exec.preparing import prepare, require

if TYPE_CHECKING:
    from jobs_exec.client import Client
    from jobs_exec.contracts.backend import QueueBackend
    from jobs_exec.contracts.operator import TypeRecord
    from jobs_exec.host import Host
    from jobs_exec.job import NewJob, Receipt

ONE_TRANSACTION = 100_000
SHOWN_ERRORS = 100
"""More invalid lines than this are counted, not shown."""
CONFLICT_TRIES = 3


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """`chunk` lines a transaction (None: all in one), lines from `resume_from` on."""

    chunk: int | None
    resume_from: int
    skip_invalid: bool
    allow_unregistered: bool
    dry_run: bool


@dataclass(frozen=True, slots=True)
class BadLine:
    """An invalid line and what is wrong with it."""

    line: int
    error: str


@dataclass(frozen=True, slots=True)
class GoodLine:
    """A line and the job it makes."""

    line: int
    job: NewJob


@dataclass(slots=True)
class Summary:
    """What became of the lines; `errors` holds the first of the `invalid` ones."""

    lines: int = 0
    created: int = 0
    duplicates: int = 0
    invalid: int = 0
    errors: list[BadLine] = field(default_factory=list)

    def refuse(self, bad: BadLine) -> None:
        """Counts an invalid line."""
        self.invalid += 1
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(bad)

    def count(self, receipts: Sequence[Receipt]) -> None:
        """Counts what was enqueued."""
        repeated = sum(receipt.duplicate for receipt in receipts)
        self.duplicates += repeated
        self.created += len(receipts) - repeated


def enqueue_file(overrides: Overrides, source: IO[bytes], options: BulkOptions, *, as_json: bool) -> None:
    """Enqueues the envelopes in `source`; exits 6 when lines are invalid and may not be skipped."""
    host = client_host(overrides)

    async def work(client: Client) -> Summary:
        with _seekable(source) as file:
            return await _Bulk(host, client.backend, file, options).run(await client.backend.known_types())

    summary = on_host(host, work)
    _print(summary, options, as_json)
    say_what_is_kept(host)
    if summary.invalid and not options.skip_invalid:
        sys.exit(REFUSED)


class _Bulk:
    """One file on its way: checked as a whole, then sent."""

    def __init__(self, host: Host, backend: QueueBackend, file: IO[bytes], options: BulkOptions) -> None:
        self._host = host
        self._backend = backend
        self._file = file
        self._start = file.tell()
        self._options = options
        self._known: Mapping[str, TypeRecord] = {}

    async def run(self, known: Mapping[str, TypeRecord]) -> Summary:
        self._known = known
        summary = Summary()
        kept = self._check(summary)
        if self._options.dry_run or (summary.invalid and not self._options.skip_invalid):
            return summary
        with bar("enqueueing", summary.lines - summary.invalid) as advance:
            await self._send(kept, summary, advance)
        return summary

    def _check(self, summary: Summary) -> list[GoodLine]:
        """Counts the lines and keeps the jobs of a single transaction; chunks are read again when their turn comes."""
        kept: list[GoodLine] = []
        with bar("checking", None) as advance:
            for each in self._lines():
                summary.lines += 1
                advance(1)
                if isinstance(each, BadLine):
                    summary.refuse(each)
                elif self._options.chunk is None:
                    kept.append(each)
                    _check_size(kept)
        return kept

    async def _send(self, kept: list[GoodLine], summary: Summary, advance: Advance) -> None:
        lines = iter(kept) if self._options.chunk is None else self._good_lines()
        while chunk := list(islice(lines, self._options.chunk)):
            try:
                receipts = await self._transaction([each.job for each in chunk])
            except BaseException:
                self._say_where_to_resume(chunk[0].line)
                raise
            summary.count(receipts)
            advance(len(chunk))

    async def _transaction(self, jobs: list[NewJob]) -> list[Receipt]:
        """One chunk; a conflict with a concurrent transaction wrote nothing, so it is tried again."""
        for tries_left in reversed(range(CONFLICT_TRIES)):
            try:
                receipts = await self._backend.enqueue(jobs)
                break
            except EnqueueConflict:
                if not tries_left:
                    raise
        await self._backend.wake(sorted({job.queue for job in jobs}))
        return receipts

    def _say_where_to_resume(self, line: int) -> None:
        if self._options.chunk is not None:
            say(f"stopped; the lines before {line} are enqueued, go on with --resume-from {line}")

    def _good_lines(self) -> Iterator[GoodLine]:
        return (each for each in self._lines() if isinstance(each, GoodLine))

    def _lines(self) -> Iterator[GoodLine | BadLine]:
        self._file.seek(self._start)
        for number, raw in enumerate(self._file, start=1):
            if number >= self._options.resume_from and raw.strip():
                yield self._line(number, raw)

    def _line(self, number: int, raw: bytes) -> GoodLine | BadLine:
        try:
            return GoodLine(number, self._job(_decode(raw)))
        except InvalidJob as error:
            return BadLine(number, in_words_of_the_command(str(error)))

    def _job(self, value: Any) -> NewJob:
        envelope = envelope_from_json(value)
        require(self._backend.name, self._backend.capabilities, envelope)
        host, allow = self._host, self._options.allow_unregistered
        return prepare(envelope, host.job_types, self._known, host.policy, allow_unregistered=allow)


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidJob("line", "is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InvalidJob("line", f"is not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError):
        raise InvalidJob("line", "is not JSON that can be read") from None


def _check_size(kept: Sequence[GoodLine]) -> None:
    if len(kept) > ONE_TRANSACTION:
        raise click.UsageError(
            f"more than {ONE_TRANSACTION:,} lines do not go into one transaction; pass --chunk N. Nothing was enqueued"
        )


@contextmanager
def _seekable(source: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file itself, or a copy of a pipe on disk: the lines are read twice."""
    if source.seekable():
        yield source
        return
    with TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _print(summary: Summary, options: BulkOptions, as_json: bool) -> None:
    for bad in summary.errors:
        say(f"line {bad.line}: {bad.error}")
    if summary.invalid > len(summary.errors):
        say(f"and {summary.invalid - len(summary.errors)} more invalid lines")
    if as_json:
        emit_json(summary)
        return
    if options.dry_run:
        click.echo(f"{summary.lines - summary.invalid} valid, {summary.invalid} invalid")
    elif summary.invalid and not options.skip_invalid:
        say(f"{summary.invalid} of {summary.lines} lines are invalid; nothing was enqueued")
    else:
        click.echo(f"{summary.created} created, {summary.duplicates} duplicates, {summary.invalid} skipped")
