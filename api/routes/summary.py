"""A user's progress: fixed ranges are ready payloads, custom windows are one query over `marts.user_days`."""

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
from api.precomputed import DEFAULT_RANGE, ok, response_of, serve
from api.schemas import Summary, WindowSummary
from api.windows import read_window
from domain.vocabulary import SummaryRange

PATH = "/api/v1/summary"
FAST = Precomputed(
    PATH,
    {b"": f"summary/{DEFAULT_RANGE}"} | {f"range={summary_range}".encode(): f"summary/{summary_range}" for summary_range in SummaryRange},
)

router = APIRouter(tags=["progress"])
RESPONSES: dict[int | str, dict[str, Any]] = ok(Summary | WindowSummary) | documented(  # type: ignore[arg-type]
    UNAUTHENTICATED, FORBIDDEN, USER_NOT_FOUND, CONTRADICTION, INVALID, UNAVAILABLE, OVERLOADED, NOT_BUILT
)


@router.get(f"{PATH}/{{userId}}", summary="Read a user's progress", response_class=Response, responses=RESPONSES)
async def read_summary(
    request: Request,
    user_id: OwnUserId,
    payloads: Payloads,
    database: Postgres,
    summary_range: Annotated[
        SummaryRange | None, Query(alias="range", description="Local dates up to today, both ends in; 30d where nothing is sent")
    ] = None,
    first: Annotated[
        date | None, Query(alias="from", description="Instead of range: the first local date", examples=["2026-01-01"])
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="With from: the last local date, today where not sent", examples=["2026-01-31"])
    ] = None,
) -> Response:
    """Workouts, sets, volume, streaks and adherence, as of the last build (`asOf`)."""
    if first is None and last is None:
        return await serve(request, payloads, user_id, f"summary/{summary_range or DEFAULT_RANGE}")
    if summary_range is not None:
        raise Problem(
            CONTRADICTION, "Send either range or from and to.", errors=[{"field": "query.range", "message": "Not together with from."}]
        )
    if first is None:
        raise Problem(CONTRADICTION, "to needs from.", errors=[{"field": "query.from", "message": "It is missing."}])
    return response_of(request, await read_window(database, user_id, first, last))
