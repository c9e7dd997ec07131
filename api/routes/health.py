"""Is the process alive, and may it get requests?"""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from api.dependencies import Payloads, Shape
from api.errors import NOT_BUILT, OVERLOADED, UNAVAILABLE, USER_NOT_FOUND, Problem, documented

router = APIRouter(tags=["operation"])


class Health(Shape):
    status: str = Field("ok", pattern="^ok$")


class Readiness(Shape):
    status: str = Field("ready", pattern="^ready$")
    database: str = Field("reachable", pattern="^reachable$")
    as_of: datetime = Field(description="The instant of the last successful build")
    built_at: datetime = Field(description="When that build finished")
    age_seconds: float = Field(description="How long ago that is")


@router.get("/healthz", summary="The process answers", responses=documented())
async def read_health(response: Response) -> Health:
    """Never touches the database: restart the process when this fails, not when the database is gone."""
    response.headers["Cache-Control"] = "no-store"
    return Health(status="ok")


READY: dict[int | str, dict[str, Any]] = documented(UNAVAILABLE, NOT_BUILT, OVERLOADED)


@router.get("/readyz", summary="The database answers and the marts are built", responses=READY)
async def read_ready(response: Response, payloads: Payloads) -> Readiness:
    """Asks the database, on the way that payloads take. 503 while it's gone, though last known answers may still be served."""
    response.headers["Cache-Control"] = "no-store"
    try:
        await payloads.read("", "")
    except Problem as problem:
        if problem.kind is not USER_NOT_FOUND:
            raise
    build = payloads.build
    if build is None:
        raise Problem(NOT_BUILT)
    age = (datetime.now(UTC) - build.finished_at).total_seconds()
    return Readiness(status="ready", database="reachable", as_of=build.as_of, built_at=build.finished_at, age_seconds=round(max(age, 0), 3))
