"""An Edge Function under a real Deno, with no more permissions than it needs and nothing from the network."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from recipes import FILES, PROGRAMS

DENO = PROGRAMS / "deno"
FUNCTION = FILES / "edge_function.ts"
PATIENCE = 30.0


def deno(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of Deno, with its cache in `folder`."""
    return subprocess.run(
        [DENO, *arguments], env=_environment(folder), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextmanager
def serving_function(folder: Path, settings: Mapping[str, str], calls: str) -> Iterator[str]:
    """The function until the end of the block, which may reach the server of the URL `calls`; its own URL."""
    own = f"127.0.0.1:{_free_port()}"
    permissions = [f"--allow-net={own},{urlsplit(calls).netloc}", f"--allow-env={','.join(settings)}"]
    flags = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--check"]
    environment = {**_environment(folder), **settings, "DENO_SERVE_ADDRESS": f"tcp:{own}"}
    with (folder / "function.log").open("wb") as log:
        process = subprocess.Popen(
            [DENO, "run", *flags, *permissions, FUNCTION], env=environment, stdout=log, stderr=log
        )
    try:
        _until_listening(process, folder / "function.log")
        yield f"http://{own}"
    finally:
        process.kill()
        process.wait()


def _environment(folder: Path) -> dict[str, str]:
    return {"DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_listening(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while "Listening on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
