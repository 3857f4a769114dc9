"""The hooks of the table distribution."""

from __future__ import annotations

from jobs_exec.contracts import IdempotencyStore, OrgDirectory, PluginHost, QueueBackend, hookimpl
from jobs_exec_table.backend import TableBackend
from jobs_exec_table.connections import Connections
from jobs_exec_table.directory import TableDirectory
from jobs_exec_table.settings import TableSettings
from jobs_exec_table.store import TableStore


@hookimpl
def queue_backend(host: PluginHost) -> QueueBackend:
    """The backend that ``JOB_QUEUE_BACKEND=table`` selects. Raises `ConfigurationError` without a database URL."""
    return TableBackend(host.policy, _settings(host))


@hookimpl
def idempotency_store(host: PluginHost, backend: QueueBackend) -> IdempotencyStore:
    """The run ledger: the backend's own when that is ours, else a store on connections of its own."""
    return backend.ledger if isinstance(backend, TableBackend) else TableStore(Connections(_settings(host)))


@hookimpl
def org_directory(host: PluginHost, backend: QueueBackend) -> OrgDirectory | None:
    """The directory over ``JOB_ORG_TABLE``, in the database of the queue."""
    table = host.settings(TableSettings).org_table_name
    if table is None or not isinstance(backend, TableBackend):
        return None
    return TableDirectory(backend.connections, table)


@hookimpl
def settings_class() -> type[TableSettings]:
    """For ``config show`` and the check of names."""
    return TableSettings


def _settings(host: PluginHost) -> TableSettings:
    settings = host.settings(TableSettings)
    _ = settings.url  # missing is said here, before anything is opened
    return settings
