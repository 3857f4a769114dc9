"""Answers that our own endpoint does not give: broken connections, foreign pages, and refusals of a moment."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from receivers import Received, Receiver, receiving, reply

from jobs_exec import Envelope, ReceiptOutcome
from jobs_exec.contracts import Policy
from jobs_exec.errors import BackendUnavailable, ConfigurationError, InvalidJob, JobsError
from jobs_exec.job import NewJob, Receipt
from jobs_exec.preparing import prepare
from jobs_exec_cron.answering import TriggerOutcome
from jobs_exec_cron.calling import MAX_ANSWER, TRIES, Caller, Place
from jobs_exec_cron.errors import JobRefused
from jobs_exec_cron.sending import send

KEY = b"k" * 32
SECRET = SecretStr("whsec_" + base64.b64encode(KEY).decode())
CANARY = "canary-of-a-payload"
ID = "0193a000-0000-7000-8000-000000000001"
DONE = {"outcome": "succeeded", "job_id": ID}


def job(n: int = 0) -> NewJob:
    return prepare(Envelope("acme", "work", {"s": CANARY, "n": n}), {}, {}, Policy(), allow_unregistered=True)


def answered(status: int, body: object = None, **headers: str) -> bytes:
    return reply(status, json.dumps(body).encode() if body is not None else b"<html>", **headers)


class Sender:
    """A caller whose pauses end at once; `pauses` says how long they would have been."""

    def __init__(self, receiver: Receiver, seconds: float = 30.0) -> None:
        self.receiver = receiver
        self.pauses: list[float] = []
        self.caller = Caller(Place(receiver.url(path="/trigger"), SECRET, seconds), self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def send(self, *answers: bytes, jobs: int = 1) -> list[Receipt]:
        """Sends; each request gets the next of `answers`, and the last one again; an empty one ends the connection."""
        left = list(answers)
        self.receiver.answer = lambda _request: left.pop(0) if len(left) > 1 else left[0]
        self.receiver.close_after = b"" in answers
        return await send(self.caller, [job(n) for n in range(jobs)])

    async def refused(self, *answers: bytes) -> JobsError:
        with pytest.raises(JobsError) as error:
            await self.send(*answers)
        assert CANARY not in str(error.value)
        return error.value


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with receiving() as receiver:
        made = Sender(receiver)
        yield made
        await made.caller.close()


def verified(request: Received) -> bool:
    """By the letter of the specification, without the package that signed."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


# --- sending again -------------------------------------------------------------------------------------


async def test_a_call_is_signed_json_whose_id_is_the_jobs(sender: Sender) -> None:
    await sender.send(answered(200, DONE))
    request = sender.receiver.only
    assert (request.line, request.headers["content-type"]) == ("POST /trigger HTTP/1.1", "application/json")
    assert verified(request)
    assert UUID(request.headers["webhook-id"]).version == 7
    assert json.loads(request.body) == {"orgId": "acme", "type": "work", "data": {"s": CANARY, "n": 0}}


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 x\r\ncontent-length: 50\r\n\r\n{",
        answered(502),
        answered(429, {"error": "busy", "message": "busy"}),
        answered(503, {"error": "unavailable", "message": "later"}),
    ],
    ids=["hung up", "cut off", "gateway", "busy", "unavailable"],
)
async def test_a_failure_of_the_moment_is_sent_again_under_the_same_id(sender: Sender, first: bytes) -> None:
    if first and first[-1:] == b"{":
        sender.receiver.close_after = True
    (receipt,) = await sender.send(first, answered(200, DONE))
    assert receipt.id == UUID(ID)
    ids = {each.headers["webhook-id"] for each in sender.receiver.requests}
    assert (len(sender.receiver.requests), len(ids)) == (2, 1)
    assert all(map(verified, sender.receiver.requests))
    assert len(sender.pauses) == 1


async def test_a_retry_after_is_kept_to_where_there_is_time_for_it(sender: Sender) -> None:
    await sender.send(answered(429, {"message": "busy"}, retry_after="4"), answered(200, DONE))
    assert sender.pauses == [4.0]
    error = await sender.refused(answered(429, {"message": "busy"}, retry_after="600"))
    assert isinstance(error, BackendUnavailable)
    assert "answered 429: busy; nothing was started" in str(error)
    assert len(sender.receiver.requests) == 3


async def test_after_its_tries_it_says_that_nobody_knows_and_that_the_call_may_be_repeated(sender: Sender) -> None:
    error = await sender.refused(b"")
    assert isinstance(error, BackendUnavailable)
    assert "whether the job was taken is not known; the call may be repeated" in str(error)
    assert len(sender.receiver.requests) == TRIES
    assert sorted(sender.pauses) == sender.pauses


@pytest.mark.parametrize("first", [answered(504), b""], ids=["gateway", "hung up"])
@pytest.mark.parametrize(
    "last",
    [answered(429, {"message": "busy"}), answered(503, {"message": "later"})],
    ids=["busy", "unavailable"],
)
async def test_that_the_last_try_started_nothing_says_nothing_of_the_first(
    sender: Sender, first: bytes, last: bytes
) -> None:
    error = await sender.refused(first, last)
    assert isinstance(error, BackendUnavailable)
    assert "whether the job was taken is not known" in str(error)
    assert "nothing was started" not in str(error)


async def test_an_endpoint_that_is_silent_is_given_up_after_the_time_in_the_settings() -> None:
    async with receiving() as receiver:
        never = asyncio.Event()

        async def silent(_request: Received) -> bytes:
            await never.wait()
            return b""

        receiver.answer = silent
        sender = Sender(receiver, seconds=0.3)
        with pytest.raises(BackendUnavailable, match=r"no answer in time.*not known"):
            await send(sender.caller, [job()])
        never.set()
        await sender.caller.close()


# --- answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome", "of_state"),
    [
        (answered(200, DONE), ReceiptOutcome.CREATED, None),
        (answered(200, {"outcome": "duplicate", "job_id": ID, "of": ID}), ReceiptOutcome.DUPLICATE, "succeeded"),
        (answered(202, {"outcome": "accepted", "job_id": ID, "duplicate": False}), ReceiptOutcome.CREATED, None),
        (
            answered(202, {"outcome": "accepted", "job_id": ID, "duplicate": True, "of": ID, "of_state": "held"}),
            ReceiptOutcome.DUPLICATE,
            "held",
        ),
        (answered(409, {"outcome": "in_flight", "job_id": ID}), ReceiptOutcome.DUPLICATE, "running"),
        (answered(503, {"outcome": "failed", "job_id": ID}), ReceiptOutcome.CREATED, None),
        (answered(503, {"outcome": "held", "job_id": ID}), ReceiptOutcome.CREATED, None),
        (answered(410, {"outcome": "cancelled", "job_id": ID}), ReceiptOutcome.CREATED, None),
    ],
)
async def test_an_outcome_becomes_a_receipt(
    sender: Sender, answer: bytes, outcome: ReceiptOutcome, of_state: str | None
) -> None:
    (receipt,) = await sender.send(answer)
    assert (receipt.id, receipt.outcome, receipt.of_state) == (UUID(ID), outcome, of_state)
    assert sender.pauses == []


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (answered(410, {"outcome": "dead", "job_id": ID}), JobRefused, "is dead"),
        (answered(410, {"outcome": "expired", "job_id": ID}), InvalidJob, "expires_at: "),
        (answered(422, {"outcome": "rejected", "job_id": ID}), InvalidJob, "orgId: "),
        (answered(409, {"outcome": "in_flight"}), BackendUnavailable, "repeat the call"),
        (answered(422, {"error": "invalid", "message": "is bad", "field": "key"}), InvalidJob, "key: is bad"),
        (answered(413, {"error": "too_large", "message": "too large"}), InvalidJob, "envelope: too large"),
        (answered(401, {"error": "unauthorized", "message": "no"}), ConfigurationError, "JOB_CRON_SECRETS"),
        (answered(404), ConfigurationError, "JOB_TRIGGER_URL"),
        (answered(307, None, location="https://elsewhere/"), ConfigurationError, "JOB_TRIGGER_URL"),
        (answered(200), ConfigurationError, "JOB_TRIGGER_URL"),
        (answered(200, ["no", "object"]), ConfigurationError, "JOB_TRIGGER_URL"),
        (answered(500), BackendUnavailable, "not known"),
        (answered(200, {"outcome": "of a later version", "job_id": ID}), BackendUnavailable, "does not know"),
        (answered(200, {"outcome": "succeeded", "job_id": "no id"}), BackendUnavailable, "does not know"),
        (answered(200, {**DONE, "result": "x" * MAX_ANSWER}), ConfigurationError, "JOB_TRIGGER_URL"),
    ],
)
async def test_a_refusal_becomes_the_error_that_says_whose_fault_it_is(
    sender: Sender, answer: bytes, kind: type[JobsError], said: str
) -> None:
    error = await sender.refused(answer)
    assert isinstance(error, kind)
    assert said in str(error)


async def test_an_answer_that_says_it_is_compressed_and_is_not_is_nobody_s(sender: Sender) -> None:
    error = await sender.refused(reply(200, b"no gzip", content_encoding="gzip"))
    assert isinstance(error, ConfigurationError)


async def test_the_words_of_an_answer_write_no_lines_and_no_colours(sender: Sender) -> None:
    error = await sender.refused(answered(422, {"message": "\x1b[31mred\r\nline", "field": "a\x9bb\u202e"}))
    assert str(error).startswith("a b :  [31mred  line")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "no-such-scheme://user:hidden@proxy"), ("SSL_CERT_FILE", "/nowhere/hidden.pem")],
)
def test_an_environment_that_cannot_be_used_is_an_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="HTTP_PROXY") as refused:
        Caller(Place("http://127.0.0.1:9/trigger", SECRET))
    assert "hidden" not in str(refused.value)


def test_a_host_that_cannot_be_one_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="JOB_TRIGGER_URL"):
        Caller(Place("http://[v1.x]/trigger", SECRET))


async def test_the_words_of_an_answer_are_cut(sender: Sender) -> None:
    error = await sender.refused(answered(422, {"message": "x" * 100_000, "field": "y" * 100_000}))
    assert len(str(error)) < 1000


async def test_after_the_first_error_no_further_job_is_sent(sender: Sender) -> None:
    answers = [answered(200, DONE)] * 8 + [answered(422, {"message": "is bad", "field": "key"})]
    with pytest.raises(InvalidJob, match="8 of 100 jobs were accepted"):
        await sender.send(*answers, jobs=100)
    assert len(sender.receiver.requests) < 30


async def test_every_outcome_is_one_that_receipts_know(sender: Sender) -> None:
    """None falls through as created by accident: those that do are listed above."""
    created = set()
    for outcome in TriggerOutcome:
        try:
            (receipt,) = await sender.send(answered(200, {"outcome": outcome.value, "job_id": str(uuid4())}))
        except JobsError:
            continue
        if receipt.outcome is ReceiptOutcome.CREATED:
            created.add(outcome.value)
    assert created == {"succeeded", "accepted", "failed", "held", "cancelled"}
