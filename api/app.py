"""Builds the application: routes, lanes, errors. Nothing connects before the lifespan begins.

Run it with `python -m api --port 8000`. Any ASGI server can (`uvicorn api.app:create_app --factory --no-access-log`), without the fast lane.
The environment must hold MESOCYCLE_API_DATABASE_URL (of the role mesocycle_api) and one source of keys: MESOCYCLE_API_JWKS (the set
itself), MESOCYCLE_API_JWKS_FILE or MESOCYCLE_API_JWKS_URL. api/settings.py lists the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from pydantic.alias_generators import to_camel
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from api import errors
from api.auth import Verifier
from api.fast_lane import FastLane, Precomputed, Reported
from api.guard import Guard
from api.metrics import Metrics
from api.onboarding import EventWriter
from api.payloads import PayloadReader
from api.plan_jobs import JobChanges
from api.postgres import Database
from api.rate_limits import WriteLimiter
from api.routes import health, metrics, onboarding, plan_requests, plans, progress, readiness, records, summary
from api.settings import Settings, load_settings
from api.tracing import Tracing, exporting, is_wanted

ROUTERS: Final[Sequence[APIRouter]] = (
    summary.router,
    records.router,
    progress.router,
    plan_requests.router,
    plans.router,
    onboarding.router,
    readiness.router,
    metrics.router,
    health.router,
)
FAST: Final[Sequence[Precomputed | Reported]] = (summary.FAST, records.FAST, plans.FAST, *progress.FAST, *onboarding.FAST)

DESCRIPTION: Final = """
Precomputed training summaries, personal records, plans and onboarding funnels.

**Errors** are RFC 9457 problem details; branch on `type`, it is stable. **Caching**: every user resource has a strong `ETag`; send it as
`If-None-Match`. **Compatibility**: within `/api/v1` members and parameters are only added, so ignore what you don't know. What will go is
marked deprecated here and answers with `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and a `Link` to its successor, for six months at least.
"""


class Application(FastAPI):
    """FastAPI behind the guard; `fast_lane` is what api/server.py asks first."""

    settings: Settings
    fast_lane: FastLane | None = None

    def protect(self, settings: Settings, verifier: Verifier, reader: PayloadReader) -> None:
        routes = [route for router in ROUTERS for route in router.routes]
        metrics: Metrics = self.state.metrics
        self._front: Any = metrics.around(Guard(super().__call__, settings, self.allowed_methods), routes)
        self._front = self.state.tracing.around(self._front, routes)
        if settings.fast_lane and not self.state.tracing.is_on:  # a collector is told of every request, so all go the normal way
            self.fast_lane = FastLane(
                settings,
                verifier,
                FAST,
                reader=reader,
                writer=self.state.event_writer,
                limiter=self.state.write_limiter,
                count=metrics.add_many,
            )
            metrics.sources.append(self.fast_lane.hand_over)

    def openapi(self) -> dict[str, Any]:
        """The document, with the shape that every error has."""
        if not self.openapi_schema:
            document = super().openapi()
            document["components"]["schemas"] |= errors.schemas()
        return super().openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._front(scope, receive, send)

    def allowed_methods(self, scope: Scope) -> list[str]:
        """The methods that the scope's path takes; none where there is no such path."""
        methods = [
            method
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
            if any(route.matches(dict(scope, method=method))[0] is Match.FULL for route in self.router.routes)
        ]
        if "GET" in methods:
            methods.insert(1, "HEAD")
        return [*methods, "OPTIONS"] if methods else []


def create_app(settings: Settings | None = None) -> Application:
    """The application; settings come from the environment where none are given. Raises SettingsInvalid in a sentence."""
    settings = settings or load_settings()
    verifier = Verifier(settings)
    reader = PayloadReader(settings)
    database = Database(settings)
    job_changes = JobChanges(settings, database)
    application = Application(
        title="Mesocycle",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from a stranger's host
        redoc_url=None,
        lifespan=partial(lifespan, verifier=verifier, reader=reader, database=database, job_changes=job_changes),
        generate_unique_id_function=operation_id,
        strict_content_type=False,  # the guard decides what a body is
        redirect_slashes=False,
    )
    application.state.settings = settings
    application.state.verifier = verifier
    application.state.reader = reader
    application.state.database = database
    application.state.job_changes = job_changes
    application.state.write_limiter = WriteLimiter(settings)
    application.state.event_writer = EventWriter(database)
    application.state.metrics = Metrics(database)
    application.state.tracing = Tracing(exporting() if is_wanted() else None)
    if settings.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["authorization", "content-type", "if-none-match", "idempotency-key", "prefer", "traceparent", "x-request-id"],
            expose_headers=["etag", "last-modified", "location", "retry-after", "server-timing", "warning", "x-request-id"],
            max_age=3600,
        )
    errors.install(application)
    for router in ROUTERS:
        application.include_router(router)
    application.protect(settings, verifier, reader)
    return application


@asynccontextmanager
async def lifespan(
    application: FastAPI, *, verifier: Verifier, reader: PayloadReader, database: Database, job_changes: JobChanges
) -> AsyncIterator[None]:
    """Owns what runs beside requests: the keys' watch, the payload reader, the listener for plan jobs, the pool."""
    watch = asyncio.create_task(verifier.ring.watch())
    await reader.start()
    try:
        async with job_changes.running(), application.state.event_writer.running(), application.state.metrics.running():
            yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await reader.close()
        await database.close()
        application.state.tracing.close()


def operation_id(route: APIRoute) -> str:
    """The function's name in camelCase: what a generated client calls it."""
    return to_camel(route.name)
