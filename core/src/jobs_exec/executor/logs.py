"""How the executor's log looks: pretty on a terminal, one JSON object a line otherwise.

The engine and handlers log through the standard library with `extra` fields (org_id, job_id, type, attempt,
executor); this module, the only one that imports structlog, renders them. Payloads are never logged; passwords
in anything that looks like a connection string are masked on the way out, whoever logged it.
"""

from __future__ import annotations

import logging
import os
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from jobs_exec.masking import masked


def configure(stream: TextIO, json: bool, level: int = logging.INFO) -> None:
    """Sends every log record of the process to `stream`; call it once, before the executor runs."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=_rendering(stream, json))
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def _shared() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(stream: TextIO, json: bool) -> list[Processor]:
    last: Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),
            # The default shows the locals of every frame, payloads among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask_passwords,
        last,
    ]


def mask_passwords(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: masks passwords of connection strings in every text."""
    return {name: masked(value) if isinstance(value, str) else value for name, value in event.items()}
