"""The rest of the dashboard, ready payloads all: timeline, top lifts, sets by muscle, record feed, peers."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import OwnUserId, Payloads, Postgres
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
from api.precomputed import ok, response_of, serve
from api.schemas import MuscleSets, Peers, RecordFeed, Timeline, TopLifts
from api.windows import read_timeline

RESOURCES = ("timeline", "top-lifts", "muscles", "record-feed", "peers")
"""Each is a path of its own and the name of its payload."""
FAST = tuple(Precomputed(f"/api/v1/{resource}", {b"": resource}) for resource in RESOURCES)

router = APIRouter(tags=["progress"])


def responses(model: type[Any], *problems: Any) -> dict[int | str, dict[str, Any]]:
    return ok(model) | documented(UNAUTHENTICATED, FORBIDDEN, USER_NOT_FOUND, *problems, INVALID, UNAVAILABLE, OVERLOADED, NOT_BUILT)


@router.get(
    "/api/v1/timeline/{userId}",
    summary="Read a user's weeks",
    response_class=Response,
    responses=responses(Timeline, CONTRADICTION),
)
async def read_weeks(
    request: Request,
    user_id: OwnUserId,
    payloads: Payloads,
    database: Postgres,
    first: Annotated[
        date | None, Query(alias="from", description="The first local date; the last 52 weeks where not sent", examples=["2026-01-01"])
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="With from: the last local date, today where not sent", examples=["2026-06-30"])
    ] = None,
) -> Response:
    """Volume, sets, minutes and workouts by ISO week, oldest first; weeks without a workout are left out.

    With `from`, only local dates from there to `to` count, also in the first and the last week.
    """
    if first is None and last is None:
        return await serve(request, payloads, user_id, "timeline")
    if first is None:
        raise Problem(CONTRADICTION, "to needs from.", errors=[{"field": "query.from", "message": "It is missing."}])
    return response_of(request, await read_timeline(database, user_id, first, last))


@router.get("/api/v1/top-lifts/{userId}", summary="Read a user's top lifts", response_class=Response, responses=responses(TopLifts))
async def read_top_lifts(request: Request, user_id: OwnUserId, payloads: Payloads) -> Response:
    """The up to five lifts performed most, with the weekly curve of their e1RM and its trend."""
    return await serve(request, payloads, user_id, "top-lifts")


@router.get("/api/v1/muscles/{userId}", summary="Read sets by muscle", response_class=Response, responses=responses(MuscleSets))
async def read_muscles(request: Request, user_id: OwnUserId, payloads: Payloads) -> Response:
    """Working sets beside planned ones, this ISO week and the last 28 days; indirect work counts half."""
    return await serve(request, payloads, user_id, "muscles")


@router.get("/api/v1/record-feed/{userId}", summary="Read new records", response_class=Response, responses=responses(RecordFeed))
async def read_record_feed(request: Request, user_id: OwnUserId, payloads: Payloads) -> Response:
    """The newest 50 improvements of a best weight or e1RM, with what they surpassed, newest first."""
    return await serve(request, payloads, user_id, "record-feed")


@router.get("/api/v1/peers/{userId}", summary="Compare a user with peers", response_class=Response, responses=responses(Peers))
async def read_peers(request: Request, user_id: OwnUserId, payloads: Payloads) -> Response:
    """Percentiles among the people of the same goal and experience level who trained in the last 30 days, in groups of 50 or more."""
    return await serve(request, payloads, user_id, "peers")
