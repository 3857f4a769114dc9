"""What is taken on at once is counted, for all and for each org."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from jobs_exec_cron.http.admitting import Entrance, Slots
from jobs_exec_cron.http.refusing import Refused


def test_a_place_at_the_entrance_is_free_again_at_the_end_of_the_block() -> None:
    entrance = Entrance(1)
    for _ in range(3):
        with entrance.held(), pytest.raises(Refused) as refused, entrance.held():
            pass
        assert refused.value.status == 429
        assert refused.value.retry_after == 1


def test_one_org_gets_its_share_of_the_slots_and_others_the_rest() -> None:
    slots = Slots(10, 0.8)
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(slots.held("noisy"))
        with pytest.raises(Refused, match="this org"), slots.held("noisy"):
            pass
        for org in ("quiet", "small"):
            held.enter_context(slots.held(org))
        with pytest.raises(Refused, match="as many jobs"), slots.held("third"):
            pass
    with slots.held("noisy"):
        pass


def test_with_one_slot_an_org_may_have_it() -> None:
    with Slots(1, 0.1).held("acme"):
        pass


def test_a_slot_is_given_back_when_the_block_raises() -> None:
    slots = Slots(1, 1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), slots.held("acme"):
            raise ValueError("no")
