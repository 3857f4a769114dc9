"""Verifiers are asked in turn, and whatever goes wrong with one, nobody is let in for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest

from jobs_exec.errors import ConfigurationError, PluginError
from jobs_exec_cron.verifying import Presented, Verified, accepted, collected, required

CALL = Presented("/trigger", (("x-caller", "canary"),), b"canary")


@dataclass
class Answering:
    """A verifier that answers what it is given."""

    answer: Any
    name: str = "probe"
    asked: int = 0

    def verify(self, call: Presented) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer() if callable(self.answer) else self.answer


async def test_the_first_that_knows_the_caller_decides() -> None:
    first, second, third = Answering(None), Answering(Verified("a")), Answering(Verified("b"))
    assert await accepted([first, second, third], CALL, 1) == Verified("a")
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


async def test_an_async_verifier_is_waited_for() -> None:
    async def known() -> Verified:
        return Verified("later")

    assert await accepted([Answering(known)], CALL, 1) == Verified("later")


async def test_a_verifier_that_raises_lets_nobody_in_and_the_next_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    assert await accepted([Answering(ValueError("canary"))], CALL, 1) is None
    assert await accepted([Answering(ValueError("canary")), Answering(Verified())], CALL, 1) == Verified()
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("answer", [True, "acme", 1, {"call_id": "x"}])
async def test_an_answer_that_is_no_verified_lets_nobody_in(answer: Any) -> None:
    assert await accepted([Answering(answer)], CALL, 1) is None


async def test_a_verifier_that_hangs_lets_nobody_in() -> None:
    def never() -> Awaitable[None]:
        return asyncio.Event().wait()  # type: ignore[return-value]

    assert await accepted([Answering(never)], CALL, 0.01) is None


def test_without_any_verifier_the_endpoint_refuses_and_names_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="JOB_CRON_BEARER_DIGESTS"):
        required([])


@dataclass
class Hooks:
    """A host whose hook answers what it is given."""

    answers: Any

    @property
    def hook(self) -> Any:
        return self

    def endpoint_verifiers(self, host: Any) -> Any:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


def test_the_verifiers_of_all_plugins_are_collected() -> None:
    one, two = Answering(None), Answering(None)
    assert collected(Hooks([[one], [], [two]])) == (one, two)  # type: ignore[arg-type]


@pytest.mark.parametrize("answers", [ValueError("canary"), [["no verifier"]], [None], [[object()]]])
def test_a_hook_that_fails_or_answers_nonsense_stops_the_start(answers: Any) -> None:
    with pytest.raises(PluginError, match="endpoint_verifiers") as caught:
        collected(Hooks(answers))  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)


def test_what_a_plugin_says_of_its_settings_is_said_to_the_operator() -> None:
    with pytest.raises(ConfigurationError, match="JOB_X"):
        collected(Hooks(ConfigurationError("JOB_X", "is missing")))  # type: ignore[arg-type]
