"""What a delivery can fail with. No text holds a secret, a payload, or more of a URL than its origin."""

from __future__ import annotations

from jobs_exec.errors import JobsError

__all__ = ["AddressRefused", "SecretInvalid", "SecretMissing", "UnresolvedHost", "WebhooksNotOpen"]


class AddressRefused(JobsError, ConnectionError):
    """A host that leads to private, loopback or otherwise special addresses only; nothing was sent."""

    def __init__(self, host: str, addresses: tuple[str, ...]) -> None:
        super().__init__(
            f"{host} leads to {', '.join(addresses)}, which is not a public address; "
            "set JOB_WEBHOOKS_ALLOW_PRIVATE=1 to deliver inside your own network"
        )
        self.host = host
        self.addresses = addresses


class UnresolvedHost(JobsError, ConnectionError):
    """A host name without an address."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"{host} cannot be resolved ({problem}); check the endpoint's host name")
        self.host = host


class SecretMissing(JobsError, LookupError):
    """No signing secret for an org: an unsigned delivery is never made by accident."""

    def __init__(self, org_id: str) -> None:
        super().__init__(
            f"there is no webhook secret for org {org_id!r}; set JOB_WEBHOOKS_SECRETS or JOB_WEBHOOKS_SECRET, implement "
            "the hook webhook_secrets, or set JOB_WEBHOOKS_ALLOW_UNSIGNED=1"
        )
        self.org_id = org_id


class SecretInvalid(JobsError, ValueError):
    """A signing secret that cannot be used; the text says why and never shows it."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"a webhook secret {problem}; write whsec_ and the base64 of 24 to 64 random bytes, "
            "for example from: echo whsec_$(openssl rand -base64 32)"
        )


class WebhooksNotOpen(JobsError, RuntimeError):
    """A delivery outside of an executor's life."""

    def __init__(self) -> None:
        super().__init__("the webhooks plugin is not open; run the job in an executor, which enters the hook lifespan")
