"""Payloads and secrets stay out of everything the engine says: logs, reprs, error texts."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from executing import PATIENCE, Backend, Probe
from pydantic import BaseModel

from jobs_exec import JobContext, job_type
from jobs_exec.contracts import Policy
from jobs_exec.executor import Mode, logs
from jobs_exec.executor.logs import masked

CANARY = "canary-3f9d"
DSN = f"postgresql://jobs:{CANARY}@db.internal:5432/jobs"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that is logged from DEBUG on, as the executor writes it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(stream, json=True, level=logging.DEBUG)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


class Secret(BaseModel):
    token: int


class DriverError(Exception):
    """What a driver raises: its text quotes the row."""


class Leaky(Backend):
    """A backend whose errors quote payloads."""

    async def settle(self, batch: Any) -> Any:
        if self.settlements == []:
            self.settlements.append(batch[0])
            raise DriverError(f"DETAIL: Failing row contains ({CANARY})")
        return await super().settle(batch)


async def test_no_payload_and_no_secret_is_in_any_line(lines: io.StringIO) -> None:
    let_go = threading.Event()

    async def fails(ctx: JobContext, data: dict[str, Any]) -> None:
        ctx.log.info("working")
        raise ValueError(f"boom {data}")

    async def hangs(ctx: JobContext, data: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    def stuck(ctx: JobContext, data: dict[str, Any]) -> None:
        let_go.wait(PATIENCE)

    async def misfit(ctx: JobContext, data: Secret) -> None: ...

    def observer(event: object) -> None:
        raise RuntimeError(CANARY)

    probe = Probe(
        job_type("fails", fails, max_attempts=1),
        job_type("hangs", hangs, timeout=0.01, max_attempts=1),
        job_type("stuck", stuck, timeout=0.01, max_attempts=1),
        job_type("misfit", misfit, payload=Secret, max_attempts=1),
        backend=Leaky,
        policy=Policy(poll_interval=0.01),
    )
    object.__setattr__(probe.host, "observers", (observer,))
    jobs = [await probe.enqueue(name, data={"secret": CANARY}) for name in ("fails", "hangs", "stuck")]
    misfits = await probe.enqueue("misfit", data={"token": 1})
    unreadable = await probe.enqueue("fails", data={"unreadable": True})
    for job_id, payload in ((misfits, f'{{"token": "{CANARY}"}}'), (unreadable, f'{{"a": "{CANARY}", "b": 1e999}}')):
        object.__setattr__(probe.harness.tables.queue[job_id].job, "payload", payload)
    async with probe.at_work() as executor:
        await probe.until(lambda figures: figures.dead == 5)
        assert CANARY not in repr(executor)
        let_go.set()
    said = lines.getvalue()
    assert "ValueError: boom {'secret': '...'}" in said, "what it quotes of the payload is taken out"
    assert "settle failed" in said
    assert "an observer failed" in said
    assert CANARY not in said
    for job_id in (*jobs[1:], misfits, unreadable):
        assert CANARY not in str((await probe.stored(job_id)).errors)


async def test_reprs_of_what_holds_a_payload_do_not_show_it() -> None:
    seen: list[str] = []

    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        seen.append(repr(ctx))
        seen.append(repr(ctx._attempt))  # type: ignore[attr-defined]

    probe = Probe(job_type("work", handler))
    await probe.enqueue(data={"secret": CANARY})
    await probe.run(Mode.DRAIN)
    assert len(seen) == 2
    assert CANARY not in "".join(seen)


async def test_a_line_is_one_json_object_with_the_fields_of_the_attempt(lines: io.StringIO) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None:
        ctx.log.info("working on %s", "it")

    probe = Probe(job_type("work", handler))
    job_id = await probe.enqueue(org="acme")
    await probe.run(Mode.DRAIN)
    (line,) = [json.loads(text) for text in lines.getvalue().splitlines() if "working on" in text]
    assert line["event"] == "working on it"
    assert (line["org_id"], line["job_id"], line["type"], line["attempt"]) == ("acme", str(job_id), "work", 1)
    assert (line["level"], line["executor"]) == ("info", str(probe.backend.joined[0]))


async def test_nothing_is_said_about_each_job_above_debug(lines: io.StringIO) -> None:
    async def handler(ctx: JobContext, data: dict[str, Any]) -> None: ...

    probe = Probe(job_type("work", handler))
    await probe.enqueue_each(20)
    await probe.run(Mode.DRAIN)
    said = [json.loads(text) for text in lines.getvalue().splitlines()]
    assert [line["event"] for line in said if line["level"] != "debug"] == [
        "executor started",
        "executor draining",
        "executor stopped",
    ]


def test_passwords_of_connection_strings_are_masked_whoever_logs_them(lines: io.StringIO) -> None:
    log = logging.getLogger("somebody.else")
    log.warning("cannot connect to %s", DSN)
    log.warning("cannot connect", extra={"dsn": f"host=db password={CANARY} user=jobs"})
    try:
        raise ConnectionError(DSN)
    except ConnectionError:
        log.exception("connect")
    assert all("********" in line for line in lines.getvalue().splitlines())
    assert CANARY not in lines.getvalue()


def test_a_text_without_passwords_stays_as_it_is() -> None:
    assert masked("see https://example.com/path?x=1") == "see https://example.com/path?x=1"


def test_a_terminal_gets_readable_lines_without_the_locals_of_a_traceback() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = Terminal()
    try:
        logs.configure(stream, json=False)
        hidden = CANARY
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("probe").exception("failed", extra={"org_id": "acme"})
        assert hidden
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "org_id" in stream.getvalue()
    assert "ValueError: boom" in stream.getvalue()
    assert stream.getvalue().count(CANARY) == 0
