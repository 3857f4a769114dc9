"""Observers, called one by one and kept apart from the work: one that raises is logged and counted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jobs_exec.contracts.observer import Event, Observer

log = logging.getLogger(__name__)


class Observing:
    """All observers of an executor. False when there are none, so that no event need be made."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.errors = 0

    def __bool__(self) -> bool:
        return bool(self._observers)

    def emit(self, event: Event) -> None:
        """Tells every observer."""
        for observer in self._observers:
            try:
                observer(event)
            except BaseException as error:
                # Nothing is awaited here, so a cancel or an exit is the observer's own and not ours.
                self._failed(observer, event, error)

    def _failed(self, observer: Observer, event: Event, error: BaseException) -> None:
        self.errors += 1
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        log.warning(
            "an observer failed",
            extra={"observer": name, "event_type": type(event).__name__, "error_type": type(error).__name__},
        )
