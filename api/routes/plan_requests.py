"""A new plan on request: the request is recorded and answered at once, the plan worker does the rest."""

import uuid
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import Field

from api.dependencies import Caller, Postgres, Shape, UserId, hold_open, open_to
from api.errors import FORBIDDEN, INVALID, JOB_NOT_FOUND, KEY_REUSED, TOO_MANY, UNAUTHENTICATED, UNAVAILABLE, USER_NOT_FOUND, documented
from api.plan_jobs import JobChanges, read_job, request_plan, wanted_wait
from domain.vocabulary import PlanJobStatus

PREFIX = "/api/v1/plans"


class PlanRequest(Shape):
    user_id: UserId = Field(min_length=1, max_length=128, examples=["test_user"])
    reason: str | None = Field(
        None, pattern="^[a-z0-9_]{1,60}$", examples=["profile_changed"], description="Why the app asks, as a word of its own choice"
    )


class PlanJobAccepted(Shape):
    job_id: uuid.UUID = Field(description="UUIDv7", examples=["0198c5a2-7f3e-7d11-9a55-3c1f0a5c7e42"])
    status: PlanJobStatus
    status_url: str = Field(examples=[f"{PREFIX}/status/0198c5a2-7f3e-7d11-9a55-3c1f0a5c7e42"])
    requested_at: datetime


class PlanJobFailure(Shape):
    code: str = Field(examples=["refused.no_exercise"], description="Stable; branch on it")
    message: str


class PlanJob(PlanJobAccepted):
    user_id: str
    reason: str | None
    started_at: datetime | None
    finished_at: datetime | None
    queue_position: int | None = Field(description="1 is next; null unless queued")
    plan_url: str | None = Field(description="Where the plan is, once succeeded")
    failure: PlanJobFailure | None


router = APIRouter(tags=["plans"])
REQUEST = {
    "status_code": 202,
    "response_model": PlanJobAccepted,
    "responses": documented(UNAUTHENTICATED, FORBIDDEN, USER_NOT_FOUND, KEY_REUSED, INVALID, TOO_MANY, UNAVAILABLE),
}
STATUS = {"response_model": PlanJob, "responses": documented(UNAUTHENTICATED, FORBIDDEN, JOB_NOT_FOUND, INVALID, UNAVAILABLE)}
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description="The same key and body give the same job")
]


@router.post("/generate", summary="Ask for a new plan (older path)", deprecated=True, operation_id="generatePlanOldPath", **REQUEST)  # type: ignore[arg-type]
@router.post(f"{PREFIX}/generate", summary="Ask for a new plan", operation_id="generatePlan", **REQUEST)  # type: ignore[arg-type]
async def generate_plan(
    body: PlanRequest, caller: Caller, database: Postgres, response: Response, idempotency_key: IdempotencyKey = None
) -> PlanJobAccepted:
    """Answered at once with a job; the plan follows within a second or so. At most one job waits per user: a second request gets it."""
    open_to(caller, body.user_id)
    job_id, status, requested_at = await request_plan(
        database, body.user_id, reason=body.reason, caller=caller.subject, idempotency_key=idempotency_key
    )
    url = f"{PREFIX}/status/{job_id}"
    response.headers["Location"] = url
    return PlanJobAccepted(job_id=job_id, status=PlanJobStatus(status), status_url=url, requested_at=requested_at)


@router.get("/status/{jobId}", summary="Read a plan job (older path)", deprecated=True, operation_id="readPlanJobOldPath", **STATUS)  # type: ignore[arg-type]
@router.get(f"{PREFIX}/status/{{jobId}}", summary="Read a plan job", operation_id="readPlanJob", **STATUS)  # type: ignore[arg-type]
async def read_plan_job(
    job_id: Annotated[uuid.UUID, Path(alias="jobId")],
    caller: Caller,
    database: Postgres,
    request: Request,
    response: Response,
    prefer: Annotated[
        str | None, Header(max_length=200, description="`wait=10` holds the call until the status changes (RFC 7240)")
    ] = None,
) -> PlanJob:
    """queued → running → succeeded (with the plan's URL) or failed (with a code and a sentence)."""
    row = await read_job(database, job_id)
    open_to(caller, row["user_id"])
    response.headers["Cache-Control"] = "no-store"
    seconds = wanted_wait(prefer)
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    if seconds and row["finished_at"] is None:
        hold_open(request, seconds)
        changes: JobChanges = request.app.state.job_changes
        await changes.wait(job_id, row["status"], seconds)
        row = await read_job(database, job_id)
    status = PlanJobStatus(row["status"])
    failed = status is PlanJobStatus.FAILED
    return PlanJob(
        job_id=row["job_id"],
        status=status,
        status_url=f"{PREFIX}/status/{job_id}",
        user_id=row["user_id"],
        reason=row["reason"],
        requested_at=row["requested_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        queue_position=row["queue_position"],
        plan_url=f"{PREFIX}/{quote(row['user_id'], safe='')}" if status is PlanJobStatus.SUCCEEDED else None,
        failure=PlanJobFailure(code=row["failure_code"], message=row["failure_message"]) if failed else None,
    )
