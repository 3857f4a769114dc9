"""The job types that a sender knows: any.

Which types there are, on which queues and with which identity, is known where jobs run. A sender's own registry only
matters for payload models: what they refuse is not even sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobs_exec import Identity
from jobs_exec.contracts import TypeRecord


class AnyType(Mapping[str, TypeRecord]):
    """Holds every name, and lists none."""

    def __getitem__(self, name: str) -> TypeRecord:
        return TypeRecord(name, "default", Identity.PAYLOAD)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
