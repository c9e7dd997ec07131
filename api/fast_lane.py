"""The fast lane: the most common requests past the framework. It knows two cases and leaves the rest to the routes.

A route that serves a precomputed payload, and one that takes events, declares its path here beside itself (`Precomputed`, `Reported`). A
request goes through the fast lane when its token was verified before, its path and query are exactly a declared one, its headers ask for
nothing special and its body, where it has one, is a single good event. It is then answered by its connection (api/server.py) as soon as
the payload is there or the event is durable: no task, no ASGI messages. Whatever else it is (a new token, a wrong one, an unknown user, a
bad event, a batch, a database that is gone) takes the normal way, so that every error is made in one place; an event that was handed to
the writer is answered here, whatever becomes of it, because the normal way would hand it over once more.
tests/api/test_fast_lane.py and test_event_lane.py send each request both ways and compare the answers.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from api.auth import Principal, Scope, Verifier
from api.errors import Problem, answerable, too_slow
from api.guard import is_deeper
from api.onboarding import Envelope, ErrorEvent, EventWriter, Incoming, StepEvent, answer_to, parse
from api.payloads import PayloadReader
from api.rate_limits import WriteLimiter
from api.representation import IS_JSON, Headers, Representation, answer, unchanged
from api.request_ids import next_request_id
from api.settings import Settings

if TYPE_CHECKING:
    from api.server import PatientProtocol

log = logging.getLogger("mesocycle.api")

SPECIAL: Final = frozenset((b"transfer-encoding", b"origin", b"expect", b"x-request-id", b"upgrade"))
"""Headers that the fast lane has no opinion on: with one of them the request goes the normal way."""
SPECIAL_TO_READS: Final = SPECIAL | {b"content-length", b"if-modified-since"}
PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._~@:!$&'()*+,;=|-]{1,128}")
"""Ids that mean themselves in a path; those with an escape go the normal way."""
MANY: Final = 64
"""Headers; more go the normal way."""
EVENT_BYTES: Final = 8192
"""A body on the fast lane may have so many; an event has some 400."""
COUNT_AT_ONCE: Final = 256
"""Answers between two updates of the histograms: counting each one alone costs a microsecond more."""


@dataclass(frozen=True)
class Precomputed:
    """`path` + "/" + a user's id, with exactly one of these query strings, reads this resource of the user."""

    path: str
    resources: Mapping[bytes, str]


@dataclass(frozen=True)
class Reported:
    """A single event sent to `path` is stored as this shape."""

    path: str
    shape: type[StepEvent] | type[ErrorEvent]


@dataclass
class Lane:
    """A declared route, and how many seconds its answers took since that was told last, by status."""

    method: str
    template: str
    took: dict[int, list[float]] = field(default_factory=dict)


class FastLane:
    """Finds the requests that it may answer, and answers them. `count` is told (method, route, status, seconds of many answers)."""

    def __init__(
        self,
        settings: Settings,
        verifier: Verifier,
        routes: Sequence[Precomputed | Reported],
        *,
        reader: PayloadReader,
        writer: EventWriter,
        limiter: WriteLimiter,
        count: Callable[[str, str, int, Sequence[float]], None],
    ) -> None:
        self._settings = settings
        self._remembered = verifier.remembered
        self._reader = reader
        self._writer = writer
        self._limiter = limiter
        self._reads: dict[bytes, tuple[Lane, Mapping[bytes, str]]] = {}
        self._events: dict[bytes, tuple[Lane, type[StepEvent] | type[ErrorEvent]]] = {}
        for route in routes:
            if isinstance(route, Precomputed):
                self._reads[route.path.encode()] = Lane("GET", route.path + "/{userId}"), route.resources
            else:
                self._events[route.path.encode()] = Lane("POST", route.path), route.shape
        self._count = count
        self._most_bytes = settings.header_bytes - 64 * MANY - 1024  # names and path leave the rest

    def enter(
        self, connection: "PatientProtocol", method: bytes, url: bytes, pairs: list[tuple[bytes, bytes]]
    ) -> "ReadCycle | EventCycle | None":
        """The request under way on the lane, or None where it must go the normal way. `pairs` are its headers, names in lower case."""
        if method == b"GET":
            return self._enter_read(connection, url, pairs)
        if method == b"POST":
            return self._enter_event(connection, url, pairs)
        return None

    def _enter_read(self, connection: "PatientProtocol", url: bytes, pairs: list[tuple[bytes, bytes]]) -> "ReadCycle | None":
        path, _, query = url.partition(b"?")
        path, _, name = path.rpartition(b"/")
        found = self._reads.get(path)
        if found is None or PLAIN_ID.fullmatch(name) is None:
            return None
        lane, resources = found
        resource = resources.get(query)
        if resource is None:
            return None
        headers = self._headers(pairs, SPECIAL_TO_READS)
        if headers is None:
            return None
        principal = self._remembered(headers.get(b"authorization", b""))
        user_id = name.decode()
        if principal is None or not (principal.is_service or principal.own_user_id == user_id):
            return None
        return ReadCycle(self, lane, connection, url, headers, user_id, resource)

    def _enter_event(self, connection: "PatientProtocol", url: bytes, pairs: list[tuple[bytes, bytes]]) -> "EventCycle | None":
        found = self._events.get(url)
        if found is None:
            return None
        headers = self._headers(pairs, SPECIAL)
        if headers is None:
            return None
        length, kind = headers.get(b"content-length", b""), headers.get(b"content-type", b"")
        if not (length.isdigit() and len(length) < 6 and int(length) <= min(EVENT_BYTES, self._settings.body_bytes)):
            return None
        if kind.partition(b";")[0] != b"application/json":
            return None
        caller = self._remembered(headers.get(b"authorization", b""))
        if caller is None or caller.scopes.isdisjoint((Scope.USER, Scope.SERVICE)):
            return None
        lane, shape = found
        return EventCycle(self, lane, connection, url, headers, caller, shape)

    def _headers(self, pairs: list[tuple[bytes, bytes]], special: frozenset[bytes]) -> dict[bytes, bytes] | None:
        headers = dict(pairs)
        if len(headers) != len(pairs) or b"host" not in headers or not special.isdisjoint(headers):
            return None
        if len(pairs) > MANY or sum(map(len, headers.values())) > self._most_bytes:
            return None
        return headers

    def read(self, cycle: "ReadCycle") -> None:
        """Read what the cycle asks for; it is answered now or when the payload is there."""
        wanted = cycle.headers.get(b"if-none-match")
        if wanted is not None:
            known = self._reader.unchanged(cycle.user_id, cycle.resource)
            if known is not None and known.etag == wanted:
                cycle.set_result(known)
                return
        self._reader.read_for(cycle, cycle.user_id, cycle.resource)

    def submit(self, cycle: "EventCycle") -> tuple[list[Incoming], asyncio.Future[None]] | None:
        """The cycle's event, and when it is durable; None, and nothing was done, where the body isn't a single good event."""
        if is_deeper(cycle.body, self._settings.json_depth):
            return None
        try:
            event = orjson.loads(cycle.body)
            if type(event) is not dict or "events" in event:
                return None
            envelope = Envelope.model_validate(event)
        except (orjson.JSONDecodeError, ValidationError):
            return None
        trace = cycle.headers.get(b"traceparent")
        incoming = parse(
            cycle.shape,
            (event,),
            caller=cycle.caller,
            sent_at=envelope.sent_at,
            received_at=datetime.now(UTC),
            traceparent=trace.decode("latin-1") if trace is not None else None,
        )
        if incoming[0].row is None:
            return None
        try:
            self._limiter.count(cycle.caller)
            return incoming, self._writer.submit(incoming)
        except Problem:
            return None

    @property
    def request_seconds(self) -> float:
        return self._settings.request_seconds

    def answered(self, lane: Lane, status: int, seconds: float) -> None:
        took = lane.took.setdefault(status, [])
        took.append(seconds)
        if len(took) >= COUNT_AT_ONCE:
            self.hand_over()

    def hand_over(self) -> None:
        """Tell `count` what was not told yet."""
        for lane, _ in (*self._reads.values(), *self._events.values()):
            for status, took in lane.took.items():
                if took:
                    self._count(lane.method, lane.template, status, took)
                    took.clear()


class _Nobody:
    """Where uvicorn tells a cycle that something came: nobody waits for it on the fast lane."""

    def set(self) -> None:
        pass


class FastCycle:
    """One request and its answer, where uvicorn has its RequestResponseCycle."""

    __slots__ = (
        "body",
        "connection",
        "disconnected",
        "headers",
        "is_whole",
        "keep_alive",
        "lane",
        "owner",
        "response_complete",
        "scope",
        "started",
        "url",
    )
    message_event: Final = _Nobody()

    def __init__(self, owner: FastLane, lane: Lane, connection: "PatientProtocol", url: bytes, headers: dict[bytes, bytes]) -> None:
        self.started = perf_counter()
        self.owner = owner
        self.lane = lane
        self.connection = connection
        self.scope: Any = connection.scope
        self.url = url
        self.headers = headers
        self.body = b""
        self.is_whole = True
        self.response_complete = False
        self.keep_alive = True
        self.disconnected = False

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def _write(self, status: int, headers: Headers, body: bytes, request_id: bytes) -> None:
        seconds = perf_counter() - self.started
        headers += ((b"x-request-id", request_id), (b"server-timing", b"total;dur=%.2f" % (seconds * 1000)))
        self.connection.write_answer(self, _status_line(status), headers, body)
        self.owner.answered(self.lane, status, seconds)


_STATUS_LINES: Final[dict[int, bytes]] = {}


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        line = _STATUS_LINES[status] = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line


class ReadCycle(FastCycle):
    """Reads a payload; what the payload reader tells the outcome to."""

    __slots__ = ("resource", "user_id")

    def __init__(
        self,
        owner: FastLane,
        lane: Lane,
        connection: "PatientProtocol",
        url: bytes,
        headers: dict[bytes, bytes],
        user_id: str,
        resource: str,
    ) -> None:
        super().__init__(owner, lane, connection, url, headers)
        self.user_id = user_id
        self.resource = resource

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
        self._write(status, headers, body, next_request_id())

    def set_exception(self, _problem: Problem) -> None:
        """The route finds out for itself, and answers it."""
        self.connection.go_the_normal_way(self)


class EventCycle(FastCycle):
    """Stores one event."""

    __slots__ = ("caller", "incoming", "shape")

    def __init__(
        self,
        owner: FastLane,
        lane: Lane,
        connection: "PatientProtocol",
        url: bytes,
        headers: dict[bytes, bytes],
        caller: Principal,
        shape: type[StepEvent] | type[ErrorEvent],
    ) -> None:
        super().__init__(owner, lane, connection, url, headers)
        self.is_whole = False
        self.caller = caller
        self.shape = shape
        self.incoming: list[Incoming] = []

    def go(self) -> None:
        """The body is whole."""
        self.is_whole = True
        try:
            submitted = self.owner.submit(self)
        except Exception:
            # A defect of ours: raised here it would count as malformed HTTP. Nothing was handed to the writer.
            log.exception("an event could not be taken on the fast lane")
            submitted = None
        if submitted is None:
            self.connection.go_the_normal_way(self)
            return
        self.incoming, stored = submitted
        stored.add_done_callback(self._stored)

    def _stored(self, outcome: asyncio.Future[None]) -> None:
        error = outcome.exception()
        if self.done():
            return
        request_id = next_request_id()
        problem = self.incoming[0].refusal if error is None else answerable(error, request_id.decode())
        if problem is not None:
            self._refuse(problem, request_id)
            return
        body = answer_to(self.incoming)
        self._write(202, [(b"content-length", b"%d" % len(body)), IS_JSON], body, request_id)

    def _refuse(self, problem: Problem, request_id: bytes) -> None:
        response = problem.response(request_id.decode())
        self._write(response.status_code, list(response.raw_headers), bytes(response.body), request_id)

    def look(self) -> None:
        """Called once a second while it isn't answered.

        A body that dawdles is the guard's business; an event that isn't durable for so long is answered, as the guard answers others.
        """
        if not self.is_whole:
            self.connection.go_the_normal_way(self)
        elif perf_counter() - self.started > self.owner.request_seconds:
            self._refuse(too_slow(self.owner.request_seconds), next_request_id())


def reachable(routes: Sequence[Precomputed | Reported]) -> list[Any]:
    """(path, query string, resource) of every payload that the fast lane may serve: what a test walks."""
    return [
        (route.path, query.decode(), resource)
        for route in routes
        if isinstance(route, Precomputed)
        for query, resource in route.resources.items()
    ]
