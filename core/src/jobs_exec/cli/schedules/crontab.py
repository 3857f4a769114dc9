"""Lines of a crontab.

Before the shell sees a command, cron reads it: a ``%`` ends it unless a backslash stands before, and some daemons take
``\\\\`` for one backslash while others leave both. So ``%`` and ``\\\\`` are written as JSON escapes where JSON is, a ``%``
elsewhere gets its backslash, and what would need a backslash itself is refused.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

from jobs_exec.cli.schedules.calls import Calling, Target, calls
from jobs_exec.cli.schedules.dialects import CRONTAB, expression_for
from jobs_exec.errors import InvalidSchedule

LONGEST = 998
"""Characters of a command; Debian's cron takes no more."""

TICK = 't="$(date -u +%Y-%m-%dT%H:%M:00Z)"'

HEADER = (
    "# CRON_TZ is read by cronie; a cron that does not know it (Debian's) must run on a machine in that zone.",
    "# The commands take their settings from JOB_* lines above these, or from .env where they are called.",
)


def crontab_of(target: Target, calling: Calling) -> str:
    """The lines of one schedule. Raises `InvalidSchedule` naming what a crontab cannot say."""
    made = target.schedule
    when = expression_for(made, CRONTAB)
    where = "" if calling.directory is None else f"cd {shlex.quote(calling.directory)} && "
    lines = [f"{when} {_command(where + call)}" for call in calls(_plain(target), calling)]
    return "\n".join(map(_one_line, (f"# {made.ref}: {made.type}", f"CRON_TZ={made.zone}", *lines)))


def _plain(target: Target) -> Target:
    """The same payload without a percent sign, and without two backslashes in a row."""
    escaped = re.sub(r"\\(.)", lambda pair: r"\u005c" if pair[1] == "\\" else pair[0], target.payload)
    made = target.schedule
    if made.tick_as is not None and re.search(r"[\\%\"]", made.tick_as):
        raise InvalidSchedule("tick_as", "holds a character that a crontab would change; name another field")
    return replace(target, payload=escaped.replace("%", r"\u0025"))


def _one_line(line: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", line):
        raise InvalidSchedule("schedule", "holds a line break or control character, which a crontab cannot say")
    return line


def _command(call: str) -> str:
    if re.search(r"\\[\\%]", call):
        raise InvalidSchedule("orgs", "hold a backslash that crons read in different ways; use another clock")
    text = f"{TICK}; {call}".replace("%", r"\%")
    if len(text.encode()) > LONGEST:
        raise InvalidSchedule("data", f"makes a command of {len(text)} characters, cron takes {LONGEST}; use --via run")
    return text
