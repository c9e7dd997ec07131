"""What holds for every request before any route sees it: ids, sizes, deadlines, strict JSON, HEAD and OPTIONS."""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter
from typing import Final
from urllib.parse import parse_qsl, unquote

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    INVALID,
    NOT_FOUND,
    TIMED_OUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA,
    Problem,
    method_not_allowed,
    too_slow,
)
from api.request_ids import request_id_of
from api.settings import Settings

KEPT_SLASH: Final = chr(0xDC2F)
"""Stands for an encoded slash in a path (a user's id may hold one): a lone surrogate can't come from a decoded path."""
SUCCESSORS: Final = {"/generate": b"/api/v1/plans/generate", "/status": b"/api/v1/plans/status"}
"""Older paths, by their first part, and what took their place."""
DEPRECATED_SINCE: Final = b"@1767225600"
"""RFC 9745: since 2026-01-01."""
SUNSET: Final = b"Thu, 01 Jul 2027 00:00:00 GMT"
"""RFC 8594: when they may go. Never less than six months after a release has said so."""
STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
NOT_BRACKET: Final = re.compile(rb"[^\[\]{}]+")


class Gone(Exception):
    """The client went away before its request was complete; nobody waits for an answer."""


class Guard:
    """An ASGI application around another. `allowed` says which methods a path takes (none: there is no such path)."""

    def __init__(self, application: ASGIApp, settings: Settings, allowed: Callable[[Scope], list[str]]) -> None:
        self._application = application
        self._settings = settings
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        started = perf_counter()
        headers = dict(reversed(scope["headers"]))
        request_id = request_id_of(headers.get(b"x-request-id"))
        is_head = scope["method"] == "HEAD"
        # A copy: the server looks at its own scope again when it writes the answer.
        scope = dict(scope, state=dict(scope.get("state") or {}, request_id=request_id.decode()))
        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                timing = b"total;dur=%.2f" % ((perf_counter() - started) * 1000)
                if (successor := SUCCESSORS.get("/" + scope["path"][1:].partition("/")[0])) is not None:
                    link = b"<" + successor + b'>; rel="successor-version"'
                    message = dict(
                        message, headers=[*message["headers"], (b"deprecation", DEPRECATED_SINCE), (b"sunset", SUNSET), (b"link", link)]
                    )
                message = dict(message, headers=[*message["headers"], (b"x-request-id", request_id), (b"server-timing", timing)])
            elif is_head and message["type"] == "http.response.body":
                message = dict(message, body=b"")
            await send(message)

        try:
            async with asyncio.timeout(self._settings.request_seconds) as patience:
                scope["state"]["patience"] = patience
                try:
                    self._check_head(scope, headers)
                    receive = await self._body(scope, headers, receive)
                    if is_head:
                        scope["method"] = "GET"
                    elif self._is_answered_here(scope, headers):
                        raise self._about_methods(scope)
                    await self._application(scope, receive, send_on)
                except Problem as problem:
                    await problem.response(request_id.decode())(scope, receive, send_on)
        except TimeoutError:
            if has_begun:
                raise
            await too_slow(self._settings.request_seconds).response(request_id.decode())(scope, receive, send_on)
        except Gone:
            pass
        except _Options as options:
            allow = ", ".join(options.methods).encode()
            await send_on({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
            await send_on({"type": "http.response.body", "body": b""})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._application(scope, receive, send)

    def _check_head(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        pairs = scope["headers"]
        settings = self._settings
        size = sum(len(name) + len(value) + 4 for name, value in pairs) + len(scope["raw_path"]) + len(scope["query_string"])
        if size > settings.header_bytes:
            raise Problem(HEAD_TOO_LARGE, f"Path and headers may have {settings.header_bytes} bytes.")
        for single in (b"host", b"authorization", b"content-length", b"content-type"):
            if sum(name == single for name, _ in pairs) > 1:
                raise Problem(BAD_REQUEST, f"The header {single.decode()} is there more than once.")
        if b"host" not in headers and scope["http_version"] != "1.0":
            raise Problem(BAD_REQUEST, "The Host header is missing.")
        seen: set[str] = set()
        for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if name in seen:
                raise Problem(INVALID, errors=[{"field": f"query.{name[:100]}", "message": "It is there more than once."}])
            seen.add(name)
        raw = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            parts = re.split(r"%2f", raw.decode("ascii"), flags=re.IGNORECASE)
            scope["path"] = KEPT_SLASH.join(unquote(part) for part in parts)

    def _is_answered_here(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        if scope["method"] == "OPTIONS":
            is_preflight = b"origin" in headers and b"access-control-request-method" in headers
            return not (is_preflight and self._settings.cors_origins)
        return scope["method"] not in ("GET", "POST", "PUT", "PATCH", "DELETE")

    def _about_methods(self, scope: Scope) -> Exception:
        methods = self._allowed(scope)
        if not methods:
            return Problem(NOT_FOUND)
        if scope["method"] == "OPTIONS":
            return _Options(methods)
        return method_not_allowed(methods)

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the whole body within its limits; the application gets it in one piece."""
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            return receive
        limit, seconds = self._settings.body_bytes, self._settings.body_seconds
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit():
            raise Problem(BAD_REQUEST, "Content-Length is not a number.")
        if len(announced) > 18 or int(announced) > limit:
            raise Problem(TOO_LARGE, f"A body may have {limit} bytes.")
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise Problem(TOO_LARGE, f"A body may have {limit} bytes.")
        except TimeoutError:
            raise Problem(TIMED_OUT, f"The body was not complete after {seconds:g} seconds.", headers={"Connection": "close"}) from None
        if body:
            self._check_json(scope, headers, bytes(body))
        whole = bytes(body)
        is_delivered = False

        async def replay() -> Message:
            nonlocal is_delivered
            if not is_delivered:
                is_delivered = True
                return {"type": "http.request", "body": whole, "more_body": False}
            return await receive()

        return replay

    def _check_json(self, scope: Scope, headers: dict[bytes, bytes], body: bytes) -> None:
        """Stricter than Python's own reader: no NaN, no Infinity, no number beyond a double, no lone surrogate, no endless nesting."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind in (b"", b"application/x-www-form-urlencoded") and body.lstrip()[:1] in (b"{", b"["):
            # What `curl -d '{…}'` sends. No form is ever read here, and cookies don't count, so the label carries nothing.
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"content-type"] + [(b"content-type", b"application/json")]
        elif not (kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))):
            raise Problem(UNSUPPORTED_MEDIA, headers={"Accept": "application/json"})
        if is_deeper(body, self._settings.json_depth):
            message = f"It is nested more than {self._settings.json_depth} levels deep."
            raise Problem(INVALID, message, errors=[{"field": "body", "message": message}])
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            message = str(error)
            raise Problem(INVALID, "The body is not valid JSON.", errors=[{"field": "body", "message": message}]) from None


class _Options(Exception):
    def __init__(self, methods: list[str]) -> None:
        super().__init__()
        self.methods = methods


def is_deeper(body: bytes, limit: int) -> bool:
    """Whether JSON is nested deeper than `limit`, found without parsing it (a parser may end the process first)."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in NOT_BRACKET.sub(b"", STRING.sub(b"", body)):
        if bracket in b"[{":
            depth += 1
            if depth > limit:
                return True
        else:
            depth -= 1
    return False
