"""Crontab files by cron's own rules, which are not the shell's: what a line says, and what the shell is given of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SETTING = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*")
_ENTRY = re.compile(r"\s*(?P<schedule>@\w+|(?:\S+\s+){4}\S+)\s+(?P<command>\S.*)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when, what the shell runs, and what the command reads from its standard input."""

    schedule: str
    command: str
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Crontab:
    """A user's crontab; its settings are the environment of its commands, and no shell has seen them."""

    settings: dict[str, str]
    entries: tuple[Entry, ...]


def read_crontab(text: str) -> Crontab:
    """Raises `ValueError` for a line that is neither a setting nor an entry."""
    settings: dict[str, str] = {}
    entries: list[Entry] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := _SETTING.fullmatch(line):
            settings[setting["name"]] = _unquoted(setting["value"])
        elif entry := _ENTRY.fullmatch(line):
            entries.append(Entry(entry["schedule"], *_command(entry["command"])))
        else:
            raise ValueError(f"no line of a crontab: {line!r}")
    return Crontab(settings, tuple(entries))


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    return value[1:-1] if quoted else value


def _command(text: str) -> tuple[str, str]:
    """A ``%`` ends the command's line and begins its input, where further ones are ends of lines; ``\\%`` is a ``%``."""
    command, *lines = (part.replace("\\%", "%") for part in re.split(r"(?<!\\)%", text))
    return command, "\n".join(lines)
