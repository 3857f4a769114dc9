"""The verifiers that come with the endpoint: Standard Webhooks signatures, and bearer tokens."""
