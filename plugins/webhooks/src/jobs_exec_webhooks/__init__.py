"""Signed webhook delivery: the job type `webhook.deliver`.

`Delivery` is its payload, for typed enqueueing; `SecretResolver` is what the hook `webhook_secrets` returns.
"""

from jobs_exec_webhooks.payload import Delivery
from jobs_exec_webhooks.secrets import SecretResolver

__all__ = ["Delivery", "SecretResolver"]
