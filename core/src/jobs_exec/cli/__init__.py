"""The command `jobs-exec`, one command group a file."""
