"""How a schedule is defined: in code, in JSON, and what is refused by which field."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel

from jobs_exec import Audience, CatchUp, Overlap, register_schedule, schedule
from jobs_exec.contracts import tick_payload
from jobs_exec.errors import InvalidSchedule
from jobs_exec.registry import isolated, recorded_schedules, recording
from jobs_exec.scheduling.reading import schedule_from_json, schedule_to_json
from jobs_exec.scheduling.records import record_of

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def defined(**options: Any) -> Any:
    return schedule(options.pop("name", "report"), options.pop("type", "work"), **{"every": 60, "orgs": "a", **options})


def test_a_short_definition_gets_the_defaults() -> None:
    made = schedule("nightly", "reports.make", cron="0 3 * * *", orgs="*")
    assert (made.cron, made.every, made.zone, made.orgs) == ("0 3 * * *", None, "UTC", Audience.ALL)
    assert (made.catch_up, made.overlap, made.jitter) == (CatchUp.LAST, Overlap.ALLOW, 0.0)
    assert (made.data, made.priority, made.max_attempts, made.enabled, made.owner) == ({}, 5, None, True, "")


def test_values_are_taken_in_the_forms_people_have_them_in() -> None:
    class Report(BaseModel):
        kind: str
        pages: int = 1

    made = defined(
        every=timedelta(minutes=5),
        jitter=timedelta(seconds=30),
        orgs=iter(["acme", "emca"]),
        data=Report(kind="short"),
        catch_up="all:5",
        overlap="skip",
        start=datetime(2026, 11, 25, 14, tzinfo=timezone(timedelta(hours=2))),
    )
    assert (made.every, made.jitter, made.orgs) == (300, 30.0, ("acme", "emca"))
    assert (made.data, made.start) == ({"kind": "short"}, START)
    assert (made.catch_up, made.catch_up_limit, made.overlap) == (CatchUp.ALL, 5, Overlap.SKIP)
    assert defined(every=None, cron=" 0  0 *\t* * ").cron == "0 0 * * *"
    assert defined(orgs=Audience.ALL).orgs is Audience.ALL


def test_a_schedule_of_a_tenant_is_for_its_own_org() -> None:
    made = schedule("s", "work", every=60, org_id="acme")
    assert (made.org_id, made.orgs) == ("acme", ("acme",))
    for orgs in ("emca", "*", ["acme", "emca"]):
        with pytest.raises(InvalidSchedule, match="orgs: must be the tenant's own org"):
            schedule("s", "work", every=60, org_id="acme", orgs=orgs)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": ""}),
    ("name", {"name": "has space"}),
    ("name", {"name": "x" * 129}),
    ("name", {"name": "-rf"}),
    ("type", {"type": "1st"}),
    ("type", {"type": None}),
    ("cron", {"every": None}),
    ("cron", {"cron": "* * * * *"}),
    ("cron", {"every": None, "cron": "* * * *"}),
    ("cron", {"every": None, "cron": "0 0 */31 2 MON#5"}),
    ("every", {"every": 0}),
    ("every", {"every": -60}),
    ("every", {"every": 1.5}),
    ("every", {"every": timedelta(milliseconds=1500)}),
    ("every", {"every": True}),
    ("every", {"every": "5m"}),
    ("every", {"every": float("nan")}),
    ("every", {"every": float("inf")}),
    ("every", {"every": 10**12}),
    ("zone", {"zone": "Europe/Berlin"}),
    ("zone", {"every": None, "cron": "* * * * *", "zone": "../etc"}),
    ("orgs", {"orgs": ""}),
    ("orgs", {"orgs": []}),
    ("orgs", {"orgs": ["acme", " emca"]}),
    ("orgs", {"orgs": ["acme", "acme"]}),
    ("orgs", {"orgs": ["acme", "*"]}),
    ("orgs", {"orgs": ["acme", None]}),
    ("orgs", {"orgs": None}),
    ("orgs", {"orgs": {"acme": 1}}),
    ("orgs", {"orgs": [f"org-{number}" for number in range(10_001)]}),
    ("data", {"data": ["a list"]}),
    ("data.n", {"data": {"n": float("nan")}}),
    ("data.n", {"data": {"n": 2**60}}),
    ("catch_up", {"catch_up": "some"}),
    ("catch_up", {"catch_up": "all:0"}),
    ("catch_up", {"catch_up": "all:1001"}),
    ("catch_up", {"catch_up": "all:"}),
    ("catch_up", {"catch_up": "last:5"}),
    ("overlap", {"overlap": "queue"}),
    ("jitter", {"jitter": -1}),
    ("jitter", {"jitter": 86_401}),
    ("start", {"start": datetime(2026, 1, 1)}),
    ("start", {"start": "2026-01-01T00:00:00Z"}),
    ("start", {"start": START.replace(microsecond=1)}),
    ("start", {"start": datetime(1900, 1, 1, tzinfo=UTC)}),
    ("end", {"start": START, "end": START}),
    ("end", {"end": datetime(9999, 12, 31, tzinfo=UTC)}),
    ("tick_as", {"tick_as": ""}),
    ("tick_as", {"tick_as": "n", "data": {"n": 1}}),
    ("tick_as", {"tick_as": "a\0"}),
    ("tick_as", {"tick_as": 5}),
    ("priority", {"priority": 10}),
    ("priority", {"priority": True}),
    ("max_attempts", {"max_attempts": 0}),
    ("enabled", {"enabled": "yes"}),
    ("org_id", {"org_id": " acme"}),
    ("evry", {"evry": 60}),
]


@pytest.mark.parametrize(
    ("field", "options"), REFUSED, ids=[f"{field}-{number}" for number, (field, _) in enumerate(REFUSED)]
)
def test_each_violation_names_its_field(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        defined(**options)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


def test_a_value_of_the_payload_is_never_told() -> None:
    with pytest.raises(InvalidSchedule) as refused:
        defined(data={"secret": "hunter2\0"})
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(defined(data={"secret": "hunter2"}))


def test_a_misspelt_option_is_answered_with_what_it_looks_like() -> None:
    with pytest.raises(InvalidSchedule, match="did you mean 'catch_up'"):
        defined(catchup="last")
    with pytest.raises(InvalidSchedule, match="orgs: names no org"):
        schedule("s", "work", every=60)


# --- JSON ------------------------------------------------------------------------------------------------


def test_a_schedule_goes_through_json_unchanged() -> None:
    for made in (
        defined(data={"n": 1}, orgs=["a", "b"], start=START, end=START + timedelta(days=1), jitter=1.5),
        defined(every=None, cron="@daily", zone="Asia/Tokyo", orgs="*", catch_up="all:7", tick_as="at", enabled=False),
        schedule("s", "work", every=60, org_id="acme"),
    ):
        assert schedule_from_json(schedule_to_json(made)) == made


def test_both_spellings_are_taken_and_both_at_once_refused() -> None:
    base = {"name": "s", "type": "work", "every": 60, "orgs": ["a"]}
    both = [schedule_from_json({**base, name: "none"}) for name in ("catchUp", "catch_up")]
    assert both[0] == both[1]
    with pytest.raises(InvalidSchedule, match=r"catch_up: is given twice"):
        schedule_from_json({**base, "catchUp": "none", "catch_up": "none"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule", ["not an object"]),
        ("schedule", None),
        ("name", {"type": "work"}),
        ("type", {"name": "s"}),
        ("owner", {"name": "s", "type": "work", "owner": "somebody"}),
        ("start", {"name": "s", "type": "work", "start": "tomorrow"}),
        ("start", {"name": "s", "type": "work", "start": 5}),
        ("every", {"name": "s", "type": "work", "every": "PT5M", "orgs": "a"}),
    ],
)
def test_json_that_is_no_schedule_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        schedule_from_json(value)
    assert refused.value.field == field


# --- registering, and the way into the book -----------------------------------------------------------------


def test_a_registered_schedule_belongs_to_whoever_is_being_loaded() -> None:
    with isolated():
        mine = register_schedule("s", "work", every=60, orgs="a")
        with recording("plugin-distribution"):
            theirs = register_schedule("s", "work", every=90, orgs="a")
        assert (mine.owner, theirs.owner) == ("application", "plugin-distribution")
        assert recorded_schedules() == [mine]
        assert recorded_schedules(["plugin-distribution"]) == [mine, theirs]
    assert mine not in recorded_schedules()


def test_a_name_is_registered_once_and_a_reloaded_module_may_repeat_itself() -> None:
    with isolated():
        first = register_schedule("s", "work", every=60, orgs="a")
        assert register_schedule("s", "work", every=60, orgs="a") == first
        with pytest.raises(InvalidSchedule, match="name: 's' names another schedule of application"):
            register_schedule("s", "work", every=61, orgs="a")
        with pytest.raises(InvalidSchedule, match="org_id: "):
            register_schedule("t", "work", every=60, org_id="acme")


def test_the_payload_is_bounded_with_the_tick_in_it() -> None:
    made = defined(data={"n": 1}, tick_as="at")
    filled = '{"n":1,"at":"2026-11-25T12:00:00Z"}'
    record = record_of(made, START, len(filled))
    assert (record.payload, record.next_tick) == ('{"n":1}', START)
    assert tick_payload(record.payload, "at", START) == filled
    with pytest.raises(InvalidSchedule, match="data: is 35 bytes of JSON, more than JOB_MAX_PAYLOAD_BYTES=34"):
        record_of(made, START, len(filled) - 1)


def test_importing_the_package_costs_no_cron_library() -> None:
    code = "import sys, jobs_exec, jobs_exec.cli, jobs_exec.host; sys.exit('cronsim' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
