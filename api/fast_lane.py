"""The fast lane: precomputed payloads past the framework. It knows one case, the common one, and leaves the rest to the routes.

A route that serves a precomputed payload declares its path here beside itself (`Precomputed`). A request goes through the fast lane
when its token was verified before, its path and query are exactly a declared one, and its headers ask for nothing special. Whatever
else it is (a new token, a wrong one, an unknown user, a database that is gone) is handed on untouched, so that every error is made in
one place. tests/api/test_fast_lane.py sends each request through both and compares the answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import Verifier
from api.errors import Problem
from api.payloads import PayloadReader
from api.representation import answer
from api.request_ids import next_request_id

SPECIAL: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"origin", b"expect", b"x-request-id", b"upgrade", b"if-modified-since")
)
"""Headers that the fast lane has no opinion on: with one of them the request goes the normal way."""
MANY: Final = 64
"""Headers; more go the normal way."""
COUNT_AT_ONCE: Final = 256
"""Answers between two updates of the histograms: counting each one alone costs a microsecond more."""


@dataclass(frozen=True)
class Precomputed:
    """`path` + "/" + a user's id, with exactly one of these query strings, reads this resource of the user."""

    path: str
    resources: Mapping[bytes, str]


@dataclass
class _Lane:
    """A declared route, and how many seconds its answers took since that was told last, by status."""

    template: str
    resources: Mapping[bytes, str]
    took: dict[int, list[float]] = field(default_factory=lambda: {200: [], 304: []})


class FastLane:
    """An ASGI application in front of another. `count` is told how long answers took, many at a time: (route, status, seconds)."""

    def __init__(
        self,
        application: ASGIApp,
        verifier: Verifier,
        reader: PayloadReader,
        routes: Sequence[Precomputed],
        *,
        header_bytes: int,
        count: Callable[[str, int, Sequence[float]], None],
    ) -> None:
        self._application = application
        self._remembered = verifier.remembered
        self._reader = reader
        self._lanes = {route.path: _Lane(route.path + "/{userId}", route.resources) for route in routes}
        self._count = count
        self._most_bytes = header_bytes - 64 * MANY - 1024  # names and path leave the rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        wanted = self._wanted(scope)
        if wanted is not None:
            lane, user_id, resource, headers = wanted
            try:
                found = self._reader.unchanged(user_id, resource) if b"if-none-match" in headers else None
                if found is None or found.etag != headers[b"if-none-match"]:
                    found = await self._reader.read(user_id, resource)
            except Problem:
                pass  # the route answers it
            else:
                status, response_headers, body = answer(found, headers)
                seconds = perf_counter() - started
                timing = b"total;dur=%.2f" % (seconds * 1000)
                response_headers += ((b"x-request-id", next_request_id()), (b"server-timing", timing))
                await send({"type": "http.response.start", "status": status, "headers": response_headers})
                await send({"type": "http.response.body", "body": body})
                took = lane.took[status]
                took.append(seconds)
                if len(took) >= COUNT_AT_ONCE:
                    self.hand_over()
                return
        await self._application(scope, receive, send)

    def hand_over(self) -> None:
        """Tell `count` what was not told yet."""
        for lane in self._lanes.values():
            for status, took in lane.took.items():
                if took:
                    self._count(lane.template, status, took)
                    took.clear()

    def _wanted(self, scope: Scope) -> tuple[_Lane, str, str, dict[bytes, bytes]] | None:
        """(lane, user id, resource, headers), or None where the request isn't ours."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        path, _, user_id = scope["path"].rpartition("/")
        lane = self._lanes.get(path)
        if lane is None or not user_id or b"%" in scope["raw_path"]:
            return None
        resource = lane.resources.get(scope["query_string"])
        if resource is None:
            return None
        pairs = scope["headers"]
        headers: dict[bytes, bytes] = dict(pairs)
        if len(headers) != len(pairs) or b"host" not in headers or not SPECIAL.isdisjoint(headers):
            return None
        if len(pairs) > MANY or sum(map(len, headers.values())) > self._most_bytes:
            return None
        principal = self._remembered(headers.get(b"authorization", b""))
        if principal is None or not (principal.is_service or principal.own_user_id == user_id):
            return None
        return lane, user_id, resource, headers


def reachable(routes: Sequence[Precomputed]) -> list[Any]:
    """(path, query string, resource) of everything that the fast lane may serve: what a test walks."""
    return [(route.path, query.decode(), resource) for route in routes for query, resource in route.resources.items()]
