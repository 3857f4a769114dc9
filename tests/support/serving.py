"""`jobs-exec serve` in a process of its own on a real database, and callers with raw sockets before it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from textwrap import dedent

import httpx
from databases import Database
from processes import Running
from standardwebhooks import Webhook

SCRIPT = Path(sys.executable).with_name("jobs-exec")
PATIENCE = 30.0
SECRET = "whsec_c2VjcmV0LW9mLXRoZS1lbmRwb2ludC1pbi10ZXN0cw=="
OLDER_SECRET = "whsec_dGhlLXNlY3JldC10aGF0LXdhcy11c2VkLWJlZm9yZS4="
TOKEN = "canary-token-of-a-caller"
CANARY = "canary-in-a-payload"
ALLOWED = "echo,each,slow,failing,dying,deaf,ghost"

HANDLERS = """
    import asyncio
    import time
    from pathlib import Path

    from jobs_exec import job

    @job("echo")
    async def echo(ctx, data):
        return {"echo": data, "org": ctx.org_id}

    @job("each", identity="none")
    async def each(ctx, data):
        return {"job": str(ctx.job_id)}

    @job("slow")
    async def slow(ctx, data):
        Path(f"started-{data['n']}").touch()
        while not Path("release").exists():
            await asyncio.sleep(0.01)
        return data

    @job("deaf", max_attempts=1)
    def deaf(ctx, data):
        while not Path("release").exists():
            time.sleep(0.01)

    @job("failing", backoff=lambda attempt: 60.0)
    async def failing(ctx, data):
        raise ValueError(f"no: {data}")

    @job("dying", max_attempts=1)
    async def dying(ctx, data):
        raise ValueError(f"no: {data}")

    @job("kept")
    async def kept(ctx, data):
        Path("kept-has-run").touch()
"""
"""``ghost`` may be triggered but nobody registers it, ``kept`` is registered but may not be."""

_calls = count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over a raw socket; status 0 when the connection ended without an answer."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True, slots=True)
class Served:
    """The endpoint under way."""

    running: Running
    database: Database
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: object, path: str = "/trigger", **headers: str) -> httpx.Response:
        """A signed call; `headers` replace those of the signature."""
        raw = encoded(body)
        return self.send(raw, path, {**signed(raw), **{name.replace("_", "-"): text for name, text in headers.items()}})

    def with_token(self, body: object, path: str = "/trigger", token: str = TOKEN) -> httpx.Response:
        """A call with a bearer token."""
        return self.send(encoded(body), path, {"authorization": f"Bearer {token}"})

    def send(self, raw: bytes, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """A call with exactly these headers, and the content type."""
        return httpx.post(
            self.url + path, content=raw, headers={"content-type": "application/json", **headers}, timeout=PATIENCE
        )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE)

    def raw(self, *parts: bytes, shut: bool = False) -> Reply:
        """Sends bytes as they are and reads one answer; with `shut` the sending side is closed first."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                if shut:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused while we were sending; the answer may be there all the same
            return _read(connection)

    def rows(self) -> tuple[int, ...]:
        """What a call could leave behind: jobs, runs, keys."""
        tables = ("jobs_queue", "job_runs", "job_keys")
        rows = [self.database.execute(f"select count(*) from jobs.{table}") for table in tables]  # noqa: S608
        return tuple(int(str(count)) for ((count,),) in rows)

    def said(self) -> str:
        return self.running.said()


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def signed(
    body: bytes, *, secret: str = SECRET, call_id: str | None = None, at: float | None = None, text: str | None = None
) -> dict[str, str]:
    """The three headers; `text` is signed in place of `body`."""
    call_id = call_id or f"msg_{next(_calls)}"
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    content = body.decode("utf-8", "replace") if text is None else text
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(call_id, moment, content),
    }


def request(
    body: bytes = b"", headers: Mapping[str, str] | None = None, *, line: str = "POST /trigger HTTP/1.1", **more: str
) -> bytes:
    """The bytes of a request; names in `more` are written with dashes, and an empty value leaves a header out."""
    fields = {"host": "endpoint", "content-type": "application/json", "content-length": str(len(body))}
    fields |= {**(headers or {}), **{name.replace("_", "-"): value for name, value in more.items()}}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


def _read(connection: socket.socket) -> Reply:
    try:
        with connection.makefile("rb") as stream:
            first = stream.readline()
            match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*\r\n", first)
            if match is None:
                return Reply()
            lines = iter(stream.readline, b"\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.decode("latin-1").partition(":") for line in lines if line)
            }
            length = headers.get("content-length")
            return Reply(int(match[1]), headers, stream.read(int(length)) if length else stream.read())
    except ConnectionError:
        return Reply()


@contextmanager
def serving(folder: Path, database: Database, *arguments: str, **settings: str) -> Iterator[Served]:
    """`jobs-exec serve` in `folder` until the end of the block."""
    (folder / "app_jobs.py").write_text(dedent(HANDLERS))
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [SCRIPT, "serve", "--port", "0", "--json", *arguments],
            cwd=folder,
            env=environment(database, **settings),
            stdout=out,
            stderr=err,
        )
    running = Running(process, folder)
    try:
        running.until(lambda: running.printed().endswith("\n"), "the address")
        yield Served(running, database, json.loads(running.printed())["port"])
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def environment(database: Database, **settings: str) -> dict[str, str]:
    """What the endpoint is started with; a setting given as an empty text is left out."""
    made = {
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        "JOB_DATABASE_URL": database.url,
        "JOB_MODULES": "app_jobs",
        "JOB_CRON_SECRETS": f"{SECRET},{OLDER_SECRET}",
        "JOB_CRON_BEARER_DIGESTS": hashlib.sha256(TOKEN.encode()).hexdigest(),
        "JOB_CRON_TYPES": ALLOWED,
        **settings,
    }
    return {name: value for name, value in made.items() if value}
