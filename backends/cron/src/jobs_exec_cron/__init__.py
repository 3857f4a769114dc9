"""The cron backend: a scheduled function calls `trigger(payload)`, and nothing polls.

What runs jobs is imported when it is first used: a process that only sends them needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs_exec_cron.answering import TriggerAnswer, TriggerOutcome
    from jobs_exec_cron.errors import JobRefused
    from jobs_exec_cron.triggering import trigger, trigger_sync

__all__ = ["JobRefused", "TriggerAnswer", "TriggerOutcome", "trigger", "trigger_sync"]

_LAZY = {
    "JobRefused": "errors",
    "TriggerAnswer": "answering",
    "TriggerOutcome": "answering",
    "trigger": "triggering",
    "trigger_sync": "triggering",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"jobs_exec_cron.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
