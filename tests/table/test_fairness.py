"""Fairness of claim and promotion, counted: in claims, calls and rows read, never in time. On 18 and 15."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import ceil

import pytest
from databases import Database
from stepping import Queue, Stepped, org

Join = Callable[..., Stepped]


@pytest.fixture
def queue(migrated: Database) -> Iterator[Queue]:
    with migrated.connect() as connection:
        yield Queue(connection)


@pytest.fixture
def join(migrated: Database) -> Iterator[Join]:
    """Makes executors, each with a session of its own."""
    with ExitStack() as sessions:

        def joined(*types: str, queue: str = "default", cursor: str = "") -> Stepped:
            connection = sessions.enter_context(migrated.connect())
            return Stepped(connection, types or ("work",), queue, cursor).join()

        yield joined


# --- one claim ---------------------------------------------------------------------------------------------


def test_few_orgs_fill_a_whole_batch_evenly(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 50 for n in range(40)})
    counts = join().claim(100).counts
    assert (sum(counts.values()), len(counts)) == (100, 40)
    assert set(counts.values()) == {2, 3}


@pytest.mark.parametrize("orgs", [1, 2, 3, 7, 39, 99, 100, 101, 250])
def test_the_first_of_every_org_comes_before_the_second_of_any(queue: Queue, join: Join, orgs: int) -> None:
    queue.fill({org(n): 1 + n % 5 for n in range(orgs)})
    served = join().claim(100).orgs
    ranks = [served[:place].count(each) for place, each in enumerate(served)]
    assert ranks == sorted(ranks)
    assert len(set(served)) == min(orgs, 100)


def test_a_heavy_org_among_small_ones_gets_what_they_leave(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 1 for n in range(60)} | {"heavy": 5_000})
    counts = join().claim(100).counts
    assert counts == {org(n): 1 for n in range(60)} | {"heavy": 40}


def test_small_orgs_are_all_served_before_a_heavy_one_again(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 1 for n in range(1_000)} | {"heavy": 20_000})
    executor = join()
    served = sum((executor.claim(100).counts for _ in range(ceil(1_001 / 100))), start=executor.claim(1).counts)
    assert all(served[org(n)] == 1 for n in range(1_000))


def test_an_org_gets_no_more_than_its_share_and_the_others_the_rest(queue: Queue, join: Join) -> None:
    queue.fill({"a-heavy": 1_000, "b-heavy": 1_000, "c-small": 3})
    executor = join()
    first = executor.claim(100, org_slots=80)
    assert (first.counts["c-small"], sum(first.counts.values())) == (3, 100)
    again = executor.claim(100, org_slots=50, busy={"a-heavy": 50, "b-heavy": 45})
    assert (again.counts, again.position) == ({"b-heavy": 5}, "walked")


def test_orgs_at_their_share_do_not_hide_those_behind_them(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 10 for n in range(300)})
    busy = {org(n): 4 for n in range(200)}
    counts = join().claim(100, org_slots=4, busy=busy).counts
    assert counts == {org(n): 1 for n in range(200, 300)}


def test_the_bytes_of_a_batch_are_bounded_and_the_next_one_goes_on_behind_it(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 5 for n in range(30)}, bytes=1_000)
    executor, served = join(), []
    for _ in range(3):
        taken = executor.claim(100, max_bytes=10_500)
        assert 9_000 < sum(taken.payload_bytes) <= 10_500
        served += taken.orgs
    assert sorted(served) == [org(n) for n in range(30)]


def test_a_job_beyond_the_bytes_of_a_batch_is_taken_alone(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 2 for n in range(3)}, bytes=5_000)
    executor = join()
    assert [executor.claim(100, max_bytes=1_000).orgs for _ in range(3)] == [(org(n),) for n in range(3)]


# --- laps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_each_org_is_served_within_one_lap_of_claims_whatever_is_queued(queue: Queue, join: Join, seed: int) -> None:
    dice = random.Random(seed)
    orgs, limit = dice.choice([1, 5, 40, 130, 400]), dice.choice([1, 5, 33, 100])
    queue.fill({org(n * 3): dice.choice([1, 1, 2, 5, 60]) for n in range(orgs)})
    executor = join(cursor=org(dice.randrange(-1, orgs * 3 + 10)) if seed % 3 else "")
    served = set().union(*(executor.claim(limit).orgs for _ in range(ceil(orgs / limit))))
    assert len(served) == orgs, f"{orgs} orgs, {limit} a claim"


@pytest.mark.parametrize("seed", range(12))
def test_several_executors_at_once_leave_no_org_out_of_any_ones_lap(queue: Queue, join: Join, seed: int) -> None:
    dice = random.Random(seed)
    orgs, limit = dice.choice([3, 40, 130, 300]), dice.choice([5, 33, 100])
    queue.fill({org(n): dice.choice([1, 1, 1, 2, 80]) for n in range(orgs)})
    executors = [join(cursor=dice.choice(["", org(dice.randrange(orgs))])) for _ in range(3)]
    laps = {executor.id: ceil(orgs / limit) for executor in executors}
    served: set[str] = set()
    with ExitStack() as still_open:
        while all(laps.values()):
            executor = dice.choice(executors)
            if executor.connection.info.transaction_status.name == "IDLE":
                still_open.enter_context(executor.connection.transaction())
            served.update(executor.claim(limit).orgs)
            laps[executor.id] -= 1
            if dice.random() < 0.5:
                still_open.close()
    assert len(served) == orgs, f"{orgs} orgs, {limit} a claim"


def test_no_job_is_handed_to_two_executors_whose_claims_overlap(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 3 for n in range(50)})
    first, second = join(), join()
    with first.connection.transaction():
        ids = [*first.claim(100).ids, *second.claim(100).ids]
    assert (len(ids), len(set(ids))) == (150, 150)


def test_a_ring_whose_orgs_vanish_neither_loops_nor_skips(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 3 for n in range(20)})
    executor = join()
    assert executor.claim(5).orgs == tuple(org(n) for n in range(5))
    queue.connection.execute("delete from jobs.jobs_queue where org_id in (%s, %s)", (org(4), org(5)))
    assert executor.claim(5).orgs == tuple(org(n) for n in range(6, 11))
    queue.connection.execute("delete from jobs.jobs_queue where org_id > %s", (org(10),))
    assert executor.claim(3).orgs == tuple(org(n) for n in range(3))
    queue.connection.execute("delete from jobs.jobs_queue where state = 'ready' and org_id <> %s", (org(7),))
    assert executor.claim(3).orgs == (org(7), org(7))
    assert (executor.claim(3).orgs, executor.claim(3).position) == ((), "empty")


# --- what must cost nothing ------------------------------------------------------------------------------


def test_held_orgs_and_held_types_leave_the_reads_of_a_claim_as_they_are(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 5 for n in range(5_000, 5_500)})
    queue.settle_statistics()
    executor = join()
    executor.claim(100)
    queue.settle_statistics()
    executor.claim(100)
    before = executor.rows
    queue.fill({org(n): 1 for n in range(10_000)}, state="held")
    queue.fill({org(1): 100_000}, state="held", reason="type", type="foreign")
    queue.settle_statistics()
    assert len(executor.claim(100).ids) == 100
    assert executor.rows <= before * 1.05


def test_foreign_jobs_in_front_cost_a_claim_a_bounded_window(queue: Queue, join: Join) -> None:
    queue.fill({org(0): 100_000}, type="foreign")
    queue.fill({org(n): 20 for n in range(500)})
    queue.settle_statistics()
    executor = join()
    taken = executor.claim(100)
    # The org in front has none of its own types in its window: its place in the batch stays empty.
    assert (len(taken.ids), taken.position, taken.foreign) == (99, "walked", '["foreign"]')
    with_window = executor.rows
    assert len(executor.claim(100).ids) == 100
    assert with_window - executor.rows < 250, "an org with foreign jobs in front is looked at 200 rows deep"
    assert executor.rows < 12 * 100, "an org without them is not"


def test_foreign_jobs_are_found_behind_many_types_of_ones_own(queue: Queue, join: Join) -> None:
    types = [f"own-{n:03}" for n in range(80)]
    for name in types:
        queue.fill({org(1): 1}, type=name)
    queue.fill({org(0): 100_000}, type="zz-foreign")
    queue.settle_statistics()
    executor = join(*types)
    taken = executor.claim(100)
    assert (len(taken.ids), taken.position) == (80, "walked")
    assert executor.rows < 12 * 100


def test_orgs_with_foreign_jobs_only_are_walked_past_and_nobody_behind_them_starves(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 2 for n in range(90)}, type="foreign")
    queue.fill({org(n): 1 for n in range(90, 100)})
    executor = join()
    claims = [executor.claim(10) for _ in range(10)]
    assert {each.position for each in claims} == {"walked"}
    assert [len(each.ids) for each in claims] == [0] * 9 + [10]


# --- promotion -------------------------------------------------------------------------------------------


def test_a_hundred_thousand_due_retries_of_one_org_do_not_delay_anothers(queue: Queue, join: Join) -> None:
    queue.fill({"heavy": 100_000}, state="scheduled")
    queue.fill({"zz-small": 1}, state="scheduled")
    queue.settle_statistics()
    executor = join()
    promoted = executor.promote(1_000)
    assert promoted["more"]
    assert executor.rows < 6 * 1_000
    assert queue.counts("ready")["zz-small"] == 1
    assert executor.claim(100).counts["zz-small"] == 1
    assert executor.rows < 12 * 100


@pytest.mark.parametrize("seed", range(8))
def test_each_org_is_promoted_within_one_lap_of_passes(queue: Queue, join: Join, seed: int) -> None:
    dice = random.Random(seed)
    orgs, limit = dice.choice([1, 5, 40, 130, 400]), dice.choice([5, 33, 100])
    queue.fill({org(n): dice.choice([1, 1, 2, 5, 60]) for n in range(orgs)}, state="scheduled")
    executor = join()
    executor.promoted["cursor"] = dice.choice(["", org(dice.randrange(orgs)), "zz"])
    for _ in range(ceil(orgs / limit)):
        executor.promote(limit)
    assert len(queue.counts("ready")) == orgs, f"{orgs} orgs, {limit} a pass"


def test_every_pass_moves_a_whole_batch_while_more_is_due(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 200 for n in range(3)}, state="scheduled")
    executor = join()
    assert [executor.promote(50)["ready"] for _ in range(13)] == [50] * 12 + [0]


def test_orgs_whose_jobs_are_not_due_are_passed_in_bounded_steps(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 1 for n in range(5_000)}, state="scheduled")
    queue.connection.execute("update jobs.jobs_queue set run_at = now() + interval '1 day'")
    queue.fill({"aa-heavy": 5_000, "zz-small": 1}, state="scheduled")
    queue.settle_statistics()
    executor, passes = join(), 0
    while "zz-small" not in queue.counts("ready"):
        executor.promote(1_000)
        passes += 1
        # 2,000 orgs a pass, and one that the heavy org fills alone.
        assert passes <= 4
        assert executor.rows < 3 * 2_000 + 6 * 1_000


def test_due_jobs_go_to_the_queue_their_type_has_moved_to(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 30 for n in range(10)}, state="scheduled", queue="old")
    queue.fill({org(n): 30 for n in range(10)}, state="ready", queue="old")
    queue.fill({org(n): 30 for n in range(10)}, state="held", reason="type", queue="old")
    executor = join(queue="new")
    moved = [executor.promote(100) for _ in range(4)]
    assert sum(each["ready"] for each in moved) == 300
    left = queue.connection.execute("select count(*) from jobs.jobs_queue where queue = 'old'").fetchone()
    assert left == (0,)
    assert len(executor.claim(100).counts) == 10


# --- holding and releasing -------------------------------------------------------------------------------


def test_an_org_behind_ten_thousand_suspended_ones_is_asked_about_and_released(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 1 for n in range(10_001)}, state="held")
    queue.settle_statistics()
    executor, last = join(), org(10_000)
    for _ in range(11):
        asked = executor.promote(1_000)["held_orgs"]
        assert len(asked) <= 1_000
        assert executor.rows < 4 * 1_000
        if last in asked:
            break
    executor.promote(1_000, suspended=[each for each in asked if each != last], active=[last])
    assert queue.counts("ready") == {last: 1}


def test_a_type_that_is_carried_again_is_released_behind_any_number_that_are_not(queue: Queue, join: Join) -> None:
    queue.fill({org(n): 1 for n in range(5_000)}, state="held", reason="type", type="abandoned")
    queue.fill({org(n): 1 for n in range(4_000, 5_001)}, state="held", reason="type", type="work")
    queue.settle_statistics()
    executor = join()
    for _ in range(7):
        executor.promote(1_000)
        assert executor.rows < 20 * 1_000
    assert queue.counts("ready") == {org(n): 1 for n in range(4_000, 5_001)}


def test_a_heavy_org_that_is_released_does_not_delay_the_release_of_another(queue: Queue, join: Join) -> None:
    queue.fill({"aa-heavy": 10_000, "bb-small": 1}, state="held")
    queue.fill({"cc-heavy": 10_000, "dd-small": 1}, state="held", reason="type")
    executor = join()
    executor.promote(100, active=["aa-heavy", "bb-small"])
    ready = queue.counts("ready")
    assert (ready["bb-small"], ready["dd-small"]) == (1, 1)
    assert sum(ready.values()) <= 200


def test_a_heavy_org_that_is_suspended_does_not_delay_the_hold_of_another(queue: Queue, join: Join) -> None:
    queue.fill({"aa-heavy": 10_000, "bb-small": 1})
    executor = join()
    executor.promote(100, suspended=["aa-heavy", "bb-small"])
    assert queue.counts("held")["bb-small"] == 1
