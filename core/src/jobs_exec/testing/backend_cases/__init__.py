"""The cases of `QueueBackendContract`, one subject a file."""
