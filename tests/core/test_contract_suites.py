"""The contract suites as a plugin author runs them: in any mode of pytest-asyncio, with a clear first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs_exec.contracts import IdempotencyStore, Policy, QueueBackend
from jobs_exec.memory import MemoryBackend
from jobs_exec.testing.completeness import missing_of

SUITES = """
import pytest

from jobs_exec.memory import MemoryBackend
from jobs_exec.testing.backend_contract import QueueBackendContract
from jobs_exec.testing.harness import MemoryHarness
from jobs_exec.testing.store_contract import IdempotencyStoreContract


class Partial:
    name = "partial"
    capabilities = frozenset()

    async def enqueue(self, jobs, connection=None): ...


class PartialHarness:
    backend = Partial()


class TestWhole(QueueBackendContract):
    @pytest.fixture
    def harness(self):
        return MemoryHarness()


class TestStore(IdempotencyStoreContract):
    @pytest.fixture
    def harness(self):
        return MemoryHarness()


class TestPartial(QueueBackendContract):
    @pytest.fixture
    def harness(self):
        return PartialHarness()
"""


def suite(folder: Path, *arguments: str) -> str:
    (folder / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    (folder / "test_suites.py").write_text(SUITES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, "test_suites.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_suites_pass_in_every_mode(tmp_path: Path, mode: str) -> None:
    said = suite(tmp_path, f"--asyncio-mode={mode}", "-k", "TestWhole or TestStore")
    assert " passed" in said, said
    assert "failed" not in said, said
    assert "error" not in said, said


def test_the_first_failure_of_an_unfinished_backend_names_all_that_is_missing(tmp_path: Path) -> None:
    said = suite(tmp_path, "-k", "TestPartial", "-x")
    assert "Partial lacks ledger, operator, open, close, enqueue_sync, known_types" in said
    assert "1 failed" in said


def test_a_complete_implementation_lacks_nothing() -> None:
    backend = MemoryBackend(Policy())
    assert missing_of(QueueBackend, backend) == []
    assert missing_of(IdempotencyStore, backend.ledger) == []


def test_what_is_only_inherited_from_the_contract_is_missing() -> None:
    class Lazy(QueueBackend):
        name = "lazy"  # type: ignore[assignment]

        async def open(self) -> None: ...

    missing = missing_of(QueueBackend, object.__new__(Lazy))
    assert {"claim", "settle", "capabilities"} <= set(missing)
    assert not {"name", "open"} & set(missing)
