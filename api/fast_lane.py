"""The fast lane: precomputed payloads past the framework. It knows one case, the common one, and leaves the rest to the routes.

A route that serves a precomputed payload declares its path here beside itself (`Precomputed`). A request goes through the fast lane
when its token was verified before, its path and query are exactly a declared one, and its headers ask for nothing special. It is then
answered by its connection (api/server.py) as soon as the payload is there: no task, no ASGI messages. Whatever else it is (a new token,
a wrong one, an unknown user, a database that is gone) takes the normal way, so that every error is made in one place.
tests/api/test_fast_lane.py sends each request both ways and compares the answers.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from api.auth import Verifier
from api.errors import Problem
from api.payloads import PayloadReader
from api.representation import Representation, answer, unchanged
from api.request_ids import next_request_id

if TYPE_CHECKING:
    from api.server import PatientProtocol

log = logging.getLogger("mesocycle.api")

SPECIAL: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"origin", b"expect", b"x-request-id", b"upgrade", b"if-modified-since")
)
"""Headers that the fast lane has no opinion on: with one of them the request goes the normal way."""
PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._~@:!$&'()*+,;=|-]{1,128}")
"""Ids that mean themselves in a path; those with an escape go the normal way."""
MANY: Final = 64
"""Headers; more go the normal way."""
COUNT_AT_ONCE: Final = 256
"""Answers between two updates of the histograms: counting each one alone costs a microsecond more."""
STATUS_LINES: Final = {200: b"HTTP/1.1 200 OK\r\n", 304: b"HTTP/1.1 304 Not Modified\r\n"}


@dataclass(frozen=True)
class Precomputed:
    """`path` + "/" + a user's id, with exactly one of these query strings, reads this resource of the user."""

    path: str
    resources: Mapping[bytes, str]


@dataclass
class Lane:
    """A declared route, and how many seconds its answers took since that was told last, by status."""

    template: str
    resources: Mapping[bytes, str]
    took: dict[int, list[float]] = field(default_factory=lambda: {200: [], 304: []})


class FastLane:
    """Finds the requests that it may answer, and answers them. `count` is told (route, status, seconds of many answers)."""

    def __init__(
        self,
        verifier: Verifier,
        reader: PayloadReader,
        routes: Sequence[Precomputed],
        *,
        header_bytes: int,
        count: Callable[[str, int, Sequence[float]], None],
    ) -> None:
        self._remembered = verifier.remembered
        self._reader = reader
        self._lanes = {route.path.encode(): Lane(route.path + "/{userId}", route.resources) for route in routes}
        self._count = count
        self._most_bytes = header_bytes - 64 * MANY - 1024  # names and path leave the rest

    def enter(self, connection: "PatientProtocol", url: bytes, pairs: list[tuple[bytes, bytes]]) -> "FastCycle | None":
        """The GET under way on the lane, or None where it must go the normal way. `pairs` are its headers, names in lower case."""
        path, _, query = url.partition(b"?")
        path, _, name = path.rpartition(b"/")
        lane = self._lanes.get(path)
        if lane is None or PLAIN_ID.fullmatch(name) is None:
            return None
        resource = lane.resources.get(query)
        if resource is None:
            return None
        headers = dict(pairs)
        if len(headers) != len(pairs) or b"host" not in headers or not SPECIAL.isdisjoint(headers):
            return None
        if len(pairs) > MANY or sum(map(len, headers.values())) > self._most_bytes:
            return None
        principal = self._remembered(headers.get(b"authorization", b""))
        user_id = name.decode()
        if principal is None or not (principal.is_service or principal.own_user_id == user_id):
            return None
        return FastCycle(self, lane, connection, url, user_id, resource, headers)

    def go(self, cycle: "FastCycle") -> None:
        """Read what the cycle asks for; it is answered now or when the payload is there."""
        wanted = cycle.headers.get(b"if-none-match")
        if wanted is not None:
            known = self._reader.unchanged(cycle.user_id, cycle.resource)
            if known is not None and known.etag == wanted:
                cycle.set_result(known)
                return
        self._reader.read_for(cycle, cycle.user_id, cycle.resource)

    def answered(self, lane: Lane, status: int, seconds: float) -> None:
        took = lane.took[status]
        took.append(seconds)
        if len(took) >= COUNT_AT_ONCE:
            self.hand_over()

    def hand_over(self) -> None:
        """Tell `count` what was not told yet."""
        for lane in self._lanes.values():
            for status, took in lane.took.items():
                if took:
                    self._count(lane.template, status, took)
                    took.clear()


class _Nobody:
    """Where uvicorn tells a cycle about its body: a request on the fast lane has none, and nobody waits for it."""

    def set(self) -> None:
        pass


class FastCycle:
    """One request and its answer, where uvicorn has its RequestResponseCycle; what the payload reader tells the outcome to."""

    __slots__ = (
        "connection",
        "disconnected",
        "headers",
        "keep_alive",
        "lane",
        "owner",
        "resource",
        "response_complete",
        "scope",
        "started",
        "url",
        "user_id",
    )
    message_event: Final = _Nobody()

    def __init__(
        self,
        owner: FastLane,
        lane: Lane,
        connection: "PatientProtocol",
        url: bytes,
        user_id: str,
        resource: str,
        headers: dict[bytes, bytes],
    ) -> None:
        self.started = perf_counter()
        self.owner = owner
        self.lane = lane
        self.connection = connection
        self.scope: Any = connection.scope
        self.url = url
        self.user_id = user_id
        self.resource = resource
        self.headers = headers
        self.response_complete = False
        self.keep_alive = True
        self.disconnected = False

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_result(self, found: Representation) -> None:
        try:
            self._answer(found)
        except Exception:
            # A defect of ours: without this the other requests of the same query would wait for ever.
            log.exception("an answer could not be written")
            self.connection.transport.abort()

    def _answer(self, found: Representation) -> None:
        if found.body:
            status, headers, body = answer(found, self.headers)
        elif (same := unchanged(found, self.headers)) is not None:
            status, headers, body = same
        else:
            self.connection.go_the_normal_way(self)
            return
        seconds = perf_counter() - self.started
        headers += ((b"x-request-id", next_request_id()), (b"server-timing", b"total;dur=%.2f" % (seconds * 1000)))
        self.connection.write_answer(self, STATUS_LINES[status], headers, body)
        self.owner.answered(self.lane, status, seconds)

    def set_exception(self, _problem: Problem) -> None:
        """The route finds out for itself, and answers it."""
        self.connection.go_the_normal_way(self)


def reachable(routes: Sequence[Precomputed]) -> list[Any]:
    """(path, query string, resource) of everything that the fast lane may serve: what a test walks."""
    return [(route.path, query.decode(), resource) for route in routes for query, resource in route.resources.items()]
