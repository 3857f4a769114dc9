"""The signature that the recipe for pg_net computes in SQL is that of the reference implementation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from databases import Server, fresh_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipes import recipe, run_script
from standardwebhooks import Webhook

Connection = psycopg.Connection[Any]

moments = st.integers(0, 4_102_444_800)
bodies = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)))
checked = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def connection(postgres: Server) -> Iterator[Connection]:
    """A database with the recipe in it and nothing else, not even the vault or pg_net."""
    with fresh_database(postgres) as database:
        run_script(database, recipe("pg_net_calls.sql"))
        with database.connect() as connection:
            yield connection


def signature(connection: Connection, secret: str, call_id: str, moment: int, body: str) -> str:
    row = connection.execute(
        "select scheduler.webhook_signature(%s, %s, %s, %s)", (secret, call_id, moment, body)
    ).fetchone()
    assert row is not None
    return str(row[0])


@checked
@given(key=st.binary(min_size=1, max_size=200), message=st.binary(max_size=300))
def test_the_hmac_is_that_of_the_standard_library_for_keys_of_every_length(
    connection: Connection, key: bytes, message: bytes
) -> None:
    row = connection.execute("select scheduler.hmac_sha256(%b, %b)", (key, message)).fetchone()
    assert row is not None
    assert bytes(row[0]) == hmac.digest(key, message, hashlib.sha256)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 128])
def test_the_hmac_is_right_on_both_sides_of_a_block(connection: Connection, length: int) -> None:
    key, message = b"\xff" * length, b"\x00message"
    row = connection.execute("select scheduler.hmac_sha256(%b, %b)", (key, message)).fetchone()
    assert row is not None
    assert bytes(row[0]) == hmac.digest(key, message, hashlib.sha256)


@checked
@given(key=st.binary(min_size=24, max_size=64), moment=moments, body=bodies)
def test_the_header_is_that_of_the_reference_implementation(
    connection: Connection, key: bytes, moment: int, body: str
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = Webhook(secret).sign("msg_1", datetime.fromtimestamp(moment, UTC), body)
    assert signature(connection, secret, "msg_1", moment, body) == expected


@checked
@given(key=st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_without_its_prefix_and_padding_too(connection: Connection, key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    expected = signature(connection, "whsec_" + encoded, "msg_1", 0, "{}")
    assert signature(connection, encoded.rstrip("="), "msg_1", 0, "{}") == expected


@checked
@given(
    data=st.dictionaries(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=5),
        st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), bodies),
        max_size=4,
    )
)
def test_what_is_signed_of_a_jsonb_is_its_text_in_utf_8(connection: Connection, data: dict[str, object]) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    row = connection.execute(
        "select convert_to(call::text, 'UTF8'), scheduler.webhook_signature(%s, 'msg_1', 7, call::text)"
        " from (select %s::jsonb as call) as made",
        (secret, json.dumps(data)),
    ).fetchone()
    assert row is not None
    assert row[1] == Webhook(secret).sign("msg_1", datetime.fromtimestamp(7, UTC), bytes(row[0]).decode())
