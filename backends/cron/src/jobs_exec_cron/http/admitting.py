"""How much is taken on at once. What is beyond is refused at once: a queue in here would only hide the load."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from jobs_exec_cron.http.refusing import busy


class Entrance:
    """Calls whose callers are not known yet, `size` at once: strangers take no slot from jobs, however slowly they send."""

    def __init__(self, size: int) -> None:
        self._free = size

    @contextmanager
    def held(self) -> Iterator[None]:
        """A place until the end of the block; raises `Refused` when there is none."""
        if not self._free:
            raise busy("too many calls are being read; call again")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Slots:
    """Jobs of verified callers, `size` at once, of which one org may have the part `share`, at least one."""

    def __init__(self, size: int, share: float) -> None:
        self._free = size
        self._of_one_org = max(1, math.floor(size * share))
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, org_id: str) -> Iterator[None]:
        """A slot until the end of the block; raises `Refused` when there is none for `org_id`."""
        if not self._free:
            raise busy("as many jobs as may run at once are running; call again")
        if self._held[org_id] >= self._of_one_org:
            raise busy("this org runs as many jobs as it may at once; call again")
        self._free -= 1
        self._held[org_id] += 1
        try:
            yield
        finally:
            self._free += 1
            self._held[org_id] -= 1
            if not self._held[org_id]:
                del self._held[org_id]
