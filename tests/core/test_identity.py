"""Canonical JSON, the run hash and job ids."""

from __future__ import annotations

import time
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs_exec.identity import Identity, canonical_json, new_job_id, run_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False)
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(TEXT, TREES, max_size=5))
def test_canonical_json_is_rfc_8785_whichever_path_made_it(data: dict[str, Any]) -> None:
    assert canonical_json(data) == rfc8785.dumps(data)


def test_the_largest_integers_that_are_allowed_are_written_alike_on_both_paths() -> None:
    edges = [2**53, -(2**53)]
    assert canonical_json({"n": edges}) == b'{"n":[9007199254740992,-9007199254740992]}'
    assert canonical_json({"f": 0.5, "n": edges, "t": True}) == (
        b'{"f":0.5,"n":[9007199254740992,-9007199254740992],"t":true}'
    )


@settings(deadline=None)
@given(st.dictionaries(TEXT, TREES, max_size=5))
def test_the_order_of_keys_does_not_matter(data: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(data.items()))) == canonical_json(data)


FIELDS = st.tuples(TEXT, TEXT, st.sampled_from(Identity), st.binary(max_size=8))


@settings(deadline=None, max_examples=300)
@given(FIELDS, FIELDS)
def test_two_pieces_of_work_share_a_hash_only_when_every_field_is_equal(
    one: tuple[str, str, Identity, bytes], other: tuple[str, str, Identity, bytes]
) -> None:
    assert (run_hash(*one) == run_hash(*other)) is (one == other)


def test_a_byte_that_moves_across_a_field_boundary_changes_the_hash() -> None:
    assert run_hash("ab", "c", Identity.KEY, b"d") != run_hash("a", "bc", Identity.KEY, b"d")


def test_the_hash_of_a_piece_of_work_never_changes_between_versions() -> None:
    known = "105a96db2ba2a8c849eebd132c1b9b81bc91bfb4caa7b9604f81f83505c8b239"
    assert run_hash("acme", "mail", Identity.PAYLOAD, b"{}").hex() == known


def test_job_ids_are_version_7_of_now_and_in_order_of_time() -> None:
    before = time.time_ns() // 1_000_000
    job_id = new_job_id()
    after = time.time_ns() // 1_000_000
    assert job_id.version == 7
    assert before <= job_id.int >> 80 <= after
