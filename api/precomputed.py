"""How a route answers with a precomputed payload: read, or what was read last while Postgres is gone."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.errors import UNAVAILABLE, Problem
from api.payloads import PayloadReader
from api.representation import Headers, Representation, answer
from domain.vocabulary import SummaryRange

DEFAULT_RANGE = SummaryRange.DAYS_30


def response_of(request: Request, found: Representation, *, stale: bool = False) -> Response:
    """The answer to a GET with this representation: 200, or 304 where the caller has it already."""
    return response_with(*answer(found, dict(request.scope["headers"]), stale=stale))


def response_with(status: int, headers: Headers, body: bytes) -> Response:
    response = Response(status_code=status)
    response.body = body
    response.raw_headers = headers
    return response


async def read_fresh_or_last(reader: PayloadReader, user_id: str, resource: str) -> tuple[Representation, bool]:
    """(representation, whether it's a last known one). Raises what PayloadReader.read does."""
    try:
        return await reader.read(user_id, resource), False
    except Problem as problem:
        known = reader.last_known(user_id, resource) if problem.kind is UNAVAILABLE else None
        if known is None:
            raise
        return known, True


async def serve(request: Request, reader: PayloadReader, user_id: str, resource: str) -> Response:
    """A user's precomputed resource, as the fast lane would answer it."""
    found, stale = await read_fresh_or_last(reader, user_id, resource)
    return response_of(request, found, stale=stale)


def ok(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a precomputed resource: its shape, its caching headers, and 304."""
    headers = {
        "ETag": {"description": "Strong; changes with the content and with the build", "schema": {"type": "string"}},
        "Last-Modified": {"description": "When the build finished", "schema": {"type": "string"}},
        "Cache-Control": {"description": "private, no-cache: keep it, and ask each time", "schema": {"type": "string"}},
        "Warning": {"description": "110 while the database is gone and this is the last known answer", "schema": {"type": "string"}},
        "Age": {"description": "With Warning: seconds since the answer was read", "schema": {"type": "integer"}},
    }
    return {
        200: {"model": model, "description": "The numbers of the last build", "headers": headers},
        304: {"description": "What If-None-Match or If-Modified-Since names still holds", "headers": dict(list(headers.items())[:3])},
    }
