"""OpenTelemetry: each request and each onboarding step joins the client's trace. Off unless the standard variables name a collector."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROPAGATOR: Final = TraceContextTextMapPropagator()
SWITCHES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """A collector is named, and neither OTEL_SDK_DISABLED nor OTEL_TRACES_EXPORTER=none says no."""
    named = any(environment.get(name) for name in SWITCHES)
    return named and environment.get("OTEL_SDK_DISABLED", "").lower() != "true" and environment.get("OTEL_TRACES_EXPORTER") != "none"


def exporting() -> SpanProcessor:
    """Sends spans to the collector that the environment names, from a thread of its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow, and mostly not wanted

    return BatchSpanProcessor(OTLPSpanExporter())


class Tracing:
    """Makes spans where a processor takes them; without one every method returns at once."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._provider: TracerProvider | None = None
        if processor is not None:
            name = os.environ.get("OTEL_SERVICE_NAME", "mesocycle-api")
            self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
            self._provider.add_span_processor(processor)
            self._tracer = self._provider.get_tracer("mesocycle.api")

    @property
    def is_on(self) -> bool:
        return self._provider is not None

    def steps(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """A span per stored event, as a child of the client's span: from its beginning to its instant."""
        if self._provider is None:
            return
        for row in rows:
            flow, version, step, kind, occurred_at, duration_ms, error_code, traceparent = *row[4:9], row[11], row[12], row[16]
            parent = PROPAGATOR.extract({"traceparent": traceparent}, otel_context.Context()) if traceparent else otel_context.Context()
            begun = occurred_at - timedelta(milliseconds=duration_ms or 0)
            span = self._tracer.start_span(
                f"{flow}/{step} {kind}",
                context=parent,
                start_time=_nanoseconds(begun),
                attributes={
                    "onboarding.flow": flow,
                    "onboarding.flow_version": version,
                    "onboarding.step": step,
                    "onboarding.event_type": kind,
                    "onboarding.event_id": str(row[0]),
                },
            )
            if error_code is not None or kind == "error":
                span.set_attribute("error.type", error_code or "(none)")
                span.set_status(Status(StatusCode.ERROR, error_code))
            span.end(_nanoseconds(occurred_at))

    def close(self) -> None:
        if self._provider is not None:
            self._provider.shutdown()

    def around(self, application: ASGIApp, routes: Sequence[BaseRoute]) -> ASGIApp:
        """The application with a server span per request, or itself where nobody takes spans."""
        return _Requests(application, self._tracer, routes) if self._provider is not None else application


class _Requests:
    def __init__(self, application: ASGIApp, tracer: Any, routes: Sequence[BaseRoute]) -> None:
        self._application = application
        self._tracer = tracer
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")
        }
        parent = PROPAGATOR.extract(headers, otel_context.Context())
        attributes = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        span = self._tracer.start_span(scope["method"], context=parent, kind=SpanKind.SERVER, attributes=attributes)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        try:
            await self._application(scope, receive, watched)
        finally:
            # A path may hold a user's id: only the route's pattern is told.
            matching = (route for route in self._routes if route.matches(scope)[0] is Match.FULL)
            route = getattr(next(matching, None), "path", None)
            if route:
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
            span.end()


def _nanoseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000_000) * 1000
