"""Everything that is hostile is refused: the right status, no traceback, no trace of it in the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import Hostile, everything
from serving import CANARY, OLDER_SECRET, SECRET, TOKEN, Served

CASES = everything()


def test_there_are_at_least_forty() -> None:
    assert len({each.name for each in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("hostile", CASES, ids=[each.name for each in CASES])
def test_a_hostile_request_is_refused_without_a_trace(served: Served, hostile: Hostile) -> None:
    before, said = served.rows(), len(served.said())
    reply = hostile.send(served)
    assert reply.status in hostile.statuses, reply
    assert served.rows() == before
    log = served.said()[said:]
    assert "Traceback" not in log
    assert not [each for each in (CANARY, SECRET, OLDER_SECRET, TOKEN, "kept") if each in log]
    assert CANARY.encode() not in reply.body
    assert served.get("/readyz").status_code == 200


def test_a_type_that_is_not_allowed_looks_like_one_that_does_not_exist(served: Served) -> None:
    answers = [served.post({"orgId": "acme", "type": each}) for each in ("kept", "nowhere", "ghost")]
    assert len({(each.status_code, each.text) for each in answers}) == 1
    assert not Path(served.running.folder / "kept-has-run").exists()


def test_what_is_wrong_with_a_proof_is_not_told(served: Served) -> None:
    unsigned, unknown = served.send(b"{}", "/trigger", {}), served.with_token({}, token="guessed")
    assert unsigned.status_code == unknown.status_code == 401
    assert unsigned.text == unknown.text
    assert "server" not in unsigned.headers
