"""The endpoint as an ASGI app: routes, the executor behind them, and one place where every error becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs_exec.errors import ConfigurationError, JobsError, near_matches
from jobs_exec.inline import ExitReport, Host, build_host
from jobs_exec_cron.backend import CronBackend
from jobs_exec_cron.http.admitting import Entrance, Slots
from jobs_exec_cron.http.entering import Door
from jobs_exec_cron.http.holding import Held
from jobs_exec_cron.http.noting import Line
from jobs_exec_cron.http.reading import BodyRules
from jobs_exec_cron.http.refusing import Refused, answer, refusal_of
from jobs_exec_cron.http.ticking import Ticks
from jobs_exec_cron.http.triggering import ANY, TriggerRules, Triggers
from jobs_exec_cron.settings import CronSettings
from jobs_exec_cron.verifying import Verifier, required

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


def create_app(overrides: Mapping[str, str] | None = None) -> Endpoint:
    """An endpoint by the settings of this process; `overrides` come before them, by environment name.

    Its jobs run on the rows of the backend that ``JOB_CRON_QUEUE`` names, whatever the application enqueues with.
    Raises `ConfigurationError`, also when no way to verify callers is configured, and `PluginError`.
    """
    return Endpoint(build_host({**(overrides or {}), "JOB_QUEUE_BACKEND": "cron"}))


class Endpoint:
    """An ASGI app: ``POST /trigger``, ``POST /tick``, ``GET /livez``, ``GET /readyz``.

    It works between its start and its end, and answers 503 outside of them. Served by itself it starts with the
    server's lifespan. Mounted in another app it gets none: hand it over (``Starlette(lifespan=endpoint.lifespan)``), or
    enter `running` in the lifespan of your own. An app without lifespan (Django) is mounted beside it in a Starlette that
    has one. It does not open itself at the first call: what opens so is never closed, and running jobs would be lost to
    their lease at every deploy.
    """

    def __init__(self, host: Host, verifiers: Sequence[Verifier] | None = None) -> None:
        settings = host.loader.load(CronSettings)
        known = required(_configured(host) if verifiers is None else verifiers)
        if not settings.types:
            raise ConfigurationError(
                "JOB_CRON_TYPES", "is not set; list the job types that callers may trigger, or * for every one"
            )
        if settings.trigger_mode == "inline":
            _warn_of_unknown(settings.types, host)
        self._held = Held(host, settings.concurrency)
        self._app = _application(_routes(self._held, host, settings, known), self.lifespan)
        self.capacity = settings.concurrency + _entrance(settings)
        """Calls that are read or carried out at once, at most; for who serves it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works inside the block, once; at its end running jobs have ``JOB_SHUTDOWN_GRACE`` to end.

        Raises `BackendUnavailable` and `SchemaMismatch`.
        """
        async with self._held.open():
            yield

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """`running`, in the form that Starlette and FastAPI take."""
        async with self.running():
            yield

    @property
    def ready(self) -> bool:
        """True while calls are carried out."""
        return self._held.ready

    def stop(self) -> None:
        """Carries nothing more out; running jobs have the grace, and their callers get answers."""
        self._held.stop()

    def abort(self) -> None:
        """`stop`, and cancels what runs."""
        self._held.abort()

    async def ended(self) -> ExitReport:
        """Returns when it has ended, asked or by itself; for who serves it."""
        return await self._held.ended()


def _configured(host: Host) -> Sequence[Verifier]:
    if not isinstance(host.backend, CronBackend):
        raise ConfigurationError(
            "JOB_QUEUE_BACKEND", "must be cron for the endpoint; JOB_CRON_QUEUE names where jobs run"
        )
    return host.backend.verifiers()


def _warn_of_unknown(types: Sequence[str], host: Host) -> None:
    """A misspelt name opens nothing, and the calls that it was meant for are refused like those of strangers' types."""
    for name in types:
        if name != ANY and name not in host.job_types:
            near = near_matches(name, host.job_types)
            hint = f" Did you mean {near[0]}?" if near else " Import its module with JOB_MODULES."
            log.warning("JOB_CRON_TYPES names %s, which is not registered.%s", name, hint)


def _entrance(settings: CronSettings) -> int:
    """Enough that all slots can be refilled while as many callers again are slow."""
    return 2 * settings.concurrency + 16


def _routes(held: Held, host: Host, settings: CronSettings, verifiers: Sequence[Verifier]) -> list[Route]:
    door = Door(verifiers, Entrance(_entrance(settings)), BodyRules(settings.max_body_bytes, settings.body_seconds))
    rules = TriggerRules(frozenset(settings.types), settings.trigger_mode == "enqueue")
    slots = Slots(settings.concurrency, host.settings.org_max_share)

    def inline() -> Any:
        if not held.started:
            log.error("the endpoint was called before it was started; enter endpoint.running(), or pass its lifespan")
        return held.inline

    async def livez(_request: Request) -> Response:
        return answer(200, {"status": "alive"})

    async def readyz(_request: Request) -> Response:
        return answer(200, {"status": "ready"}) if held.ready else answer(503, {"status": "not ready"})

    return [
        _route("/trigger", Triggers(door, slots, rules, inline), "POST"),
        _route("/tick", Ticks(door, settings.tick_seconds, inline), "POST"),
        _route("/livez", livez, "GET"),
        _route("/readyz", readyz, "GET"),
    ]


def _route(path: str, handler: Handler, method: str) -> Route:
    async def handled(request: Request) -> Response:
        line = Line(request, path)
        response = await _answered(handler, request)
        line.write(response.status_code)
        return response

    return Route(path, handled, methods=[method])


async def _answered(handler: Handler, request: Request) -> Response:
    """Nothing is raised from here: what a server writes about an exception quotes it."""
    try:
        return await handler(request)
    except Exception as error:
        refused = refusal_of(error)
        if refused is None:
            log.error("a call failed: %s", _described(error))
            refused = Refused(500, "internal", "something went wrong here; its operator finds it in the log")
        return refused.response()


def _described(error: Exception) -> str:
    """Our own errors in full; of others class and line, since their words may quote a payload."""
    if isinstance(error, JobsError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return type(error).__name__ + where


def _application(routes: list[Route], lifespan: Callable[[Any], Any]) -> ASGIApp:
    async def unknown(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = error.headers if isinstance(error, HTTPException) else None
        Line(request, "(other)").write(status)
        word = "not_found" if status == 404 else "method_not_allowed"
        response = Refused(status, word, "there is nothing here for that").response()
        response.headers.update(headers or {})
        return response

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: unknown})
    app.router.redirect_slashes = False
    return app
