"""Migrations as SQL for other tools: each also writes the runner's record, so that both know what is applied.

Supabase applies the files of ``supabase/migrations`` in the order of their names, ``<UTC yyyymmddhhmmss>_name.sql``,
refuses files older than the newest it has applied, and keeps no checksum. So new files are dated after everything
that is there, one second apart, and a file that is there is never written again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import sql

from jobs_exec.errors import JobsError
from jobs_exec_table.migrating import Migration, record_table

_DATED = re.compile(r"(\d{14})_.*\.sql")
_STAMP = "%Y%m%d%H%M%S"
_RECORD = sql.SQL(
    "insert into jobs.schema_migrations (version, name, checksum) values ({version}, {name}, {checksum})\n"
    "on conflict (version) do nothing;\n"
)


class ExportDiffers(JobsError, ValueError):
    """A file that was written before has another content than this version would write; `path` is that file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} differs from the migration of this version; migrations never change, so restore the file, "
            "or put changes of your own into a file of their own"
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Exported:
    """One file; `written` is False when it was there."""

    path: Path
    migration: Migration
    written: bool


def script(migration: Migration) -> str:
    """The migration's SQL with everything the runner adds; may be applied again and after the runner."""
    record = _RECORD.format(
        version=sql.Literal(migration.version),
        name=sql.Literal(migration.name),
        checksum=sql.Literal(migration.checksum),
    ).as_string(None)
    return f"-- Jobs Exec, migration {migration}.\n\n{record_table()}\n{migration.sql.strip()}\n\n{record}"


def export(migrations: Sequence[Migration], folder: Path, now: datetime | None = None) -> Iterator[Exported]:
    """Writes what is not in `folder` yet, as Supabase wants it named. Raises `ExportDiffers` before writing that file."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = _first_stamp(folder, now or datetime.now(UTC))
    for migration in migrations:
        found = next(folder.glob(f"*_{_file_name(migration)}"), None)
        if found is None:
            path = folder / f"{stamp.strftime(_STAMP)}_{_file_name(migration)}"
            path.write_text(script(migration), "utf-8")
            stamp += timedelta(seconds=1)
            yield Exported(path, migration, True)
        elif found.read_text("utf-8") != script(migration):
            raise ExportDiffers(found)
        else:
            yield Exported(found, migration, False)


def _file_name(migration: Migration) -> str:
    return f"jobs_exec_{migration}.sql"


def _first_stamp(folder: Path, now: datetime) -> datetime:
    """Now, or a second after the newest file."""
    dates = [match[1] for path in folder.iterdir() if (match := _DATED.fullmatch(path.name))]
    newest = datetime.strptime(max(dates), _STAMP).replace(tzinfo=UTC) if dates else now - timedelta(seconds=1)
    return max(now.replace(microsecond=0), newest + timedelta(seconds=1))
