"""A process that only sends jobs: the core and the cron distribution alone, no queue, no database driver."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from environments import Environment
from workspace import ROOT

SECRET = "whsec_c2VjcmV0LW9mLXRoZS1lbmRwb2ludC1pbi10ZXN0cw=="
JOB_ID = "0193a000-0000-7000-8000-000000000001"

ENQUEUE = """
import asyncio, importlib.util, json, sys
from jobs_exec import Client

async def main():
    async with Client.open({"JOB_QUEUE_BACKEND": "cron", "JOB_TRIGGER_URL": sys.argv[1], "JOB_CRON_SECRETS": sys.argv[2]}) as client:
        receipt = await client.enqueue(org_id="acme", type="report", data={"n": 1})
        try:
            client.backend.operator
        except Exception as error:
            print(json.dumps({
                "id": str(receipt.id),
                "setting": error.setting,
                "error": str(error),
                "loaded": sorted({"psycopg", "starlette", "uvicorn", "jobs_exec.executor"} & set(sys.modules)),
                "driver": importlib.util.find_spec("psycopg") is not None,
            }))

asyncio.run(main())
"""


class _Endpoint(BaseHTTPRequestHandler):
    calls: list[dict[str, object]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.calls.append({"signed": "webhook-signature" in self.headers, **json.loads(body)})
        answer = json.dumps({"outcome": "succeeded", "job_id": JOB_ID}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A URL that takes every call, and the calls."""
    calls: list[dict[str, object]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Endpoint", (_Endpoint,), {"calls": calls}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/trigger", calls
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sender_is_installed_without_a_queue_and_says_what_it_lacks_when_asked(
    dist: Path, tmp_path: Path, endpoint: tuple[str, list[dict[str, object]]]
) -> None:
    url, calls = endpoint
    environment = Environment.create(tmp_path / "sender")
    wheels = [str(next(dist.glob(f"{name}-*.whl"))) for name in ("jobs_exec", "jobs_exec_cron")]
    environment.pip("install", "--quiet", "-c", str(ROOT / "requirements.lock"), *wheels)
    done = environment.run("python", "-W", "error", "-c", ENQUEUE, url, SECRET)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["id"] == JOB_ID
    assert calls == [{"signed": True, "orgId": "acme", "type": "report", "data": {"n": 1}}]
    assert said["setting"] == "JOB_CRON_QUEUE"
    assert "pip install jobs-exec-table" in said["error"]
    assert (said["driver"], said["loaded"]) == (False, [])
