"""The async client as an application meets it: how it is opened, and what it says when it is not opened so."""

from __future__ import annotations

import logging

import pytest

from jobs_exec.client import Client
from jobs_exec.errors import ConfigurationError, InvalidJob

MEMORY = {"JOB_QUEUE_BACKEND": "memory"}


async def test_a_client_that_is_awaited_says_how_to_open_one() -> None:
    with pytest.raises(TypeError, match=r"write `async with Client.open\(\) as client:`"):
        await Client.open(MEMORY)  # type: ignore[misc]


def test_a_client_that_was_not_entered_says_how_to_open_one() -> None:
    with pytest.raises(AttributeError, match=r"^enqueue: .*write `async with Client.open\(\) as client:`"):
        _ = Client.open(MEMORY).enqueue


async def test_a_delay_of_another_kind_is_refused_by_name() -> None:
    async with Client.open(MEMORY) as client:
        with pytest.raises(InvalidJob, match=r"^delay: "):
            await client.enqueue(org_id="acme", type="work", allow_unregistered=True, delay="5m")  # type: ignore[arg-type]


async def test_an_override_that_nobody_knows_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with Client.open({**MEMORY, "JOB_MAX_ATEMPTS": "3"}):
            pass
    assert "JOB_MAX_ATEMPTS (command line) is not a setting" in caplog.text
    assert "Did you mean JOB_MAX_ATTEMPTS?" in caplog.text


async def test_an_override_is_named_as_in_the_environment() -> None:
    with pytest.raises(ConfigurationError, match=r"^queue_backend: .*did you mean JOB_QUEUE_BACKEND\?"):
        async with Client.open({"queue_backend": "memory"}):
            pass
