"""The org directory: which orgs exist, and which of them are suspended.

None installed means that any well-formed org is valid. It is asked in batches at claim and at `trigger`,
never at enqueue (the org may be created in the same transaction). Negatives are not cached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Protocol


class OrgStatus(StrEnum):
    """What the directory says of one org."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Its jobs are held, attempt returned, until it is active again."""
    UNKNOWN = "unknown"
    """Its jobs end as ``rejected`` and their handler is never called."""


class OrgDirectory(Protocol):
    """Answers for whole batches; an exception means "cannot say": the jobs are given back with a delay."""

    async def check(self, org_ids: AbstractSet[str]) -> Mapping[str, OrgStatus]:
        """The status of every org asked for."""

    def active(self) -> AsyncIterator[str]:
        """All active orgs, in any order."""
