"""`jobs-exec dev`: one command, and jobs run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from databases import server_folder

HANDLER = """
from jobs_exec import job

@job("greet")
async def greet(ctx, data: dict) -> str:
    return f"hello {data['name']} of {ctx.org_id}"
"""


@pytest.fixture
def project() -> Iterator[Path]:
    with server_folder() as folder:
        (folder / "app_jobs.py").write_text(HANDLER)
        yield folder


def jobs_exec(project: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs_exec", *arguments],
        cwd=project,
        env=environment | {"JOB_MODULES": "app_jobs"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_starts_everything_runs_jobs_and_ends_cleanly(project: Path) -> None:
    dev = jobs_exec(project, "dev")
    try:
        assert dev.stderr is not None
        seen = []
        for line in dev.stderr:
            seen.append(line)
            if "in another terminal" in line:
                break
        assert "PostgreSQL in .jobs/ ...\n" in seen
        (project / ".env").write_text("JOB_DATABASE_URL=embedded\n")
        arguments = ("enqueue", "greet", "--org", "acme", "--data", '{"name": "Ada"}', "--wait", "--json")
        done = jobs_exec(project, *arguments)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        assert "hello Ada of acme" in json.dumps(json.loads(out))
        dev.send_signal(signal.SIGTERM)
        _, rest = dev.communicate(timeout=60)
        assert dev.returncode == 0, rest
    finally:
        dev.kill()
        dev.communicate()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://postgres@/postgres?host={project}/.jobs/postgres")
