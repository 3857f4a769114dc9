"""`schedules add`, `list` and `next`: what is defined is checked, and shown as it will tick."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from command import Shell

from jobs_exec.contracts import OrgStatus


class Orgs:
    """A directory of two orgs."""

    async def check(self, org_ids: Any) -> Mapping[str, OrgStatus]:
        return dict.fromkeys(org_ids, OrgStatus.ACTIVE)

    async def active(self) -> AsyncIterator[str]:
        for org in ("acme", "emca"):
            yield org


def add(shell: Shell, name: str = "nightly", *options: str, code: int = 0) -> Any:
    timing = () if {"--cron", "--every"} & set(options) else ("--cron", "30 2 * * *")
    whom = () if {"--org", "--all-orgs", "--tenant"} & set(options) else ("--org", "acme")
    return shell.json("schedules", "add", name, "--type", "work", *timing, *whom, *options, code=code)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["schedule"]["name"] for row in rows]


def test_a_schedule_is_added_with_all_that_was_said_of_it(shell: Shell) -> None:
    (added,) = add(
        shell,
        "nightly",
        *("--cron", "30  2 * * *", "--zone", "Europe/Berlin", "--org", "acme", "--org", "emca"),
        *("--data", '{"n": 1}', "--tick-as", "day", "--catch-up", "all:5", "--overlap", "skip", "--jitter", "5m"),
        *("--start", "2027-01-01T00:00:00Z", "--end", "@1830297600", "--priority", "3", "--max-attempts", "2"),
    )
    assert (added["state"], added["next_tick"], added["owner"]) == ("active", "2027-01-01T01:30:00Z", "")
    assert added["schedule"] == {
        "name": "nightly",
        "type": "work",
        "cron": "30 2 * * *",
        "zone": "Europe/Berlin",
        "orgs": ["acme", "emca"],
        "data": {"n": 1},
        "catchUp": "all:5",
        "overlap": "skip",
        "jitter": 300.0,
        "start": "2027-01-01T00:00:00Z",
        "end": "2028-01-01T00:00:00Z",
        "tickAs": "day",
        "priority": 3,
        "maxAttempts": 2,
        "enabled": True,
        "orgId": None,
    }
    assert shell.json("schedules", "list")[0]["schedule"] == added["schedule"]


def test_the_first_priority_is_not_taken_for_none(shell: Shell) -> None:
    assert add(shell, "first", "--priority", "0")[0]["schedule"]["priority"] == 0


def test_a_tenant_owns_a_schedule_for_itself_alone(shell: Shell) -> None:
    (added,) = add(shell, "hourly", "--every", "1h", "--tenant", "acme")
    assert (added["schedule"]["orgId"], added["schedule"]["orgs"]) == ("acme", ["acme"])
    assert (added["schedule"]["every"], added["next_tick"][-7:]) == (3600, ":00:00Z")


def test_one_for_all_orgs_says_so_when_nobody_can_list_them(shell: Shell) -> None:
    result = shell("schedules", "add", "all", "--type", "work", "--every", "60", "--all-orgs")
    assert result.exit_code == 0
    assert "warning: all is for all orgs, but there is no org directory here (JOB_ORG_TABLE)" in result.stderr
    shell.directory = Orgs()
    assert "warning" not in shell("schedules", "add", "too", "--type", "work", "--every", "60", "--all-orgs").stderr


def test_one_that_is_disabled_is_kept_for_another_clock(shell: Shell) -> None:
    assert add(shell, "idle", "--disabled")[0]["state"] == "disabled"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--cron", "30 25 * * *", "--org", "a"], 6, "cron: character 4: '25' is no hour"),
        (["--org", "a"], 6, "cron: is missing; pass --cron or --every"),
        (["--cron", "@daily", "--every", "5m", "--org", "a"], 6, "cron: is given together with every"),
        (["--every", "0.5", "--org", "a"], 6, "every: must be whole seconds, from 1 to 100 years; pass 5m or 300"),
        (["--cron", "@daily"], 2, "--org (which may be repeated), --all-orgs and --tenant"),
        (["--cron", "@daily", "--org", "a", "--tenant", "a"], 2, "--all-orgs and --tenant"),
        (["--cron", "@daily", "--org", " a"], 6, "orgs: has white space around it"),
        (["--cron", "@daily", "--org", "a", "--data", "{"], 6, "data: is not JSON"),
        (["--cron", "@daily", "--org", "a", "--catch-up", "some"], 6, "catch_up: 'some' is not one of"),
        (["--cron", "@daily", "--org", "a", "--start", "2030-01-01T00:00:00"], 2, "has no offset"),
        (["--cron", "@daily", "--org", "a", "--zone", "Europe/Berlim"], 6, "did you mean Europe/Berlin?"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_added(shell: Shell, arguments: list[str], code: int, said: str) -> None:
    result = shell("schedules", "add", "x", "--type", "work", *arguments)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert shell.json("schedules", "list") == []


def test_an_unknown_type_is_refused_unless_it_is_meant(shell: Shell) -> None:
    arguments = ("schedules", "add", "x", "--type", "wrok", "--every", "60", "--org", "acme")
    result = shell(*arguments)
    assert result.exit_code == 6
    assert "Did you mean 'work'?" in result.stderr
    assert "--allow-unregistered" in result.stderr
    assert shell(*arguments, "--allow-unregistered").exit_code == 0


def test_a_payload_that_no_handler_would_take_is_refused_when_it_is_defined(shell: Shell) -> None:
    arguments = ("schedules", "add", "x", "--type", "mail", "--every", "60", "--org", "acme")
    result = shell(*arguments, "--data", '{"form": "secret"}')
    assert (result.exit_code, "data.to" in result.stderr, "secret" in result.stderr) == (6, True, False)
    assert shell(*arguments, "--tick-as", "to").exit_code == 0


def test_a_name_is_taken_once_for_each_tenant(shell: Shell) -> None:
    add(shell, "x")
    add(shell, "x", "--tenant", "acme")
    add(shell, "x", "--tenant", "emca")
    result = shell("schedules", "add", "x", "--type", "work", "--every", "60", "--tenant", "acme")
    assert (result.exit_code, "schedule x of org acme exists" in result.stderr) == (6, True)


def test_a_dry_run_adds_nothing(shell: Shell) -> None:
    (shown,) = add(shell, "x", "--dry-run")
    assert shown["state"] == "active"
    assert shown["next_tick"] is not None
    assert shell.json("schedules", "list") == []


def entry(name: str, **fields: object) -> str:
    return json.dumps({"name": name, "type": "work", "every": 60, "orgs": ["acme"], **fields})


def test_a_file_holds_one_schedule_a_line(shell: Shell) -> None:
    added = shell.json("schedules", "add", "--from", "-", stdin=f"{entry('a')}\n\n{entry('b', orgId='acme')}\n")
    assert names(added) == ["a", "b"]


def test_a_file_may_be_one_schedule_over_many_lines(shell: Shell) -> None:
    Path("one.json").write_text(json.dumps(json.loads(entry("a")), indent=2))
    assert names(shell.json("schedules", "add", "--from", "one.json")) == ["a"]


def test_what_is_listed_can_be_added_elsewhere(shell: Shell) -> None:
    (added,) = add(shell, "x", "--cron", "@daily", "--tick-as", "day")
    shell("schedules", "remove", "x", "--yes")
    (again,) = shell.json("schedules", "add", "--from", "-", stdin=json.dumps(added["schedule"]))
    assert again["schedule"] == added["schedule"]


def test_a_file_with_wrong_lines_names_them_all_and_adds_nothing(shell: Shell) -> None:
    lines = [entry("a"), entry("b", evry=5), "{", entry("c", every=0)]
    result = shell("schedules", "add", "--from", "-", stdin="\n".join(lines))
    assert result.exit_code == 6
    assert "line 2: evry: is not a field of a schedule; did you mean every?" in result.stderr
    assert "line 3: schedule: is not JSON" in result.stderr
    assert "line 4: every: must be whole seconds" in result.stderr
    assert "3 of 4 schedules are invalid; nothing was added" in result.stderr
    assert shell.json("schedules", "list") == []


def test_a_file_that_names_a_schedule_twice_or_one_that_exists_adds_nothing(shell: Shell) -> None:
    twice = shell("schedules", "add", "--from", "-", stdin=f"{entry('a')}\n{entry('a')}\n")
    assert (twice.exit_code, "lines 1 and 2 both define a" in twice.stderr) == (6, True)
    add(shell, "b")
    exists = shell("schedules", "add", "--from", "-", stdin=f"{entry('a')}\n{entry('b')}\n")
    assert (exists.exit_code, "schedule b exists" in exists.stderr) == (6, True)
    assert names(shell.json("schedules", "list")) == ["b"]


def test_a_name_and_a_file_do_not_go_together(shell: Shell) -> None:
    assert shell("schedules", "add").exit_code == 2
    assert shell("schedules", "add", "x", "--from", "-", stdin="").exit_code == 2
    assert shell("schedules", "add", "--type", "work", "--from", "-", stdin="").exit_code == 2


def test_schedules_are_listed_by_what_they_are_for_and_how_they_stand(shell: Shell) -> None:
    add(shell, "ours", "--tenant", "acme")
    add(shell, "theirs", "--tenant", "emca")
    add(shell, "some", "--org", "acme")
    add(shell, "idle", "--org", "emca", "--disabled")
    add(shell, "all", "--all-orgs")
    assert names(shell.json("schedules", "list")) == ["all", "idle", "ours", "some", "theirs"]
    assert names(shell.json("schedules", "list", "--org", "acme")) == ["all", "ours", "some"]
    assert names(shell.json("schedules", "list", "--tenant", "emca")) == ["theirs"]
    assert names(shell.json("schedules", "list", "--tenant", "")) == ["all", "idle", "some"]
    assert names(shell.json("schedules", "list", "--state", "disabled")) == ["idle"]
    assert names(shell.json("schedules", "list", "--owner", "nobody")) == []
    assert names(shell.json("schedules", "list", "--name", "all")) == ["all"]
    assert names(shell.json("schedules", "list", "--limit", "2")) == ["all", "idle"]


def test_a_listing_for_people_shows_no_payload(shell: Shell) -> None:
    add(shell, "x", "--data", '{"secret": "hush"}', "--zone", "Europe/Berlin")
    result = shell("schedules", "list")
    assert "30 2 * * * Europe/Berlin" in result.stdout
    assert "hush" not in result.stdout


def test_next_ticks_are_shown_in_utc_and_in_the_zone_with_changes_of_the_clocks(shell: Shell) -> None:
    add(shell, "x", "--cron", "30 2 * * *", "--zone", "Europe/Berlin")
    (shown,) = shell.json("schedules", "next", "x", "--at", "2027-03-26T12:00:00Z", "--count", "3")
    assert [(tick["tick"], tick["local"], tick["note"]) for tick in shown["ticks"]] == [
        ("2027-03-27T01:30:00Z", "2027-03-27T02:30:00+01:00", None),
        ("2027-03-28T01:00:00Z", "2027-03-28T03:00:00+02:00", "the clocks were changed, now CEST"),
        ("2027-03-29T00:30:00Z", "2027-03-29T02:30:00+02:00", None),
    ]


def test_an_hour_that_comes_twice_is_marked(shell: Shell) -> None:
    add(shell, "x", "--cron", "*/30 * * * *", "--zone", "Europe/Berlin")
    (shown,) = shell.json("schedules", "next", "x", "--at", "2027-10-30T23:40:00Z", "--count", "5")
    assert [(tick["local"][11:], tick["note"]) for tick in shown["ticks"]] == [
        ("02:00:00+02:00", "this hour comes twice, the first time"),
        ("02:30:00+02:00", "this hour comes twice, the first time"),
        ("02:00:00+01:00", "the clocks were changed, now CET; this hour comes twice, the second time"),
        ("02:30:00+01:00", "this hour comes twice, the second time"),
        ("03:00:00+01:00", None),
    ]


def test_ticks_of_another_zone_are_shown_on_its_wall(shell: Shell) -> None:
    add(shell, "x", "--every", "1h")
    (shown,) = shell.json("schedules", "next", "--zone", "Asia/Kolkata", "--at", "@0", "--count", "1")
    assert shown["ticks"][0] == {
        "tick": "1970-01-01T01:00:00Z",
        "local": "1970-01-01T06:30:00+05:30",
        "zone": "Asia/Kolkata",
        "note": None,
    }
    assert shell("schedules", "next", "--zone", "Mars").exit_code == 6


def test_without_a_name_only_active_schedules_are_shown(shell: Shell) -> None:
    add(shell, "idle", "--disabled")
    add(shell, "busy")
    assert [row["name"] for row in shell.json("schedules", "next")] == ["busy"]
    assert [row["state"] for row in shell.json("schedules", "next", "idle")] == ["disabled"]
    assert "busy" in shell("schedules", "next").stdout


def test_a_name_of_several_schedules_is_refused_with_the_candidates(shell: Shell) -> None:
    for options in ((), ("--tenant", "acme"), ("--tenant", "the acme")):
        add(shell, "x", *options)
    result = shell("schedules", "next", "x")
    assert result.exit_code == 2
    assert "several schedules are called x" in result.stderr
    for narrowing in ("--owner '' --tenant ''", "--tenant acme", "--tenant 'the acme'"):
        assert f"x {narrowing}\n" in result.stderr
    assert shell("schedules", "next", "x", "--owner", "", "--tenant", "").exit_code == 0
    assert shell.json("schedules", "next", "x", "--tenant", "the acme")[0]["tenant"] == "the acme"


def test_a_name_that_there_is_not_is_answered_with_near_ones(shell: Shell) -> None:
    add(shell, "nightly")
    result = shell("schedules", "next", "nihgtly")
    assert (result.exit_code, result.stderr.count("Did you mean 'nightly'?")) == (7, 1)
