"""Registering a job type: mistakes are one sentence, where they are made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from jobs_exec import job, job_type
from jobs_exec.errors import ConfigurationError
from jobs_exec.registry import isolated, recorded


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with isolated():
        yield


async def handler(ctx: Any, data: dict[str, Any]) -> None: ...


def test_a_decorator_without_a_name_is_refused_instead_of_registering_nothing() -> None:
    with pytest.raises(ConfigurationError, match=r"@job: names no job type; write @job\('greet'\)"):

        @job  # type: ignore[arg-type]
        async def greet(ctx: Any, data: dict[str, Any]) -> None: ...

    assert recorded() == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_attemps": 3}, "max_attemps of b3: is not an option of a job type. Did you mean 'max_attempts'?"),
        ({"zzz": 3}, "zzz of b3: is not an option of a job type. The options are payload, queue, identity"),
        ({"max_attempts": "3"}, "max_attempts of b3: '3' must be a whole number from 1 to"),
        ({"max_attempts": True}, "max_attempts of b3: True must be a whole number from 1 to"),
        ({"max_attempts": 2.5}, "max_attempts of b3: 2.5 must be a whole number from 1 to"),
        ({"max_attempts": 0}, "max_attempts of b3: 0 must be a whole number from 1 to"),
        ({"timeout": "10"}, "timeout of b3: '10' must be a number of seconds, more than 0"),
        ({"idempotency_ttl": -1}, "idempotency_ttl of b3: -1 must be a number of seconds, more than 0"),
        ({"idempotency_ttl": 1e13}, "idempotency_ttl of b3: 10000000000000.0 must be a number of seconds, more than 0"),
        ({"timeout": math.inf}, "timeout of b3: inf must be a number of seconds, more than 0 and at most 100 years"),
        ({"backoff": 5}, "backoff of b3: 5 is not callable; pass jobs_exec.Backoff(base=...)"),
        ({"queue": 7}, "queue: 7 must start with a letter"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        job("b3", **options)(handler)
    assert str(refused.value).startswith(sentence)
    assert recorded() == []


def test_every_option_that_is_offered_is_accepted() -> None:
    made = job_type(
        "full",
        handler,
        payload=dict,
        queue="reports",
        identity="key",
        idempotency_ttl=60,
        max_attempts=3,
        timeout=1.5,
        backoff=lambda attempt: 1.0,
    )
    assert (made.queue, made.idempotency_ttl, made.max_attempts, made.timeout) == ("reports", 60, 3, 1.5)
