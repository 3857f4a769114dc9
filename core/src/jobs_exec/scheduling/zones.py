"""Time zones by their IANA names, from the system's database or, where it has none, from the package tzdata."""

from __future__ import annotations

import re
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from jobs_exec.errors import InvalidSchedule, near_matches

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}")
_NO_ZONES = re.compile(r"(posix|right)/.*|localtime|posixrules|Factory", re.IGNORECASE)
"""What else lies in the database's folder: other countings of the same zones, and the machine's own."""


def zone_of(name: object) -> ZoneInfo:
    """The zone called `name`. Raises `InvalidSchedule`; nothing but a zone's file is ever opened."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _NO_ZONES.fullmatch(name):
        raise InvalidSchedule("zone", f"{str(name)[:64]!r} is no IANA zone name, such as UTC or Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # the folder Europe, for one, is an OSError
        near = near_matches(name, _known())
        hint = f"did you mean {near[0]}?" if near else "name one such as UTC or Europe/Berlin"
        raise InvalidSchedule("zone", f"{name!r} is no IANA zone; {hint}") from None


@cache
def _known() -> frozenset[str]:
    """Reading all names takes some 50 ms, hence only for an error and once."""
    return frozenset(available_timezones())
