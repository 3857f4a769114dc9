"""Times on the command line: ISO 8601 with an offset, seconds since 1970, or a word that is resolved later."""

from __future__ import annotations

from datetime import UTC, datetime

import click


class Time(click.ParamType[datetime | str]):
    """A `datetime` in UTC from ``2030-01-31T08:00:00Z`` or ``@1900000000``, or one of `words` as it is."""

    name = "time"

    def __init__(self, *words: str) -> None:
        self._words = words

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime | str:
        """Raises a usage error for anything else, and for a fraction of a second."""
        if isinstance(value, datetime) or value in self._words:
            return value
        text = str(value)
        try:
            found = _seconds(text[1:]) if text.startswith("@") else datetime.fromisoformat(text)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{text[:64]!r} is no time; {self._expected()}", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{text[:64]!r} has no offset; {self._expected()}", param, ctx)
        if found.microsecond:
            self.fail(f"{text[:64]!r} is no whole second", param, ctx)
        return found.astimezone(UTC)

    def _expected(self) -> str:
        return ", ".join(("pass one such as 2030-01-31T08:00:00Z", "@SECONDS since 1970", *self._words))


def _seconds(digits: str) -> datetime:
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(digits)
    return datetime.fromtimestamp(int(digits), UTC)


def time_given(_ctx: click.Context, _parameter: click.Parameter, value: datetime | str | None) -> datetime | None:
    """A callback for options without words: their value is a time."""
    return value if isinstance(value, datetime) else None
