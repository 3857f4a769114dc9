"""Schedules under fire: eight executors, kills, a restart of the server, and every tick of every org exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from campaigns import Campaign, Planned, campaign, planned, seed_of_now
from databases import TEMPLATE, VERSIONS, Server, fresh_database, make_template, running_server, server_folder

EXECUTORS = 8
SCHEDULES = 200
ORGS_EACH = 5
MINUTES = 20
STEP = 10.0
OUTAGE = 150.0
"""Seconds of the clock that pass at once, as when nobody ran: what was missed then follows the catch-up policy."""


@pytest.fixture(params=VERSIONS, ids=[f"pg{version}" for version in VERSIONS])
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that the test may end."""
    with server_folder() as folder, running_server(request.param, folder / "postgres", fsync="on") as server:
        yield server


def test_every_tick_of_every_org_is_fired_exactly_once(own_server: Server, tmp_path: Path) -> None:
    seed = seed_of_now()
    print(f"JOBS_EXEC_SEED={seed}")
    make_template(own_server)
    with fresh_database(own_server, TEMPLATE) as database:
        plans = planned(SCHEDULES, _random(seed), ORGS_EACH)
        in_code, at_run_time = plans[: SCHEDULES // 2], plans[SCHEDULES // 2 :]
        with campaign(tmp_path, database, in_code, seed) as world:
            for _ in range(EXECUTORS):
                world.start_executor()
            world.until(lambda: database.execute("select count(*) from jobs.job_schedules") == [(100,)], "the sync")
            _add(world, at_run_time)
            begun = _begun(world)
            _twenty_minutes(world, own_server)
            ended = world.clock()
            world.until_fired()
            world.until_done()
            # One that is just starting does not know the signal yet.
            world.until_joined(EXECUTORS)
            world.stop()
            assert world.killed >= 8
            _check(world, plans, begun, ended)


def _random(seed: int):  # type: ignore[no-untyped-def]
    import random

    return random.Random(seed)


def _add(world: Campaign, plans: list[Planned]) -> None:
    (world.folder / "rows.jsonl").write_text("".join(json.dumps(each.options()) + "\n" for each in plans))
    world.command("schedules", "add", "--from", "rows.jsonl")


def _begun(world: Campaign) -> dict[str, float]:
    """When each schedule came into the book, by the clock."""
    rows = world.database.execute("select name, extract(epoch from created_at) from jobs.job_schedules")
    assert len(rows) == SCHEDULES
    return {str(name): float(str(at)) for name, at in rows}


def _twenty_minutes(world: Campaign, server: Server) -> None:
    """Steps of the clock, each until nothing is due; then kills, one restart of the server, one long silence."""
    steps = int((MINUTES * 60 - OUTAGE) / STEP)
    restart, silence = steps // 3 + 3, 2 * steps // 3
    for step in range(steps):
        world.move(OUTAGE if step == silence else STEP)
        if step % 10 == 5:
            world.kill_one()
        if step == restart:
            # One that is just starting would find no server, and says so by its exit code.
            world.until_joined(EXECUTORS)
            server.cluster.stop("immediate")
            server.cluster.start()
        world.until_fired()


def _check(world: Campaign, plans: list[Planned], begun: dict[str, float], ended: float) -> None:
    notes = world.database.execute("select schedule, org, extract(epoch from tick)::bigint from notes")
    # The clock goes on while the last jobs are done: what it brought after the end is nobody's expectation.
    fired = Counter((str(name), str(org), int(str(tick))) for name, org, tick in notes if int(str(tick)) <= ended)
    assert set(fired.values()) == {1}, "a tick was fired twice for an org"
    strays = {(name, org) for name, org, _ in fired} - {(plan.name, org) for plan in plans for org in plan.orgs}
    assert not strays, "a schedule was fired for an org that is not its own"
    for plan in plans:
        ticks = plan.ticks(begun[plan.name], ended)
        if plan.type == "doomed":
            _check_dead(world, plan, ticks, ended)
            continue
        for org in plan.orgs:
            got = sorted(tick for name, of, tick in fired if (name, of) == (plan.name, org))
            if plan.catch_up == "all:100":
                assert got == ticks, f"{plan} for {org}"
            else:
                # What was missed in the silence may be left out, and nothing else.
                assert set(got) <= set(ticks)
                assert len(ticks) - len(got) <= OUTAGE // plan.period + 1, f"{plan} for {org}"
                assert got[-1] == ticks[-1]


def _check_dead(world: Campaign, plan: Planned, ticks: list[int], ended: float) -> None:
    """Every job of it is dead; none was made again by a late executor."""
    rows = world.database.execute(
        "select org_id::text, r.status::text, r.payload ->> 'tick' from jobs.job_runs r"
        " where type = 'doomed' and r.payload ->> 'schedule' = %s",
        plan.name,
    )
    got = Counter((str(org), int(datetime.fromisoformat(str(tick)).timestamp())) for org, _, tick in rows)
    assert {status for _, status, _ in rows} <= {"dead"}
    assert set(got.values()) <= {1}, "a dead tick was fired again"
    if plan.catch_up == "all:100":
        assert {each for each in got if each[1] <= ended} == {(org, tick) for org in plan.orgs for tick in ticks}
