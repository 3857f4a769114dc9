"""Signed webhook delivery: the job type `webhook.deliver`."""
