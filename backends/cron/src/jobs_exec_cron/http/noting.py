"""The line in the log for every call: what was asked, of whom, and how it was answered.

Never the query, a header or anything of the body but org and type of a verified call. The path is the name of the route,
so that nobody writes into the log by asking for it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.requests import Request

log = logging.getLogger(__name__)

_NOTES = "jobs_exec_cron.notes"
PROBES = frozenset({"/livez", "/readyz"})


def note(request: Request, **facts: str) -> None:
    """Adds to the line of this call."""
    request.scope.setdefault(_NOTES, {}).update(facts)


class Line:
    """Measures one call and writes its line."""

    def __init__(self, request: Request, path: str) -> None:
        self._request = request
        self._path = path
        self._begun = time.monotonic()

    def write(self, status: int) -> None:
        """At DEBUG for probes, which come every few seconds."""
        client = self._request.client
        fields: dict[str, Any] = {
            "method": self._request.method[:16],
            "path": self._path,
            "status": status,
            "seconds": round(time.monotonic() - self._begun, 4),
            "client": client.host if client else "",
            **self._request.scope.get(_NOTES, {}),
        }
        log.log(logging.DEBUG if self._path in PROBES else logging.INFO, "answered", extra=fields)
