"""The command `jobs-exec`, one command group a file."""

from __future__ import annotations

from jobs_exec.cli.root import main

__all__ = ["main"]
