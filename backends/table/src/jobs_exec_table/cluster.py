"""One PostgreSQL data directory, driven with the server's own programs (initdb, pg_ctl).

The programs refuse to run as root, so under root they run as another user (`ServerUser`), who then owns the
data directory; the folders above it are made searchable, not listable, where that user could not pass.
A data directory is made beside its final place and renamed, so that a killed initdb leaves nothing half-made.
Nobody but the owner can connect: the socket takes only system users that `pg_ident.conf` lists.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from jobs_exec.errors import BackendUnavailable

log = logging.getLogger("jobs_exec.table")

SUPERUSER = "postgres"
PEER_ONLY = "local all all peer map=owner\n"
"""The default `pg_hba.conf`: local socket, system user checked by the kernel, nothing else."""

_SOCKET_PATH_LIMIT = 100
"""Unix socket paths end at 107 bytes on Linux and 103 on macOS."""

_SETTINGS = {
    "listen_addresses": "",
    # The server's log must not show payloads: no statements, no DETAIL lines with the failing row.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Who the server runs as; `uid` None means the user of this process."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_folder(cls, data: Path) -> ServerUser:
        """This user, or under root the owner of existing data, else ``postgres`` or ``nobody``."""
        if os.geteuid() != 0:
            return cls(_name_of(os.geteuid()))
        if data.exists() and data.stat().st_uid != 0:
            owner = pwd.getpwuid(data.stat().st_uid)
        else:
            owner = _first_user(("postgres", "nobody"))
        return cls(owner.pw_name, owner.pw_uid, owner.pw_gid)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a program as this user, output captured; the exit status is left to the caller."""
        identity: dict[str, object] = (
            {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        )
        # Output goes through a file: the server inherits it, and a pipe would stay open as long as the server lives.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603  (our own programs, no shell)
                [str(part) for part in command],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                text=True,
                env=_environment(),
                **identity,  # type: ignore[call-overload]
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())

    def own(self, path: Path) -> None:
        """Hands `path` over to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise BackendUnavailable(
            "table", f"user id {uid} has no entry in the system's user list, which PostgreSQL's initdb needs; add one"
        ) from None


def _first_user(names: Iterable[str]) -> pwd.struct_passwd:
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise BackendUnavailable(
        "table", "PostgreSQL does not run as root and there is neither a user 'postgres' nor 'nobody'; add one"
    )


def _environment() -> dict[str, str]:
    """Ours without PG* variables, which would steer initdb and the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server over `home` (``data``, ``log`` and normally the socket are in there), run by the programs in `programs`.

    `settings` are server settings added at every start; `hba` becomes `pg_hba.conf` when the data is made.
    """

    home: Path
    programs: Path
    user: ServerUser
    port: int = 5432
    settings: Mapping[str, str] = field(default_factory=dict)
    hba: str = PEER_ONLY

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def url(self) -> str:
        """A URL without a secret: the socket knows its owner."""
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(self._socket_dir), safe='')}&port={self.port}"

    @property
    def _socket_dir(self) -> Path:
        if len(str(self.home / f".s.PGSQL.{self.port}").encode()) <= _SOCKET_PATH_LIMIT:
            return self.home
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        # Not where TMPDIR says: whoever comes second must find the server whatever is in its environment.
        return Path("/tmp") / f"jobs-exec-{name}"  # noqa: S108  (0700, and refused when it is not ours)

    def create(self) -> None:
        """Makes the data directory unless it is there. Raises `BackendUnavailable`."""
        self._make_private(self.home)
        if self.user.uid is not None:
            self._let_through()
        if (self.data / "PG_VERSION").exists():
            self._check_version()
            return
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_private(fresh)
        self._initialise(fresh)
        fresh.rename(self.data)

    def _initialise(self, fresh: Path) -> None:
        done = self.user.run(
            self.programs / "initdb",
            *("-D", fresh, "-U", SUPERUSER, "--encoding=UTF8", "--no-locale"),
            *("--auth-local=peer", "--auth-host=reject"),
        )
        if done.returncode != 0:
            raise BackendUnavailable("table", f"initdb in {self.home} failed: {_last_line(done.stdout)}")
        (fresh / "pg_hba.conf").write_text(self.hba)
        # "nobody" is everybody's last resort: many a daemon runs as it, and none of them owns this database.
        names = {self.user.name} - {"nobody"} | {_name_of(os.geteuid())}
        (fresh / "pg_ident.conf").write_text("".join(f'owner "{name}" {SUPERUSER}\n' for name in sorted(names)))

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        done = self.user.run(self.programs / "postgres", "--version")
        if f" {made_by}." not in done.stdout and not done.stdout.strip().endswith(f" {made_by}"):
            raise BackendUnavailable(
                "table",
                f"{self.data} was made by PostgreSQL {made_by}, the programs are {done.stdout.strip()!r}; "
                "dump it with the old version, or move it away to begin anew",
            )

    def _make_private(self, folder: Path) -> None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        found = folder.lstat()
        # A link, too, may be somebody else's: what it leads to would be handed over to the server's user.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), self.user.uid):
            raise BackendUnavailable(
                "table", f"{folder} is no folder of this user's; remove it or choose another folder"
            )
        folder.chmod(0o700)
        self.user.own(folder)

    def _let_through(self) -> None:
        """Root only: the server's user must reach its folder and its programs."""
        for folder in (*self.home.parents, *self.programs.parents):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                log.warning("made %s searchable for other users: the database server does not run as root", folder)
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
        if self.user.run("/bin/sh", "-c", 'test -r "$0"', self.programs / "postgres").returncode != 0:
            _open_tree(self.programs.parent)

    def running(self) -> bool:
        """True when a server answers on the socket."""
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def start(self) -> None:
        """Starts the server and waits until it answers. Raises `BackendUnavailable` with the last line of its log."""
        self._make_private(self._socket_dir)
        settings = {**_SETTINGS, "unix_socket_directories": str(self._socket_dir), "port": str(self.port)}
        options = " ".join(f"-c {name}={_quoted(value)}" for name, value in (settings | dict(self.settings)).items())
        done = self.user.run(
            self.programs / "pg_ctl",
            *("start", "-w", "-t", "60", "-D", self.data, "-l", self.home / "log"),
            "-o",
            options,
        )
        if done.returncode != 0:
            raise BackendUnavailable(
                "table", f"PostgreSQL in {self.home} did not start: {self._complaint(done.stdout)}"
            )

    def stop(self, mode: str = "fast") -> None:
        """Stops the server, if one runs, and waits for its end; `mode` as in ``pg_ctl stop -m``."""
        done = self.user.run(self.programs / "pg_ctl", "stop", "-w", "-t", "60", "-m", mode, "-D", self.data)
        if self._socket_dir != self.home:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        if done.returncode != 0 and (self.data / "postmaster.pid").exists():
            raise BackendUnavailable("table", f"PostgreSQL in {self.home} did not stop: {_last_line(done.stdout)}")

    def _complaint(self, output: str) -> str:
        with contextlib.suppress(OSError):
            lines = (self.home / "log").read_text(errors="replace").splitlines()
            fatal = [line for line in lines[-20:] if "FATAL" in line or "PANIC" in line]
            return (fatal or lines)[-1]
        return _last_line(output)


def _quoted(value: str) -> str:
    """For the shell through which pg_ctl starts the server."""
    return "'" + value.replace("'", "'\\''") + "'"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _open_tree(root: Path) -> None:
    """Readable, and searchable or executable where the owner may: a wheel installed under umask 077."""
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
