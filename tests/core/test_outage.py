"""How an outage is waited out and what is said about it."""

from __future__ import annotations

import logging

import pytest

from jobs_exec.errors import BackendUnavailable
from jobs_exec.executor.outage import Outage, describe


def test_pauses_grow_up_to_the_cap_and_differ_between_executors() -> None:
    outage = Outage("probe", base=1.0, cap=8.0)
    pauses = [outage.failed(ConnectionError()) for _ in range(6)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, (2, 4, 8, 8, 8, 8), strict=True))
    assert len(set(pauses)) == 6


def test_an_outage_is_warned_of_once_and_its_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("probe")
    outage.recovered()
    for _ in range(3):
        outage.failed(BackendUnavailable("table", "unplugged"))
    outage.recovered()
    outage.recovered()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "unplugged" in caplog.text


def test_after_it_has_ended_the_next_one_starts_small_again() -> None:
    outage = Outage("probe", base=1.0, cap=1000.0)
    for _ in range(5):
        outage.failed(ConnectionError())
    outage.recovered()
    assert outage.failed(ConnectionError()) <= 2


def test_errors_of_others_are_named_by_class_and_place_and_never_quoted() -> None:
    def raising() -> None:
        raise ValueError("Failing row contains (secret)")

    with pytest.raises(ValueError, match="Failing row") as raised:
        raising()
    said = describe(raised.value)
    assert said.startswith("ValueError (test_outage.py:")
    assert "secret" not in said
    assert describe(ValueError("secret")) == "ValueError"
    assert "unplugged" in describe(BackendUnavailable("table", "unplugged"))
