"""Callers with a token, known by its digest."""

from __future__ import annotations

import hashlib

import pytest

from jobs_exec_cron.verifiers.bearer import BearerVerifier
from jobs_exec_cron.verifying import Presented, Verified

TOKENS = ("first-token", "second-token")
VERIFIER = BearerVerifier([hashlib.sha256(each.encode()).hexdigest() for each in TOKENS])


def presented(*values: str) -> Presented:
    return Presented("/trigger", tuple(("authorization", value) for value in values), b"{}")


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_every_known_token_is_accepted_and_says_nothing_about_the_call(token: str, scheme: str) -> None:
    assert VERIFIER.verify(presented(f"{scheme} {token}")) == Verified(None)


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Bearer  first-token", "Bearer first-token ", "Bearer third", "Basic first-token",
     "first-token", "Bearer \xe9", "Bearer " + "x" * 5000, hashlib.sha256(b"first-token").hexdigest(),
     f"Bearer {hashlib.sha256(b'first-token').hexdigest()}"],
)  # fmt: skip
def test_anything_else_is_a_strangers_also_the_digest_itself(value: str) -> None:
    assert VERIFIER.verify(presented(value)) is None


def test_two_authorization_headers_are_refused_even_when_both_are_valid() -> None:
    assert VERIFIER.verify(presented("Bearer first-token", "Bearer first-token")) is None
    assert VERIFIER.verify(presented()) is None


def test_no_digest_is_in_the_repr() -> None:
    assert repr(VERIFIER) == "BearerVerifier(2 digests)"
