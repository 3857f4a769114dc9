"""The in-memory backend and store: for tests, and the smallest readable implementation of the contracts.

Nothing outlives the process. `tables` holds the state, `backend` the journey of a job, `upkeep` what moves jobs
without running them, `operator` what people ask for, `store` the run ledger.
"""

from __future__ import annotations

from jobs_exec.contracts.backend import QueueBackend
from jobs_exec.contracts.plugin import PluginHost, hookimpl
from jobs_exec.contracts.store import IdempotencyStore
from jobs_exec.memory.backend import MemoryBackend
from jobs_exec.memory.store import MemoryStore
from jobs_exec.memory.tables import Tables

__all__ = ["MemoryBackend", "MemoryStore", "Tables", "idempotency_store", "queue_backend"]


@hookimpl
def queue_backend(host: PluginHost) -> QueueBackend:
    """A backend with tables of its own."""
    return MemoryBackend(host.policy)


@hookimpl
def idempotency_store(backend: QueueBackend) -> IdempotencyStore:
    """The backend's own ledger when it is the memory backend's, else a store with tables of its own."""
    return backend.ledger if isinstance(backend.ledger, MemoryStore) else MemoryStore(Tables())
