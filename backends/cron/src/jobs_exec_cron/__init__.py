"""The cron backend: a scheduled function calls `trigger(payload)`, and nothing polls."""
