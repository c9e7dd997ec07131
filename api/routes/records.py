"""A user's personal records: one ready payload, or pages of it."""

import base64
import time
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request, Response

from api.dependencies import OwnUserId, Payloads
from api.errors import (
    CONTRADICTION,
    FORBIDDEN,
    INVALID,
    NOT_BUILT,
    OVERLOADED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    USER_NOT_FOUND,
    Problem,
    documented,
)
from api.fast_lane import Precomputed
from api.precomputed import ok, read_fresh_or_last, response_of, serve
from api.representation import Representation, entity_tag
from api.schemas import Records

PATH = "/api/v1/records"
RESOURCE: Final = "records"
FAST = Precomputed(PATH, {b"": RESOURCE})

router = APIRouter(tags=["progress"])
RESPONSES: dict[int | str, dict[str, Any]] = ok(Records) | documented(
    UNAUTHENTICATED, FORBIDDEN, USER_NOT_FOUND, CONTRADICTION, INVALID, UNAVAILABLE, OVERLOADED, NOT_BUILT
)


@router.get(f"{PATH}/{{userId}}", summary="Read a user's personal records", response_class=Response, responses=RESPONSES)
async def read_records(
    request: Request,
    user_id: OwnUserId,
    payloads: Payloads,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="Records per page; all where not sent", examples=[50])] = None,
    cursor: Annotated[str | None, Query(max_length=1000, description="nextCursor of the page before")] = None,
) -> Response:
    """The best weight, e1RM, repetitions and volumes of each exercise, newest first."""
    if limit is None and cursor is None:
        return await serve(request, payloads, user_id, RESOURCE)
    found, stale = await read_fresh_or_last(payloads, user_id, RESOURCE)
    return response_of(request, page_of(found, limit or 100, cursor), stale=stale)


def page_of(whole: Representation, limit: int, cursor: str | None) -> Representation:
    """The records after the one that `cursor` names; Problem CONTRADICTION where a build has moved that one away."""
    content = orjson.loads(whole.body)
    records = content["records"]
    start = 0
    if cursor is not None:
        places = [place for place, record in enumerate(records) if _cursor_at(record) == cursor]
        if not places:
            message = "It isn't of this list as it is now: start again without a cursor."
            raise Problem(CONTRADICTION, message, errors=[{"field": "query.cursor", "message": message}])
        start = places[0] + 1
    page = records[start : start + limit]
    content["records"] = page
    content["nextCursor"] = _cursor_at(page[-1]) if page and start + limit < len(records) else None
    body = orjson.dumps(content)
    return Representation(body, entity_tag(whole.build_key, body), whole.last_modified, whole.build_key, time.monotonic())


def _cursor_at(record: dict[str, Any]) -> str:
    """Names a record, not a place: exercise and type are unique among a user's records."""
    return base64.urlsafe_b64encode(orjson.dumps([record["exerciseId"], record["recordType"]])).decode().rstrip("=")
