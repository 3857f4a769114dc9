"""How fast one executor process drains a full queue.

    python tests/benchmarks/drain.py --jobs 100000 --orgs 1 1000 --versions 18 15 --runs 5

Pre-enqueued no-op async jobs with payloads of 200 bytes, identity by payload, run records, durable commits (fsync and
synchronous_commit on), one process of `jobs-exec run --drain` with default settings and at most 4 connections. The
time is taken in SQL, from the first claim to the last settle. Prints the median of the runs as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

from databases import TEMPLATE, Database, fresh_database, make_template, running_server  # noqa: E402

FILL = """
insert into jobs.jobs_queue (org_id, type, identity, run_hash, digest, payload_digest, payload)
select 'org-' || lpad((i %% %(orgs)s)::text, 5, '0'), 'noop', 'payload', h,
    encode(substring(h from 1 for 16), 'hex')::uuid, gen_random_uuid(),
    json_build_object('n', i, 'text', repeat('x', 178))
from (select i, sha256(int4send(i)) as h from generate_series(1, %(jobs)s) i) s
"""
TIMES = """
select extract(epoch from max(finished_at) - min(first_claimed_at)), count(*) filter (where status = 'succeeded'),
    (select count(*) from jobs.jobs_queue)
from jobs.job_runs
"""
ENVIRONMENT = {"JOB_MODULES": "noop_jobs", "PYTHONPATH": str(HERE)}


def drain(database: Database, jobs: int, orgs: int, profile: Path | None) -> dict[str, float]:
    """One run; seconds in SQL, and what the process took."""
    with database.connect() as connection:
        connection.execute(FILL, {"orgs": orgs, "jobs": jobs})
        connection.execute("vacuum analyze jobs.jobs_queue")
        connection.execute("checkpoint")
    usage = _execute(database, profile)
    with psycopg.connect(database.url) as connection:
        seconds, succeeded, left = connection.execute(TIMES).fetchall()[0]
    assert (succeeded, left) == (jobs, 0), f"{succeeded} of {jobs} jobs succeeded, {left} are left"
    return {"seconds": float(seconds), "jobs_per_second": jobs / float(seconds), **usage}


def _execute(database: Database, profile: Path | None) -> dict[str, float]:
    """`jobs-exec run --drain` in a process of its own; its processor seconds and peak memory (MB)."""
    profiled = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiled, "-m", "jobs_exec", "run", "--drain"]
    environment = os.environ | ENVIRONMENT | {"JOB_DATABASE_URL": database.url}
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        assert child.returncode == 0, log.read().decode()[-4000:]
    return {"process_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each version and number of orgs."""
    for version in arguments.versions:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_server(version, Path(folder) / "server", fsync="on", shared_buffers="512MB") as server,
        ):
            make_template(server)
            for orgs in arguments.orgs:
                runs = []
                for _ in range(arguments.runs):
                    with fresh_database(server, TEMPLATE) as database:
                        runs.append(drain(database, arguments.jobs, orgs, arguments.profile))
                yield {"postgres": version, "orgs": orgs, "jobs": arguments.jobs, **_medians(runs)}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def main() -> None:
    """Parses the arguments and prints a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--orgs", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--versions", type=int, nargs="+", default=[18, 15])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", type=Path, help="write a cProfile of the executor here")
    for row in measure(parser.parse_args()):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
