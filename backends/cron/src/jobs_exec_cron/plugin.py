"""The hooks of the cron distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs_exec.contracts import PluginHost, QueueBackend, hookimpl
from jobs_exec_cron.backend import CronBackend
from jobs_exec_cron.keys import key_of
from jobs_exec_cron.settings import CronSettings
from jobs_exec_cron.verifiers.bearer import BearerVerifier
from jobs_exec_cron.verifiers.standard_webhooks import StandardWebhooksVerifier
from jobs_exec_cron.verifying import Verifier, VerifierHookSpecs, collected


@hookimpl
def queue_backend(host: PluginHost) -> QueueBackend:
    """The backend that `JOB_QUEUE_BACKEND=cron` selects."""
    settings = host.settings(CronSettings)
    return CronBackend(settings, lambda: host.backend(settings.queue, "JOB_CRON_QUEUE"), lambda: collected(host))


@hookimpl
def settings_class() -> type[Any]:
    """``JOB_CRON_*`` and the names of triggers."""
    return CronSettings


@hookimpl
def hook_specs() -> object:
    """Adds the hook `endpoint_verifiers`."""
    return VerifierHookSpecs


@hookimpl
def endpoint_verifiers(host: PluginHost) -> Sequence[Verifier]:
    """Signatures by ``JOB_CRON_SECRETS``, tokens by ``JOB_CRON_BEARER_DIGESTS``; none of what is not set."""
    settings = host.settings(CronSettings)
    found: list[Verifier] = []
    if settings.secrets:
        found.append(StandardWebhooksVerifier([key_of(each) for each in settings.secrets]))
    if settings.bearer_digests:
        found.append(BearerVerifier(settings.bearer_digests))
    return found
