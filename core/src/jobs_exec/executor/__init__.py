"""The executor: one background role a file, tied together in `assembling`, led through their life by `engine`."""

from jobs_exec.executor.engine import Executor
from jobs_exec.executor.values import ExitReport, Mode, OnProgress, Progress, State

__all__ = ["Executor", "ExitReport", "Mode", "OnProgress", "Progress", "State"]
