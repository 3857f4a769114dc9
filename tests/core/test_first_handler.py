"""The first thing a newcomer writes: a handler in a plain module."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from jobs_exec import Identity, job
from jobs_exec.errors import ConfigurationError, InvalidJob
from jobs_exec.registry import APPLICATION, isolated, recorded


class Greeting(BaseModel):
    name: str


def test_a_decorated_function_becomes_a_job_type_of_the_application() -> None:
    with isolated():

        @job("greet")
        async def greet(ctx: object, data: Greeting) -> str:
            return f"hello {data.name}"

        (made,) = recorded()
    assert (made.name, made.owner, made.queue) == ("greet", APPLICATION, "default")
    assert made.identity is Identity.PAYLOAD
    assert made.is_async
    assert made.payload.decode('{"name": "Ada"}') == Greeting(name="Ada")


def test_a_payload_that_breaks_the_model_is_refused_by_field_and_without_its_value() -> None:
    with isolated():

        @job("greet")
        def greet(ctx: object, data: Greeting) -> None: ...

        (made,) = recorded()
    with pytest.raises(InvalidJob) as refused:
        made.payload.encode({"name": ["secret"]}, 1000)
    assert refused.value.field == "data.name"
    assert "secret" not in str(refused.value)


def test_a_handler_without_parameters_is_refused_at_registration() -> None:
    with pytest.raises(ConfigurationError, match=r"handler\(ctx, data\)"), isolated():

        @job("greet")
        def greet() -> None: ...
