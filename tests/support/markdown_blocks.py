"""Fenced blocks of a Markdown page, each with the directive in the HTML comment right above it.

Directives::

    <!-- not executed: REASON -->   the block is for reading only
    <!-- file: NAME -->             the block is a file of the page's folder (a Python one is imported, too)
    <!-- output -->                 what the Python block above has printed
    <!-- exit: N -->                the last command of the block ends with this code instead of 0
    <!-- until: TEXT -->            the one command of the block runs until it prints TEXT, then gets Ctrl-C
    <!-- command: NAME -->          the command runs in a fresh copy of the tree; the checks find it by this name

A page may begin with what it needs beside its folder: ``<!-- needs: postgres -->``, the URL of a server in
``DATABASE_URL``, or ``<!-- needs: environment -->``, an environment of its own to install into.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,})(?P<language>\S*)\s*$")
_DIRECTIVE = re.compile(r"^\s*<!-- (?P<name>not executed|file|output|exit|until|command)(: (?P<value>.+?))? -->\s*$")
_NEEDS = re.compile(r"<!-- needs: (postgres|environment) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is where its text begins (from 1), `directive` and `value` may be empty."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def needs(page: Path) -> str:
    """What the page needs beside its folder; may be empty."""
    match = _NEEDS.match(page.read_text())
    return match[1] if match else ""


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of `page`, in order; raises `ValueError` for a fence that is never closed."""
    return list(_blocks(page, page.read_text().splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        directive = _DIRECTIVE.match(lines[number - 1]) if number else None
        end = _closing(page, lines, number, fence["indent"] + fence["marks"])
        body = [line.removeprefix(fence["indent"]) for line in lines[number + 1 : end]]
        yield Block(
            page=page,
            line=number + 2,
            language=fence["language"],
            text="\n".join(body) + "\n",
            directive=directive["name"] if directive else "",
            value=(directive["value"] or "") if directive else "",
        )
        number = end + 1


def _closing(page: Path, lines: list[str], start: int, marks: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].rstrip() == marks:
            return number
    raise ValueError(f"{page}:{start + 1}: this fence is never closed")
