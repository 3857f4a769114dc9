"""The suite every idempotency store passes: subclass `IdempotencyStoreContract` and give it `harness`.

A reservation taken for 0 seconds has lapsed at once, so nothing here waits.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from jobs_exec.contracts import IdempotencyStore, Record, Reservation, Reserved
from jobs_exec.job import AttemptRef
from jobs_exec.testing.completeness import missing_of
from jobs_exec.testing.harness import StoreHarness

LEASE = 60.0


def owner(token: int = 1, job_id: UUID | None = None) -> AttemptRef:
    """One attempt."""
    return AttemptRef(job_id or uuid4(), token)


def work(name: str) -> bytes:
    """The hash of a piece of work."""
    return sha256(name.encode()).digest()


@pytest.mark.asyncio
class IdempotencyStoreContract:
    """See the module."""

    async def test_it_has_every_method_of_the_contract(self, harness: StoreHarness) -> None:
        missing = missing_of(IdempotencyStore, harness.store)
        assert not missing, f"{type(harness.store).__name__} lacks {', '.join(missing)}; see contracts.IdempotencyStore"

    async def take(self, harness: StoreHarness, who: AttemptRef, name: str, lease: float = LEASE) -> Reserved:
        (answer,) = await harness.store.reserve([Reservation(who, "acme", work(name))], lease)
        return answer.outcome

    async def finish(self, harness: StoreHarness, who: AttemptRef, name: str, ttl: float = 3600.0) -> bool:
        record = Record(who, "acme", work(name), ttl, '{"ok":true}')
        return who in await harness.store.record([record])

    async def test_free_work_is_acquired_and_then_held_for_others(self, harness: StoreHarness) -> None:
        mine, theirs = owner(), owner()
        assert await self.take(harness, mine, "a") is Reserved.ACQUIRED
        assert await self.take(harness, theirs, "a") is Reserved.HELD
        assert await self.take(harness, mine, "a") is Reserved.ACQUIRED

    async def test_answers_come_in_input_order(self, harness: StoreHarness) -> None:
        await self.take(harness, owner(), "b")
        batch = [Reservation(owner(), "acme", work(name)) for name in ("a", "b", "c")]
        outcomes = [answer.outcome for answer in await harness.store.reserve(batch, LEASE)]
        assert outcomes == [Reserved.ACQUIRED, Reserved.HELD, Reserved.ACQUIRED]

    async def test_one_piece_of_work_in_one_batch_has_one_owner(self, harness: StoreHarness) -> None:
        batch = [Reservation(owner(), "acme", work("a")) for _ in range(3)]
        outcomes = [answer.outcome for answer in await harness.store.reserve(batch, LEASE)]
        assert sorted(outcomes) == [Reserved.ACQUIRED, Reserved.HELD, Reserved.HELD]

    async def test_a_lapsed_reservation_is_free(self, harness: StoreHarness) -> None:
        late = owner()
        await self.take(harness, late, "a", lease=0)
        assert await self.take(harness, owner(), "a") is Reserved.ACQUIRED
        assert not await self.finish(harness, late, "a")

    async def test_only_the_owner_may_record(self, harness: StoreHarness) -> None:
        mine = owner()
        await self.take(harness, mine, "a")
        assert not await self.finish(harness, owner(2, mine.job_id), "a")
        assert await harness.store.get([work("a")]) == {}
        assert await self.finish(harness, mine, "a")

    async def test_recorded_work_is_done_and_says_by_whom(self, harness: StoreHarness) -> None:
        mine = owner()
        await self.take(harness, mine, "a")
        await self.finish(harness, mine, "a")
        (answer,) = await harness.store.reserve([Reservation(owner(), "acme", work("a"))], LEASE)
        assert answer.outcome is Reserved.DONE
        assert answer.run is not None
        assert (answer.run.job_id, answer.run.result) == (mine.job_id, '{"ok":true}')

    async def test_a_success_counts_until_its_time_is_over(self, harness: StoreHarness) -> None:
        mine = owner()
        await self.take(harness, mine, "a")
        await self.finish(harness, mine, "a", ttl=60)
        await harness.advance(59)
        assert work("a") in await harness.store.get([work("a"), work("b")])
        await harness.advance(2)
        assert await harness.store.get([work("a")]) == {}
        assert await self.take(harness, owner(), "a") is Reserved.ACQUIRED

    async def test_released_work_is_free_and_others_keep_theirs(self, harness: StoreHarness) -> None:
        mine, theirs = owner(), owner()
        await self.take(harness, mine, "a")
        await self.take(harness, theirs, "b")
        await harness.store.release([mine])
        assert await self.take(harness, owner(), "a") is Reserved.ACQUIRED
        assert await self.take(harness, owner(), "b") is Reserved.HELD

    async def test_renewing_names_those_that_still_own_theirs(self, harness: StoreHarness) -> None:
        mine, lost = owner(), owner()
        await self.take(harness, mine, "a")
        await self.take(harness, lost, "b", lease=0)
        await self.take(harness, owner(), "b")
        assert await harness.store.renew([mine, lost], LEASE) == {mine}

    async def test_purging_is_bounded_and_keeps_what_counts(self, harness: StoreHarness) -> None:
        for name, ttl in (("old-1", 10.0), ("old-2", 10.0), ("new", 1000.0)):
            who = owner()
            await self.take(harness, who, name)
            await self.finish(harness, who, name, ttl)
        await harness.advance(20)
        assert [await harness.store.purge(1) for _ in range(3)] == [1, 1, 0]
        assert set(await harness.store.get([work("old-1"), work("old-2"), work("new")])) == {work("new")}

    async def test_empty_batches_are_fine(self, harness: StoreHarness) -> None:
        store = harness.store
        assert await store.reserve([], LEASE) == []
        assert await store.record([]) == frozenset()
        assert await store.renew([], LEASE) == frozenset()
