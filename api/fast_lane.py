"""The fast lane: precomputed payloads past the framework. It knows one case, the common one, and leaves the rest to the routes.

A route that serves a precomputed payload declares its path here beside itself (`Precomputed`). A request goes through the fast lane
when its token was verified before, its path and query are exactly a declared one, and its headers ask for nothing special. Whatever
else it is (a new token, a wrong one, an unknown user, a database that is gone) is handed on untouched, so that every error is made in
one place. tests/api/test_fast_lane.py sends each request through both and compares the answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import Verifier
from api.errors import Problem
from api.payloads import PayloadReader
from api.representation import NOSNIFF, answer
from api.request_ids import next_request_id

SPECIAL: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"origin", b"expect", b"x-request-id", b"upgrade", b"if-modified-since")
)
"""Headers that the fast lane has no opinion on: with one of them the request goes the normal way."""


@dataclass(frozen=True)
class Precomputed:
    """`path` + "/" + a user's id, with exactly one of these query strings, reads this resource of the user."""

    path: str
    resources: Mapping[bytes, str]


class FastLane:
    """An ASGI application in front of another."""

    def __init__(
        self, application: ASGIApp, verifier: Verifier, reader: PayloadReader, routes: Sequence[Precomputed], *, header_bytes: int
    ) -> None:
        self._application = application
        self._remembered = verifier.remembered
        self._reader = reader
        self._resources: dict[str, Mapping[bytes, str]] = {route.path: route.resources for route in routes}
        self._header_bytes = header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = self._wanted(scope)
        if wanted is not None:
            user_id, resource, headers = wanted
            started = perf_counter()
            try:
                found = self._reader.unchanged(user_id, resource) if b"if-none-match" in headers else None
                if found is None or found.etag != headers[b"if-none-match"]:
                    found = await self._reader.read(user_id, resource)
            except Problem:
                pass  # the route answers it
            else:
                status, response_headers, body = answer(found, headers)
                response_headers.append(NOSNIFF)
                response_headers.append((b"x-request-id", next_request_id()))
                response_headers.append((b"server-timing", b"total;dur=%.2f" % ((perf_counter() - started) * 1000)))
                await send({"type": "http.response.start", "status": status, "headers": response_headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self._application(scope, receive, send)

    def _wanted(self, scope: Scope) -> tuple[str, str, dict[bytes, bytes]] | None:
        """(user id, resource, headers), or None where the request isn't ours."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        path, _, user_id = scope["path"].rpartition("/")
        resources = self._resources.get(path)
        if resources is None:
            return None
        resource = resources.get(scope["query_string"])
        pairs = scope["headers"]
        headers: dict[bytes, bytes] = dict(pairs)
        if (
            resource is None
            or not user_id
            or b"%" in scope["raw_path"]
            or len(headers) != len(pairs)
            or b"host" not in headers
            or not SPECIAL.isdisjoint(headers)
            or sum(map(len, headers.values())) > self._header_bytes // 2
        ):
            return None
        principal = self._remembered(headers.get(b"authorization", b""))
        if principal is None or not (principal.is_service or principal.own_user_id == user_id):
            return None
        return user_id, resource, headers


def reachable(routes: Sequence[Precomputed]) -> list[Any]:
    """(path, query string, resource) of everything that the fast lane may serve: what a test walks."""
    return [(route.path, query.decode(), resource) for route in routes for query, resource in route.resources.items()]
