"""The endpoint inside other applications: under a prefix, with their lifespan or without one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from databases import Database
from hosting import hosted
from serving import HANDLERS, SECRET, encoded, signed
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from jobs_exec.errors import BackendUnavailable, ConfigurationError
from jobs_exec.registry import isolated
from jobs_exec_cron.http import Endpoint, create_app


@pytest.fixture
def settings(migrated: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The settings of an application whose handlers are in a module of its own."""
    (tmp_path / "mounted_jobs.py").write_text(dedent(HANDLERS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with isolated():
        yield {
            "JOB_DATABASE_URL": migrated.url,
            "JOB_MODULES": "mounted_jobs",
            "JOB_CRON_SECRETS": SECRET,
            "JOB_CRON_TYPES": "*",
        }
    sys.modules.pop("mounted_jobs", None)


async def post(client: httpx.AsyncClient, path: str, body: object = None) -> httpx.Response:
    raw = encoded(body or {"orgId": "acme", "type": "echo"})
    return await client.post(path, content=raw, headers={"content-type": "application/json", **signed(raw)})


async def home(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("home")


async def test_by_itself_it_starts_and_ends_with_the_lifespan_of_the_server(settings: dict[str, str]) -> None:
    endpoint = create_app(settings)
    assert not endpoint.ready
    async with hosted(endpoint) as client:
        assert endpoint.ready
        assert (await post(client, "/trigger")).json()["outcome"] == "succeeded"
    assert not endpoint.ready


async def test_under_a_prefix_it_works_with_the_lifespan_handed_over(settings: dict[str, str]) -> None:
    """As for FastAPI, whose application is a Starlette: ``FastAPI(lifespan=jobs.lifespan)``."""
    jobs = create_app(settings)
    app = Starlette(routes=[Mount("/internal/jobs", jobs), Route("/", home)], lifespan=jobs.lifespan)
    async with hosted(app) as client:
        assert (await client.get("/")).text == "home"
        assert (await post(client, "/internal/jobs/trigger")).json()["outcome"] == "succeeded"
        assert (await client.get("/internal/jobs/readyz")).status_code == 200
        assert (await post(client, "/trigger")).status_code == 404


async def test_a_lifespan_of_the_applications_own_enters_it(settings: dict[str, str]) -> None:
    jobs = create_app(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with jobs.running():
            yield

    async with hosted(Starlette(routes=[Mount("/jobs", jobs)], lifespan=lifespan)) as client:
        assert (await post(client, "/jobs/trigger")).status_code == 200


async def test_an_application_without_lifespan_is_mounted_beside_it(settings: dict[str, str]) -> None:
    """As Django's: a plain ASGI callable that knows requests only."""

    async def django(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"Django can only handle ASGI/HTTP connections, not {scope['type']}")
        await PlainTextResponse("django")(scope, receive, send)

    jobs = create_app(settings)
    app = Starlette(routes=[Mount("/jobs", jobs), Mount("/", django)], lifespan=jobs.lifespan)
    async with hosted(app) as client:
        assert (await client.get("/anything")).text == "django"
        assert (await post(client, "/jobs/trigger")).status_code == 200


async def test_a_call_before_it_was_started_is_answered_503_and_the_log_says_how_to_start_it(
    settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    jobs = create_app(settings)
    async with hosted(Starlette(routes=[Mount("/jobs", jobs)])) as client:
        assert (await post(client, "/jobs/trigger")).status_code == 503
        assert (await client.get("/jobs/readyz")).status_code == 503
        assert (await client.get("/jobs/livez")).status_code == 200
    assert "endpoint.running()" in caplog.text


async def test_it_runs_once(settings: dict[str, str]) -> None:
    jobs = create_app(settings)
    async with jobs.running():
        pass
    with pytest.raises(RuntimeError, match="runs once"):
        async with jobs.running():
            pass


async def test_a_database_that_is_away_fails_the_start_by_name(settings: dict[str, str]) -> None:
    jobs = create_app({**settings, "JOB_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"})
    with pytest.raises(BackendUnavailable):
        async with jobs.running():
            pass


@pytest.mark.parametrize(
    ("without", "named"), [("JOB_CRON_SECRETS", "JOB_CRON_BEARER_DIGESTS"), ("JOB_CRON_TYPES", "JOB_CRON_TYPES")]
)
def test_it_is_closed_until_callers_and_types_are_configured(
    settings: dict[str, str], without: str, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        create_app({name: value for name, value in settings.items() if name != without})


@pytest.mark.parametrize(
    ("name", "value"),
    [("JOB_CRON_SECRETS", "whsec_c2hvcnQ="), ("JOB_CRON_SECRETS", "whsec_?"), ("JOB_CRON_BEARER_DIGESTS", "the-token")],
)
def test_a_secret_that_cannot_be_one_is_refused_without_being_shown(
    settings: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        create_app({**settings, name: value})
    assert value not in str(caught.value)


def test_a_host_of_another_backend_is_refused_with_the_next_step(settings: dict[str, str]) -> None:
    from jobs_exec.host import build_host

    with pytest.raises(ConfigurationError, match="JOB_QUEUE_BACKEND"):
        Endpoint(build_host({**settings, "JOB_QUEUE_BACKEND": "table"}))
