"""What is logged about an attempt that did not succeed: one line, when its end has been written.

A failure is a warning, the death of a job an error, whatever comes back by itself an information; a success is no line
at all. The line holds the first words of the error and the place it came from. These are the handler's words and may
quote its payload, which must never be logged: every value of the payload is taken out of them, and where that cannot
be done at a small price they are left out. `jobs-exec show` has them in full.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from jobs_exec.executor.attempt import Attempt
from jobs_exec.job import Action

log = logging.getLogger(__name__)

_LONGEST_WORDS = 500
_LONGEST_PAYLOAD = 16 * 1024
"""Characters of a payload that are looked through on the loop, 0.1 ms; of a longer one nobody knows what is quoted."""

_TAKEN_OUT = "..."
_SHORT = 3
_BEGINNING = 32

_SAID: dict[Action, tuple[int, str]] = {
    Action.RETRY: (logging.WARNING, "attempt failed; the job will be tried again"),
    Action.DEAD: (logging.ERROR, "attempt failed; the job is dead"),
    Action.REJECT: (logging.WARNING, "the job was rejected"),
    Action.CANCEL: (logging.INFO, "the job was cancelled by its handler"),
    Action.SNOOZE: (logging.INFO, "the job was snoozed by its handler"),
    Action.GIVE_BACK: (logging.INFO, "the job was returned"),
    Action.HOLD: (logging.INFO, "the job is held"),
    Action.DUPLICATE: (logging.DEBUG, "the job is a duplicate"),
}


def say(attempt: Attempt) -> None:
    """Logs how `attempt` ended; its settlement has been accepted and is not a success."""
    settlement = attempt.settlement
    level, text = _SAID.get(settlement.action, (logging.INFO, f"the job ended as {settlement.action}"))
    if log.isEnabledFor(level):
        log.log(level, "%s", text, extra={**attempt.fields(), **_details(attempt)})


def _details(attempt: Attempt) -> dict[str, Any]:
    """Those that there are."""
    settlement = attempt.settlement
    words, place = _split(settlement.error or "")
    told = {
        "reason": settlement.reason or (attempt.stop.value if attempt.stop else None),
        "error": _without_payload(words, attempt.job.payload) if words else None,
        "place": place,
        "delay": round(settlement.delay, 3) if settlement.delay else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _split(error: str) -> tuple[str, str | None]:
    """The first line of an error text, and the last place it passed (see `outcomes.error_text`)."""
    first, *rest = error.split("\n")
    place = rest[-1].strip() if rest and rest[-1].startswith("  ") and " in " in rest[-1] else None
    return first, place


def _without_payload(words: str, payload: str) -> str:
    """`words` without any value of the payload; only the class of the error when the payload cannot be looked through."""
    try:
        values = list(_values(json.loads(payload))) if len(payload) <= _LONGEST_PAYLOAD else None
    except (ValueError, RecursionError):
        values = None
    if values is None:
        return words.partition(":")[0] if re.match(r"\w+: ", words) else _TAKEN_OUT
    # The longest first: one value may be part of another.
    for form in sorted({form for value in values for form in _forms(value)}, key=len, reverse=True):
        words = _taken_out(form, words)
    return words[:_LONGEST_WORDS]


def _taken_out(value: str, words: str) -> str:
    """Of a long value the beginning is enough, and all that follows goes with it: the text may have been cut."""
    if len(value) > _BEGINNING:
        before, found, _ = words.partition(value[:_BEGINNING])
        return before + _TAKEN_OUT if found else words
    if value not in words:
        return words
    # A short one is taken out where it stands alone, or no word would be left.
    whole = re.escape(value) if len(value) > _SHORT else rf"(?<!\w){re.escape(value)}(?!\w)"
    return re.sub(whole, _TAKEN_OUT, words)


def _values(node: Any) -> Iterator[str]:
    """Every text and number of a JSON value; names of fields are the application's and stay."""
    match node:
        case dict():
            for item in node.values():
                yield from _values(item)
        case list():
            for item in node:
                yield from _values(item)
        case bool() | None:
            return
        case _:
            yield str(node)


def _forms(value: str) -> Iterator[str]:
    """How a text looks in an error: as it is, and as Python and JSON write it."""
    yield from {value, repr(value)[1:-1], json.dumps(value)[1:-1]} - {""}
