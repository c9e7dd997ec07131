"""How long answers take: histograms in memory, delivered to `ops` once a minute, and the same numbers for Prometheus.

A process that is killed loses at most its last minute. A batch that could not be delivered is kept and sent again with its number, under
which Postgres counts it once. Prometheus is told the sums over all processes, so it doesn't matter which one answers.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem
from api.postgres import Database
from database.api_latency import BOUNDS_MS, RECORD, TOTALS, Histogram

log = logging.getLogger("mesocycle.api")

MOST_BATCHES: Final = 120
"""Minutes that are kept while Postgres is gone; then the oldest goes, and the log says so."""
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
CLIENT_GONE: Final = 499
"""No answer was sent, because nobody waited for it any more (nginx's number)."""
UNKNOWN: Final = "(unknown)"

Key = tuple[int, str, str, int]
"""Minute since 1970, method, route, status."""


class Metrics:
    """Counts every answer of the applications that it is put around."""

    def __init__(self, database: Database, *, seconds: float = 60.0) -> None:
        self._database = database
        self._seconds = seconds
        self._process_id = str(uuid.uuid4())
        self._current: dict[Key, Histogram] = {}
        self._undelivered: deque[tuple[int, str]] = deque()
        self._batch = 0
        self._delivering = asyncio.Lock()
        self.sources: list[Callable[[], None]] = []
        """Called before each delivery: whoever counts aside, for speed, hands it over with `add_many`."""

    def around(self, application: ASGIApp, routes: Sequence[BaseRoute]) -> ASGIApp:
        """`application` with every answer counted under its route's template."""
        return _Counted(application, self, _Templates(routes))

    def add(self, method: str, route: str, status: int, milliseconds: float) -> None:
        key = (int(time.time()) // 60, method if method in METHODS else "(other)", route, status)
        histogram = self._current.get(key)
        if histogram is None:
            histogram = self._current[key] = Histogram()
        histogram.add(milliseconds)

    def add_many(self, method: str, route: str, status: int, seconds: Sequence[float]) -> None:
        """Count answers at once, under the minute that it is now."""
        key = (int(time.time()) // 60, method, route, status)
        histogram = self._current.setdefault(key, Histogram())
        for one in seconds:
            histogram.add(one * 1000)

    async def flush(self) -> bool:
        """Deliver what was counted; whether everything is delivered now. Never raises because of the database."""
        for hand_over in self.sources:
            hand_over()
        async with self._delivering:
            if self._current:
                counted, self._current = self._current, {}
                self._batch += 1
                self._undelivered.append((self._batch, _rows(counted.items())))
                if len(self._undelivered) > MOST_BATCHES:
                    self._undelivered.popleft()
                    log.error("a minute of latencies is lost: the database is gone for too long")
            while self._undelivered:
                number, rows = self._undelivered[0]
                try:
                    await self._database.fetchrow(RECORD, self._process_id, number, rows)
                except (Problem, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    log.warning("latencies can't be delivered, they are kept: %s", error)
                    return False
                self._undelivered.popleft()
            return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver once a minute, and what is left at the end."""
        task = asyncio.create_task(self._deliver_forever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    async def _deliver_forever(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def exposition(self, *, built_at: datetime | None) -> str:
        """What Prometheus reads (text format 0.0.4), over all processes and all time. Raises Problem while the database is gone."""
        await self.flush()
        rows = await self._database.fetch(TOTALS)
        return exposition(rows, built_at=built_at)


def exposition(rows: Iterable[Any], *, built_at: datetime | None) -> str:
    """Rows of ops.api_latency_totals as text in Prometheus' format."""
    name = "mesocycle_http_request_duration_seconds"
    lines = [f"# HELP {name} Time to answer, inside the API.", f"# TYPE {name} histogram"]
    for row in rows:
        labels = f'method="{row["method"]}",route="{row["route"]}",status="{row["status"]}"'
        up_to = 0
        for bound, hits in zip((*BOUNDS_MS, None), row["buckets"], strict=True):
            up_to += hits
            edge = "+Inf" if bound is None else f"{bound / 1000:g}"
            lines.append(f'{name}_bucket{{{labels},le="{edge}"}} {up_to}')
        lines.append(f"{name}_sum{{{labels}}} {row['total_ms'] / 1000:.9g}")
        lines.append(f"{name}_count{{{labels}}} {row['requests']}")
    if built_at is not None:
        gauge = "mesocycle_last_build_timestamp_seconds"
        lines += [f"# HELP {gauge} When the marts were built last.", f"# TYPE {gauge} gauge", f"{gauge} {built_at.timestamp():.3f}"]
    return "\n".join(lines) + "\n"


def _rows(counted: Iterable[tuple[Key, Histogram]]) -> str:
    rows = [
        {
            "minute": datetime.fromtimestamp(minute * 60, UTC).isoformat(),
            "method": method,
            "route": route,
            "status": status,
            "requests": histogram.requests,
            "total_ms": histogram.total_ms,
            "max_ms": histogram.max_ms,
            "buckets": histogram.buckets,
        }
        for (minute, method, route, status), histogram in counted
    ]
    return orjson.dumps(rows).decode()


class _Templates:
    """Paths to templates: fixed paths and those with one parameter at the end by a look into a dictionary, the others by pattern."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        paths = [(route.path, route.path_regex) for route in routes if hasattr(route, "path_regex") and hasattr(route, "path")]
        self._fixed = {path: path for path, _ in paths if "{" not in path}
        self._by_prefix = {
            path.rpartition("/")[0]: path for path, _ in paths if path.endswith("}") and path.count("{") == 1 and ":" not in path
        }
        self._patterns = [(pattern, path) for path, pattern in paths if "{" in path]

    def find(self, path: str) -> str:
        found = self._fixed.get(path)
        if found is None:
            prefix, _, last = path.rpartition("/")
            found = self._by_prefix.get(prefix) if last else None
        if found is None:
            found = next((template for pattern, template in self._patterns if pattern.match(path)), UNKNOWN)
        return found


class _Counted:
    def __init__(self, application: ASGIApp, metrics: Metrics, templates: _Templates) -> None:
        self._application = application
        self._add = metrics.add
        self._find = templates.find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = time.perf_counter()
        status = CLIENT_GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, watched)
        except Exception:
            status = 500
            raise
        finally:
            # As it was sent: an encoded slash in an id must not look like one of the path's own.
            route = self._find((scope.get("raw_path") or scope["path"].encode()).decode("latin-1"))
            if route.endswith("/status/{jobId}") and any(name == b"prefer" and b"wait" in value for name, value in scope["headers"]):
                route += " (waiting)"  # it was asked to take long: its time says nothing about the API
            self._add(scope["method"], route, status, (time.perf_counter() - started) * 1000)
