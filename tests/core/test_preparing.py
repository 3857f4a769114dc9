"""An envelope becomes a job: the same identity and stored form, whoever prepares it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydantic import BaseModel, Field

from jobs_exec import Envelope, Identity, job_type
from jobs_exec.contracts import Capability, Policy, TypeRecord
from jobs_exec.errors import CapabilityMissing, InvalidJob, PayloadTooLarge, UnknownJobType
from jobs_exec.job import Handed, NewJob
from jobs_exec.preparing import prepare, require, unregistered
from jobs_exec.registry import compile_table, isolated

POLICY = Policy()


class Invoice(BaseModel):
    number: int
    currency: str = "EUR"
    total: float = Field(alias="sum", default=0)


@dataclass
class Parcel:
    weight: int


async def bill(ctx: object, data: Invoice) -> None: ...


def ship(ctx: object, data: Parcel) -> None: ...


@pytest.fixture(autouse=True)
def _own_registrations() -> Iterator[None]:
    with isolated():
        yield


TABLE, _ = compile_table(
    [
        job_type("bill", bill, queue="money", max_attempts=2),
        job_type("ship", ship, identity="none"),
        job_type("keyed", bill, identity="key"),
    ]
)


def made(org: str, type_name: str, data: object, **options: object) -> NewJob:
    return prepare(Envelope(org, type_name, data, **options), TABLE, {}, POLICY)  # type: ignore[arg-type]


def test_a_job_takes_queue_attempts_and_identity_from_its_type() -> None:
    job = made("acme", "bill", {"number": 1})
    assert (job.queue, job.max_attempts, job.identity) == ("money", 2, Identity.PAYLOAD)
    assert job.id.version == 7
    assert len(job.run_hash) == 32
    assert job.digest.bytes == job.run_hash[:16]


def test_what_is_stored_is_the_model_but_what_identifies_is_the_data_as_handed_in() -> None:
    short, long = made("acme", "bill", {"number": 1}), made("acme", "bill", {"number": 1, "currency": "EUR"})
    assert short.payload == long.payload == '{"number":1,"currency":"EUR","sum":0.0}'
    assert short.run_hash != long.run_hash


def test_a_model_instance_is_the_same_work_as_the_json_it_was_made_from() -> None:
    as_json, as_model = made("acme", "bill", {"number": 1}), made("acme", "bill", Invoice(number=1))
    assert as_json.run_hash == as_model.run_hash
    assert as_json.payload == as_model.payload


def test_a_dataclass_is_taken_as_payload() -> None:
    assert made("acme", "ship", Parcel(3)).payload == '{"weight":3}'


def test_the_org_is_part_of_the_identity() -> None:
    assert made("acme", "bill", {"number": 1}).run_hash != made("emca", "bill", {"number": 1}).run_hash


def test_a_key_selects_the_key_mode_and_ignores_the_payload() -> None:
    first, second = made("acme", "bill", {"number": 1}, key="k"), made("acme", "bill", {"number": 2}, key="k")
    assert first.identity is Identity.KEY
    assert first.run_hash == second.run_hash
    assert first.payload_digest != second.payload_digest


def test_without_identity_every_job_is_a_piece_of_work_of_its_own() -> None:
    assert made("acme", "ship", {"weight": 1}).run_hash != made("acme", "ship", {"weight": 1}).run_hash


def test_a_type_told_apart_by_key_needs_one() -> None:
    with pytest.raises(InvalidJob) as refused:
        made("acme", "keyed", {"number": 1})
    assert refused.value.field == "key"


def test_an_unknown_type_is_refused_with_near_matches() -> None:
    with pytest.raises(UnknownJobType, match="Did you mean 'bill'"):
        made("acme", "bil", {})


def test_a_type_the_backend_has_announced_is_enqueued_without_its_plugin() -> None:
    known = {"far": TypeRecord("far", "slow", Identity.NONE, 9)}
    job = prepare(Envelope("acme", "far"), TABLE, known, POLICY)
    assert (job.queue, job.identity, job.max_attempts) == ("slow", Identity.NONE, 9)


def test_an_unregistered_type_can_be_allowed_and_goes_to_the_default_queue() -> None:
    job = prepare(Envelope("acme", "later"), TABLE, {}, POLICY, allow_unregistered=True)
    assert (job.queue, job.identity, job.max_attempts) == ("default", Identity.PAYLOAD, POLICY.max_attempts)


def test_a_payload_over_the_limit_names_the_setting() -> None:
    with pytest.raises(PayloadTooLarge, match="JOB_MAX_PAYLOAD_BYTES=10"):
        prepare(Envelope("acme", "ship", {"weight": 123456}), TABLE, {}, Policy(max_payload_bytes=10))


@pytest.mark.parametrize(
    ("options", "capability"), [({"delay": 5.0}, Capability.DELAY), ({"priority": 1}, Capability.PRIORITY)]
)
def test_what_a_backend_does_not_do_is_refused_by_its_name(options: dict[str, object], capability: Capability) -> None:
    asked = Envelope("acme", "bill", **options)  # type: ignore[arg-type]
    with pytest.raises(CapabilityMissing, match=f"'tiny' backend has no capability '{capability}'"):
        require("tiny", frozenset(), asked)
    require("able", frozenset({capability}), asked)


def test_known_types_are_looked_up_only_for_types_the_process_lacks() -> None:
    assert not unregistered([Envelope("acme", "bill")], TABLE)
    assert unregistered([Envelope("acme", "bill"), Envelope("acme", "far")], TABLE)


def test_what_the_caller_said_travels_beside_what_became_of_it() -> None:
    plain, said = made("acme", "bill", {"number": 1}), made("acme", "bill", {"number": 1}, key="k", max_attempts=9)
    assert plain.handed == Handed('{"number":1}', None, None)
    assert said.handed == Handed('{"number":1}', "k", 9)
    assert "number" not in repr(plain)
