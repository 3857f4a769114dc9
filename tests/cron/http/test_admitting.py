"""What is taken on at once is counted, for all and for each org."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from jobs_exec_cron.http import admitting
from jobs_exec_cron.http.admitting import Entrance, Slots
from jobs_exec_cron.http.refusing import Refused


async def test_a_place_at_the_entrance_is_free_again_at_the_end_of_the_block() -> None:
    entrance = Entrance(1)
    for _ in range(3):
        async with entrance.held():
            with pytest.raises(Refused) as refused:
                await entered(entrance)
        assert refused.value.status == 429
        assert refused.value.retry_after == 1


async def test_who_has_been_at_it_longest_gives_way_when_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitting, "PATIENCE", 0.0)
    entrance = Entrance(2)
    slow, slower = [asyncio.ensure_future(entered(entrance, forever=True)) for _ in range(2)]
    await asyncio.sleep(0)
    await entered(entrance)
    with pytest.raises(Refused) as refused:
        await slow
    assert refused.value.status == 408
    assert not slower.done()
    await entered(entrance)
    slower.cancel()
    await asyncio.gather(slower, return_exceptions=True)


async def entered(entrance: Entrance, *, forever: bool = False) -> None:
    async with entrance.held():
        if forever:
            await asyncio.Event().wait()


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
