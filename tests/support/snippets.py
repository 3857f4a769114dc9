"""Executes the blocks of a documentation page, in order, as a reader would who types them in.

Each page has a folder of its own, in which its files are written and its commands run. Its Python blocks share
one namespace and one event loop, and may use ``await`` at top level. Its commands share a shell's variables. Its SQL
is for the database that the page needs.

Output is compared where it is shown, with two rules: ``...`` inside a line stands for any text on that line, and
a line of ``...`` alone for any number of lines. White space at line ends does not count.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from types import CodeType
from typing import Any

import psycopg
from markdown_blocks import Block

TIMEOUT = 120.0
"""Seconds for one command; then it and all it started are killed, and the page fails."""

_STATE = ".shell-state"


def output_matches(expected: str, actual: str) -> bool:
    """True when `actual` is what the page shows."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + r"[^\S\n]*\n"
    return re.fullmatch(pattern, _tidy(actual)) is not None


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block with the output that the page shows (None: not shown)."""

    text: str
    expected: str | None


def commands(block: Block) -> list[Command]:
    """What follows each ``$``; a command goes on after a line that ends in a backslash."""
    found: list[Command] = []
    lines = block.text.splitlines()
    while lines:
        first = lines.pop(0)
        if not first.startswith("$ "):
            raise AssertionError(f"{block.place}: {first!r} is output without a command; commands start with '$ '")
        command = [first.removeprefix("$ ")]
        while command[-1].endswith("\\"):
            command.append(lines.pop(0).removeprefix("> "))
        shown: list[str] = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        found.append(Command("\n".join(command), "\n".join(shown) if any(map(str.strip, shown)) else None))
    return found


@dataclass(slots=True)
class Page:
    """The execution of one page in `folder`."""

    folder: Path
    runner: asyncio.Runner
    environment: Mapping[str, str]
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    printed: str = ""

    def execute(self, block: Block) -> None:
        """Executes one block; raises `AssertionError` with the place when it does not do what the page says."""
        if block.directive == "not executed":
            return
        if block.directive == "output":
            assert output_matches(block.text, self.printed), _differs(block, block.text, self.printed)
        elif block.directive == "file":
            self._write(block)
        elif block.language == "python":
            self._python(block)
        elif block.language == "console":
            self._console(block)
        elif block.language == "sql":
            self._sql(block)

    def _write(self, block: Block) -> None:
        path = self.folder / block.value
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if block.language == "python" and "/" not in block.value:
            importlib.invalidate_caches()
            importlib.import_module(path.stem)

    def _python(self, block: Block) -> None:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.runner.run(_run(_compiled(block), self.namespace))
        self.printed = output.getvalue()

    def _sql(self, block: Block) -> None:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(block.text.encode())

    def _console(self, block: Block) -> None:
        todo = commands(block)
        for command in todo:
            if block.directive == "until":
                code, output = self._until(command, block.value)
            else:
                code, output = self._shell(command.text)
            last = command is todo[-1]
            expected_code = int(block.value) if block.directive == "exit" and last else 0
            assert code == expected_code, f"{block.place}: `{command.text}` ended with {code}:\n{output}"
            if command.expected is not None:
                assert output_matches(command.expected, output), _differs(block, command.expected, output)

    def _shell(self, command: str) -> tuple[int, str]:
        process = self._start(self._script(command))
        with process, _killed_after(process, TIMEOUT):
            output, _ = process.communicate()
        return process.returncode, output

    def _start(self, script: str) -> subprocess.Popen[str]:
        """A shell that leads a group of its own, so that nothing it started outlives it when it is killed."""
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _script(self, command: str) -> str:
        """The command between the variables of the one before and those for the next."""
        return f"[ ! -e {_STATE} ] || . ./{_STATE}\n{command}\ncode=$?\nexport -p >{_STATE}\nexit $code\n"

    def _until(self, command: Command, text: str) -> tuple[int, str]:
        """Runs `command` until it prints `text`, then interrupts it as Ctrl-C does."""
        process = self._start(f"[ ! -e {_STATE} ] || . ./{_STATE}\nexec {command.text}")
        output = ""
        with process, _killed_after(process, TIMEOUT):
            assert process.stdout is not None
            for line in process.stdout:
                output += line
                if text in line:
                    process.send_signal(signal.SIGINT)
                    break
            output += process.stdout.read()
        assert text in output, f"`{command.text}` ended without printing {text!r}:\n{output}"
        return process.returncode, output


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    timer = Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def page_environment(folder: Path) -> dict[str, str]:
    """The reader's environment: this interpreter's programs first in the path, and no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOB_", "PYTHON", "DATABASE_"))}
    programs = str(Path(sys.executable).parent)
    return kept | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "120"}


def _compiled(block: Block) -> CodeType:
    """The block's code, at its line of the page, so that a traceback points there."""
    source = "\n" * (block.line - 1) + block.text
    code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


async def _run(code: CodeType, namespace: dict[str, Any]) -> None:
    result = eval(code, namespace)  # noqa: S307  (our own pages)
    if inspect.isawaitable(result):
        await result


def _differs(block: Block, expected: str, actual: str) -> str:
    return f"{block.place} shows\n{expected.strip()}\nbut there was\n{actual.strip()}"
