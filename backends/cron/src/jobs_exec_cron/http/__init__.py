"""The signed HTTP endpoint: ``jobs-exec serve``, or an ASGI app to mount in another one. Needs the extra ``[http]``.

::

    from jobs_exec_cron.http import create_app

    jobs = create_app()
    app = FastAPI(lifespan=jobs.lifespan)
    app.mount("/jobs", jobs)

``POST /trigger`` runs one job (or enqueues it), ``POST /tick`` claims and runs what is due, ``GET /livez`` and
``GET /readyz`` answer probes. See `Endpoint` for applications that have no lifespan.
"""

from __future__ import annotations

from jobs_exec.errors import PluginError

__all__ = ["Endpoint", "create_app"]

try:
    from jobs_exec_cron.http.application import Endpoint, create_app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
        raise
    raise PluginError(
        ["the endpoint needs Starlette and uvicorn, which are not installed"],
        "Install them with pip install 'jobs-exec-cron[http]'.",
    ) from error
