"""Passwords never reach a text that people read."""

from __future__ import annotations

import pytest

from jobs_exec.masking import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://app:hunter2@db:5432/app", "postgresql://app:********@db:5432/app"),
        ("postgresql://app:hun@ter2@db/app", "postgresql://app:********@db/app"),
        ("postgresql://:hunter2@db", "postgresql://:********@db"),
        ("postgresql:///app?user=me&password=hunter2&x=1", "postgresql:///app?user=me&password=********&x=1"),
        ("host=db password=hunter2 user=me", "host=db password=******** user=me"),
        ("host=db PASSWORD = 'hun ter2' user=me", "host=db PASSWORD = ******** user=me"),
        (r"host=db password='hun\'t er2' user=me", "host=db password=******** user=me"),
        ("use postgresql://USER:PASSWORD@HOST/DATABASE", "use postgresql://USER:PASSWORD@HOST/DATABASE"),
        ("http://localhost:8080/hook?to=a@example.com", "http://localhost:8080/hook?to=a@example.com"),
        ("password authentication failed for user me", "password authentication failed for user me"),
    ],
)
def test_the_password_of_a_connection_string_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
