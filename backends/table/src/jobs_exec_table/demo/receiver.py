"""The receiver of the demonstration: an HTTP/1.1 server on loopback, in a process of its own.

It verifies every signature with the Standard Webhooks library and counts by ``webhook-id``. The last part of the
path is the org, which decides the answer: 500 for ``broken``, 503 with Retry-After to the first delivery of each
job of ``busy``, 200 otherwise, 401 to whatever is not signed.

``python -m jobs_exec_table.demo.receiver`` reads the secret from its input, prints its port, answers each further line with
one of counts, and ends with its input, so it cannot outlive whoever started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field

from standardwebhooks import Webhook, WebhookVerificationError

from jobs_exec_table.demo.scenario import BROKEN, BUSY

_MAX_HEAD = 64 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 500: "Internal Server Error", 503: "Busy"}


@dataclass(slots=True)
class Ledger:
    """Answers by status, and the distinct webhook-ids behind them."""

    answers: Counter[int] = field(default_factory=Counter)
    ids: dict[int, set[str]] = field(default_factory=dict)

    def note(self, status: int, message_id: str) -> None:
        """Counts one answer."""
        self.answers[status] += 1
        self.ids.setdefault(status, set()).add(message_id)

    def knows(self, status: int, message_id: str) -> bool:
        """True when `message_id` has had this answer before."""
        return message_id in self.ids.get(status, ())

    def line(self) -> str:
        """JSON: ``{"200": [answers, distinct ids], ...}``."""
        return json.dumps({status: [count, len(self.ids[status])] for status, count in self.answers.items()})


class Judge:
    """What is answered to one delivery."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self.ledger = Ledger()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """The response to one request, counted."""
        message_id = headers.get("webhook-id", "")
        status = self._status(path.rpartition("/")[2], message_id, headers, body)
        self.ledger.note(status, message_id)
        return response(status, "retry-after: 1\r\n" if status == 503 else "")

    def _status(self, org_id: str, message_id: str, headers: dict[str, str], body: bytes) -> int:
        try:
            self._webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):
            return 401
        if org_id == BROKEN:
            return 500
        if org_id == BUSY and not self.ledger.knows(503, message_id):
            return 503
        return 200


def response(status: int, more: str = "") -> bytes:
    """A complete response without a body."""
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-length: 0\r\n{more}\r\n".encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests have a Content-Length or no body."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way to answer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (what create_server makes)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers every complete request that is in."""
        self._received += data
        while self._transport is not None and (answer := self._next()) is not None:
            self._transport.write(answer)

    def _next(self) -> bytes | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > _MAX_HEAD:
                self._refuse()
            return None
        line, *rest = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
        length = headers.get("content-length", "0")
        parts = line.split(" ")
        if len(parts) != 3 or not length.isdecimal():
            self._refuse()
            return None
        stop = end + 4 + int(length)
        if len(self._received) < stop:
            return None
        body = bytes(self._received[end + 4 : stop])
        del self._received[:stop]
        return self._judge.answer(parts[1], headers, body)

    def _refuse(self) -> None:
        """What is no HTTP gets one answer and the end of the connection."""
        if self._transport is not None:
            self._transport.write(response(400, "connection: close\r\n"))
            self._transport.close()
        self._transport = None


async def serve(secret: str) -> None:
    """Until the input ends."""
    judge, loop = Judge(secret), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(judge), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(judge.ledger.line(), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.readline().strip()))
