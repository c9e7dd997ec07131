"""Onboarding over HTTP: events in, one or many; funnel and errors out."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field, ValidationError, WrapValidator

from api.auth import Principal, Scope
from api.dependencies import Postgres, Shape, requires
from api.errors import CONTRADICTION, FORBIDDEN, INVALID, NOT_BUILT, OVERLOADED, TOO_MANY, UNAUTHENTICATED, UNAVAILABLE, Problem, documented
from api.fast_lane import Reported
from api.onboarding import (
    MOST_EVENTS,
    Envelope,
    ErrorEvent,
    ErrorEvents,
    EventsTaken,
    EventStatus,
    EventWriter,
    OneErrorEvent,
    OneStepEvent,
    StepEvent,
    StepEvents,
    answer_to,
    parse,
)
from api.tracing import Tracing
from database.onboarding import READ_ERRORS, READ_FUNNEL

PREFIX = "/api/v1/onboarding"
FAST: Final = (Reported(f"{PREFIX}/step", StepEvent), Reported(f"{PREFIX}/error", ErrorEvent))
LONGEST_RANGE_DAYS = 1100

router = APIRouter(tags=["onboarding"])


def _as_it_came(value: Any, _: Any) -> Any:
    """The body's schema documents it; each event is judged by itself, so that a bad one costs only itself."""
    return value


StepBody = Annotated[
    OneStepEvent | StepEvents | Annotated[list[StepEvent], Field(min_length=1, max_length=MOST_EVENTS)], WrapValidator(_as_it_came)
]
ErrorBody = Annotated[
    OneErrorEvent | ErrorEvents | Annotated[list[ErrorEvent], Field(min_length=1, max_length=MOST_EVENTS)], WrapValidator(_as_it_came)
]
Sender = Annotated[Principal, requires(Scope.USER, Scope.SERVICE)]
TraceHeader = Annotated[str | None, Header(alias="traceparent", description="W3C trace context; counts for events without their own")]
TAKING: dict[str, Any] = {
    "status_code": 202,
    "response_model": EventsTaken,
    "responses": documented(UNAUTHENTICATED, FORBIDDEN, INVALID, TOO_MANY, UNAVAILABLE, OVERLOADED),
}


@router.post(f"{PREFIX}/step", summary="Report steps of a flow", operation_id="reportOnboardingSteps", **TAKING)
async def report_steps(request: Request, body: StepBody, caller: Sender, traceparent: TraceHeader = None) -> Response:
    """One event, or a batch of at most 500. Each is judged by itself; a retry of the same eventIds changes nothing."""
    return await _take(request, StepEvent, body, caller, traceparent)


@router.post(f"{PREFIX}/error", summary="Report errors in a flow", operation_id="reportOnboardingErrors", **TAKING)
async def report_errors(request: Request, body: ErrorBody, caller: Sender, traceparent: TraceHeader = None) -> Response:
    """Like steps, for what went wrong in one."""
    return await _take(request, ErrorEvent, body, caller, traceparent)


async def _take(
    request: Request, shape: type[StepEvent] | type[ErrorEvent], body: Any, caller: Principal, traceparent: str | None
) -> Response:
    received_at = datetime.now(UTC)
    try:
        envelope = Envelope.model_validate(body)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(["body", *map(str, fault["loc"])])
        message = f"A batch holds 1 to {MOST_EVENTS} events." if fault["loc"][:1] == ("events",) else fault["msg"]
        raise Problem(INVALID, f"{place}: {message}", errors=[{"field": place, "message": message}]) from None
    is_batch = envelope.events is not None
    items = envelope.events if envelope.events is not None else [body]
    if not items:
        raise Problem(INVALID, f"A batch holds 1 to {MOST_EVENTS} events.", errors=[{"field": "body.events", "message": "It is empty."}])
    incoming = parse(shape, items, caller=caller, sent_at=envelope.sent_at, received_at=received_at, traceparent=traceparent)
    writer: EventWriter = request.app.state.event_writer
    await writer.store(incoming)
    tracing: Tracing = request.app.state.tracing
    tracing.steps(item.row for item in incoming if item.row is not None and item.status is EventStatus.ACCEPTED)
    if not is_batch and (refusal := incoming[0].refusal) is not None:
        raise refusal
    return Response(answer_to(incoming), 202, media_type="application/json")


class Grain(StrEnum):
    DAY = "day"
    WEEK = "week"


class SegmentBy(StrEnum):
    PLATFORM = "platform"
    APP_VERSION = "appVersion"
    ACQUISITION_CHANNEL = "acquisitionChannel"

    @property
    def column(self) -> str:
        return {"appVersion": "app_version", "acquisitionChannel": "acquisition_channel"}.get(self.value, self.value)


class FunnelStep(Shape):
    cohort: date = Field(description="UTC day of entry, or the Monday of its week")
    segment: str = Field(description="(all) where no segment was asked for; (none) where it was unknown at entry")
    position: int
    step: str
    is_required: bool
    entered: int
    mature_entered: int = Field(description="Those whose window is over: rates are over these")
    reached: int
    completed: int = Field(description="Completed, or skipped where the step is optional")
    skipped: int
    dropped: int
    in_progress: int
    conversion_from_start: float | None
    conversion_from_start_low: float | None
    conversion_from_start_high: float | None
    conversion_from_previous: float | None
    conversion_from_previous_low: float | None
    conversion_from_previous_high: float | None
    conversion_from_start_change: float | None = Field(description="Difference from the cohort just before")
    conversion_from_previous_change: float | None
    average_seconds: float | None = Field(description="From the required step before to this one being done")
    p25_seconds: float | None
    median_seconds: float | None
    p75_seconds: float | None
    p90_seconds: float | None
    p95_seconds: float | None
    users_with_errors: int
    blocked: int
    recovered: int
    top_error: str | None


class StepError(Shape):
    cohort: date
    segment: str
    position: int
    step: str
    error_code: str
    users: int
    hits: int
    blocked: int
    recovered: int
    median_seconds_to_recover: float | None
    conversion_with_error: float | None
    conversion_without_error: float | None
    drop_odds_ratio: float | None = Field(
        description="Odds of not getting past the step with the error against without; 1 is no difference"
    )


class About(Shape):
    flow: str
    flow_version: int | None
    grain: Grain
    segment_by: str
    as_of: datetime | None = Field(description="The instant of the build that the numbers come from")
    data_through: datetime | None = Field(description="The last event that is counted")
    window_seconds: int | None = Field(description="How long a journey stays open")


class Funnel(About):
    steps: list[FunnelStep]


class FunnelErrors(About):
    errors: list[StepError]


READING: dict[str, Any] = {
    "dependencies": [requires(Scope.ANALYST)],
    "responses": documented(UNAUTHENTICATED, FORBIDDEN, CONTRADICTION, INVALID, UNAVAILABLE, OVERLOADED, NOT_BUILT),
}
FlowName = Annotated[str, Query(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9_.\-]*$", examples=["onboarding"])]
FlowVersion = Annotated[int | None, Query(alias="flowVersion", ge=1, le=32767, description="The newest where not sent")]
CohortFrom = Annotated[date | None, Query(alias="cohortFrom", description="First UTC day of entry", examples=["2026-02-01"])]
CohortTo = Annotated[date | None, Query(alias="cohortTo", description="Last UTC day of entry", examples=["2026-02-28"])]
Segment = Annotated[SegmentBy | None, Query(description="Split each cohort by this attribute at entry")]


@router.get(f"{PREFIX}/funnel", summary="Read the funnel of a flow", operation_id="readOnboardingFunnel", response_model=Funnel, **READING)
async def read_funnel(
    database: Postgres,
    flow: FlowName = "onboarding",
    flow_version: FlowVersion = None,
    cohort_from: CohortFrom = None,
    cohort_to: CohortTo = None,
    grain: Grain = Grain.WEEK,
    segment: Segment = None,
) -> Response:
    """One row per cohort, segment and step, precomputed. Who is inside the window is in progress, never dropped."""
    return await _read(database, READ_FUNNEL, flow, flow_version, cohort_from, cohort_to, grain, segment)


@router.get(
    f"{PREFIX}/errors",
    summary="Read what errors did in a flow",
    operation_id="readOnboardingErrors",
    response_model=FunnelErrors,
    **READING,
)
async def read_errors(
    database: Postgres,
    flow: FlowName = "onboarding",
    flow_version: FlowVersion = None,
    cohort_from: CohortFrom = None,
    cohort_to: CohortTo = None,
    grain: Grain = Grain.WEEK,
    segment: Segment = None,
) -> Response:
    """One row per cohort, segment, step and error code: whom it met, whom it stopped."""
    return await _read(database, READ_ERRORS, flow, flow_version, cohort_from, cohort_to, grain, segment)


async def _read(
    database: Postgres,
    query: str,
    flow: str,
    flow_version: int | None,
    cohort_from: date | None,
    cohort_to: date | None,
    grain: Grain,
    segment: SegmentBy | None,
) -> Response:
    if cohort_from and cohort_to and not 0 <= (cohort_to - cohort_from).days <= LONGEST_RANGE_DAYS:
        message = f"cohortTo must lie 0 to {LONGEST_RANGE_DAYS} days after cohortFrom."
        raise Problem(CONTRADICTION, message, errors=[{"field": "query.cohortTo", "message": message}])
    column = segment.column if segment else "(all)"
    row = await database.fetchrow(query, flow, flow_version, cohort_from, cohort_to, grain.value, column)
    assert row is not None
    return Response(row[0].encode(), media_type="application/json", headers={"Cache-Control": "private, no-cache"})
