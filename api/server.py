"""uvicorn with patience that ends: half requests, endless heads and readers that don't read lose their connection.

uvicorn bounds how long an idle connection is kept, but not how long a request may take to arrive nor an answer to leave. One look
per second at all connections does that, at no cost per request.
"""

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from api.errors import BAD_REQUEST, HEAD_TOO_LARGE, MEDIA_TYPE, Problem
from api.fast_lane import EventCycle, FastCycle
from api.representation import Headers
from api.settings import Settings, load_settings

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from api.app import Application

LOOK_SECONDS: Final = 1.0
HEAD_SECONDS: Final = 10.0
"""From a request's first byte, or a connection's beginning, to the end of its head."""
WRITE_SECONDS: Final = 20.0
"""How long a client may leave an answer unread once the buffers are full."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, with limits on the head's bytes and on every wait."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since: float | None = self.loop.time()
        self._in_body_since: float | None = None
        self._stuck_since: float | None = None
        self._idle_since: float | None = None
        self._head_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._event: EventCycle | None = None
        application: Application = self.config.loaded_app
        self.header_bytes, self.body_seconds = application.state.settings.header_bytes, application.state.settings.body_seconds
        self._fast_lane = application.fast_lane
        _watch(self)

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        if self._waits_since is None and self._in_body_since is None and (self.cycle is None or self.cycle.response_complete):
            self._waits_since = self.loop.time()
        super().data_received(data)
        if self._waits_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.header_bytes and not self.transport.is_closing():
                self._refuse(Problem(HEAD_TOO_LARGE, f"Path and headers may have {self.header_bytes} bytes."))

    def on_headers_complete(self) -> None:
        self._waits_since = None
        self._head_bytes = 0
        if self._fast_lane is not None and self._is_common():
            cycle = self._fast_lane.enter(self, self.parser.get_method(), self.url, self.headers)
            if cycle is not None:
                self.cycle = cycle  # type: ignore[assignment]
                if isinstance(cycle, EventCycle):
                    self._event, self._in_body_since = cycle, self.loop.time()
                else:
                    self._fast_lane.read(cycle)
                return
        super().on_headers_complete()
        self._in_body_since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, EventCycle):
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body_since = None
        if isinstance(self.cycle, EventCycle):
            self.cycle.go()
        elif not isinstance(self.cycle, FastCycle):
            super().on_message_complete()

    def _is_common(self) -> bool:
        """HTTP/1.1 on a connection that stays and on which no other answer is under way."""
        parser = self.parser
        if not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return False
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def write_answer(self, cycle: FastCycle, status_line: bytes, headers: Headers, body: bytes) -> None:
        """Answer a request that went on the fast lane."""
        cycle.response_complete = True
        transport = self.transport
        if transport.is_closing():
            return
        head = b"".join([b"%b: %b\r\n" % pair for pair in (*self.server_state.default_headers, *headers)])
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"  # the server is told to end
        transport.write(b"%b%b%b%b" % (status_line, head, end, body))
        if not cycle.keep_alive:
            transport.close()
        self.on_response_complete()

    def go_the_normal_way(self, cycle: FastCycle) -> None:
        """Start the application's task for a request that the fast lane could not answer, with as much of its body as has come."""
        if self.transport.is_closing():
            return
        self._event = None
        path, _, query = cycle.url.partition(b"?")
        scope = cycle.scope
        scope["method"] = cycle.lane.method
        scope["raw_path"] = self.root_path.encode("ascii") + path
        scope["path"] = self.root_path + path.decode("ascii")
        scope["query_string"] = query
        normal = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        normal.body = bytearray(cycle.body)
        normal.more_body = not cycle.is_whole
        if normal.body or cycle.is_whole:
            normal.message_event.set()
        if self.cycle is cycle:  # else another request waits in the pipeline
            self.cycle = normal
        self._start_asgi_task(normal, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        """Nobody takes the answer under way. uvicorn tells only the last of several requests in a pipeline."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def on_response_complete(self) -> None:
        """As uvicorn does it, but an idle connection is found by the look per second: a timer per request costs more than its head."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()

    def pause_writing(self) -> None:
        self._stuck_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self._refuse(Problem(BAD_REQUEST, "This is not HTTP/1.1 as RFC 9112 has it."))

    def _refuse(self, problem: Problem) -> None:
        under_way = self.cycle if isinstance(self.cycle, FastCycle) else self._running
        if under_way is not None and not under_way.response_complete and (under_way is not self.cycle or self._in_body_since is None):
            # What is wrong is what follows a request that waits for its answer: it gets it, as the last one here.
            under_way.keep_alive = False
            return
        self._give_up()
        if self.transport.is_closing():
            return
        body = problem.body()
        status = f"{problem.kind.status} {problem.kind.title}"
        head = f"HTTP/1.1 {status}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()

    def look(self, now: float) -> None:
        """End the connection if its client keeps us waiting for too long."""
        if self.transport.is_closing():
            return
        if self._event is not None and not self._event.response_complete:
            self._event.look()
        if _is_over(self._stuck_since, WRITE_SECONDS, now):
            self.transport.abort()
        elif _is_over(self._waits_since, HEAD_SECONDS, now) or _is_over(self._idle_since, self.timeout_keep_alive, now):
            self.transport.close()
        elif _is_over(self._in_body_since, self.body_seconds + 5, now):
            self.transport.abort()  # the guard answers 408 before; here is who doesn't even take that


def _is_over(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since > seconds


_connections: weakref.WeakSet[PatientProtocol] = weakref.WeakSet()
_looking: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def _watch(protocol: PatientProtocol) -> None:
    _connections.add(protocol)
    if protocol.loop not in _looking:
        _looking.add(protocol.loop)
        protocol.loop.call_later(LOOK_SECONDS, _look, protocol.loop)


def _look(loop: asyncio.AbstractEventLoop) -> None:
    now = loop.time()
    for protocol in list(_connections):
        if protocol.loop is loop:
            protocol.look(now)
    loop.call_later(LOOK_SECONDS, _look, loop)


def application() -> "Application":
    """A worker's application. What it consists of stays for ever, so the garbage collector needn't look at it again and again:
    that took 50 ms and more, during which nobody was answered.
    """
    from api.app import create_app  # noqa: PLC0415 - in the worker, not in the process that starts workers

    made = create_app()
    gc.collect()
    gc.freeze()
    return made


def configuration(
    settings: Settings, *, host: str, port: int, workers: int = 1, application: "Application | None" = None
) -> uvicorn.Config:
    """How uvicorn serves the API; without an `application` each worker makes its own."""
    return uvicorn.Config(
        application or "api.server:application",
        factory=application is None,
        host=host,
        port=port,
        workers=workers,
        http="api.server:PatientProtocol",
        ws="none",
        loop="uvloop",
        access_log=False,  # 20 µs per request, and a place where a secret could leak
        server_header=False,
        proxy_headers=False,  # nothing here depends on the client's address
        timeout_keep_alive=75,  # longer than a load balancer's, so that it is the one who closes
        timeout_graceful_shutdown=settings.drain_seconds,
        backlog=1024,
    )


def serve(*, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. Raises SettingsInvalid before anything listens."""
    config = configuration(load_settings(), host=host, port=port, workers=workers)
    if workers > 1:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
    else:
        uvicorn.Server(config).run()
