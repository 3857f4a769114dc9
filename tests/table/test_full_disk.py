"""A server that cannot extend a file: the caller is told, nothing half-made stays, and later it goes on.

The limit is the kernel's (RLIMIT_FSIZE) on the server's own processes: they meet the same failed write as on a full
disk.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from databases import Database

from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable
from jobs_exec.job import NewJob, Receipt
from jobs_exec.testing.driving import new_job
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.settings import TableSettings

LIMIT = 20 * 1024 * 1024
"""Above the 16 MiB of a segment of the write-ahead log."""


@pytest.fixture
async def backend(migrated: Database) -> AsyncIterator[TableBackend]:
    made = TableBackend(Policy(), TableSettings(JOB_DATABASE_URL=migrated.url))
    yield made
    await made.close()


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """Sessions that begin inside the block cannot make a file longer than `LIMIT`."""
    postmaster = (database.server.cluster.data / "postmaster.pid").read_text().split()[0]
    limit_files(database, postmaster, str(LIMIT))
    try:
        yield
    finally:
        limit_files(database, postmaster, "unlimited")


def limit_files(database: Database, process: str, limit: str) -> None:
    """Sets the soft limit as the server's own user: nobody else may."""
    done = database.server.cluster.user.run("/usr/bin/prlimit", "--pid", process, f"--fsize={limit}:")
    assert done.returncode == 0, done.stdout


def batch() -> list[NewJob]:
    """Twenty jobs of 100,000 characters that hardly compress."""
    return [new_job("acme", {"text": os.urandom(50_000).hex()}) for _ in range(20)]


async def fill(backend: TableBackend, receipts: list[Receipt]) -> None:
    for _ in range(100):
        receipts += await backend.enqueue(batch())


async def test_a_full_disk_is_told_and_what_was_acknowledged_is_there(
    migrated: Database, backend: TableBackend
) -> None:
    receipts: list[Receipt] = []
    with full_disk(migrated):
        await backend.open()
        with pytest.raises(BackendUnavailable, match="the disk of the database server is full"):
            await fill(backend, receipts)
    await backend.close()
    assert 0 < len(receipts) < 2000
    assert migrated.execute("select count(*) from jobs.jobs_queue") == [(len(receipts),)]
    await backend.open()
    assert len(await backend.enqueue(batch())) == 20
