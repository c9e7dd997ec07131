"""Is version 3 ready, and why not: the scorecard."""

from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Scope
from api.dependencies import Postgres, Shape, requires
from api.errors import FORBIDDEN, NOT_BUILT, OVERLOADED, UNAUTHENTICATED, UNAVAILABLE, documented
from database.readiness import READ

router = APIRouter(tags=["operation"])


class Criterion(Shape):
    criterion: str = Field(examples=["dashboard_use"])
    label: str
    description: str
    unit: str = Field(description="share (0 to 1), ms or users")
    direction: str = Field(description="below: met while value < target; at_least: met while value >= target")
    target: float
    baseline: float | None = Field(description="What it was when the project began")
    value: float | None = Field(description="Null while there is nothing to measure")
    window_days: int
    sample: float = Field(description="How many users, answers or journeys the value rests on")
    trend: float | None = Field(description="Change of the value against one window earlier")
    trend_means: str = Field(description="better, worse, steady or unknown")
    is_met: bool = Field(description="Never true without data")
    verdict: str = Field(description="met, missed or no data")
    since_on: date = Field(description="First day of the unbroken run of days in which it was met, or wasn't")
    last_met_on: date | None
    evidence: str = Field(description="SQL over the marts that computes the value anew")


class Scorecard(Shape):
    as_of: datetime | None
    is_ready: bool = Field(description="Every criterion is met")
    missing: list[str] = Field(description="Criteria that are not met")
    criteria: list[Criterion]


RESPONSES: dict[int | str, dict[str, Any]] = documented(UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE, OVERLOADED, NOT_BUILT)


@router.get(
    "/api/v1/readiness",
    summary="Read the scorecard",
    operation_id="readReadiness",
    response_model=Scorecard,
    responses=RESPONSES,
    dependencies=[requires(Scope.ANALYST, Scope.SERVICE)],
)
async def read_readiness(database: Postgres) -> Response:
    """Each promise of version 3 with its target, its value now, its trend and the query that proves it."""
    row = await database.fetchrow(READ)
    assert row is not None
    return Response(row[0].encode(), media_type="application/json", headers={"Cache-Control": "private, no-cache"})
