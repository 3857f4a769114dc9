"""The suite every queue backend passes: subclass `QueueBackendContract` and give it a fixture `harness`.

Tests are selected by the backend's declared capabilities; one that does not apply is a visible skip. Nothing here
waits for real time, and what matters is checked with `BackendHarness.peek`, past the backend under test. The cases
stand in `backend_cases`, one subject a file.
"""

from __future__ import annotations

from jobs_exec.testing.backend_cases.attempts import AttemptCases
from jobs_exec.testing.backend_cases.claiming import ClaimCases
from jobs_exec.testing.backend_cases.enqueueing import EnqueueCases
from jobs_exec.testing.backend_cases.firing import FiringCases
from jobs_exec.testing.backend_cases.leases import LeaseCases
from jobs_exec.testing.backend_cases.people import OperatorCases
from jobs_exec.testing.backend_cases.schedules import ScheduleCases
from jobs_exec.testing.backend_cases.settling import SettleCases
from jobs_exec.testing.backend_cases.starting import StartingCases
from jobs_exec.testing.backend_cases.upkeep import UpkeepCases


class QueueBackendContract(
    EnqueueCases,
    ClaimCases,
    SettleCases,
    AttemptCases,
    LeaseCases,
    StartingCases,
    UpkeepCases,
    ScheduleCases,
    FiringCases,
    OperatorCases,
):
    """Every case; see the module."""
