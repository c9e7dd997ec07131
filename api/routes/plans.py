"""A user's current training plan: stored as arrays, written out once per plan and remembered."""

import time
from datetime import date, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.dependencies import OwnUserId, Payloads, Postgres, Shape
from api.errors import (
    FORBIDDEN,
    INVALID,
    OVERLOADED,
    PLAN_NOT_FOUND,
    UNAUTHENTICATED,
    UNAVAILABLE,
    USER_NOT_FOUND,
    Problem,
    documented,
)
from api.payloads import PayloadReader
from api.postgres import Database
from api.precomputed import ok, response_of
from api.representation import Representation, written_out
from database.plan_documents import CURRENT_PLAN_SQL, render
from domain.vocabulary import Goal

PATH: Final = "/api/v1/plans"
RESOURCE: Final = "plan"
WHICH_PLAN: Final = """
select
  users.user_key,
  (select plans.plan_id from plans.plans where plans.user_key = users.user_key order by plans.as_of desc limit 1) as plan_id
from app.users
where users.user_id = $1
"""


class Reason(Shape):
    code: str = Field(examples=["load.progressed"], description="Stable; branch on it")
    sentence: str = Field(description="The same for a person")


class LoadReason(Reason):
    numbers: dict[str, float | int | None] = Field(description="What the sentence rests on")


class WarmupSet(Shape):
    load_kg: float
    reps: int


class PlannedExercise(Shape):
    exercise_id: str
    name: str
    measured_in: str = Field(description="reps, seconds or meters: what repsMin and repsMax count")
    sets: int
    reps_min: int
    reps_max: int
    load_kg: float | None = Field(description="Null for body weight and bands")
    rir: int = Field(description="Repetitions in reserve")
    rest_seconds: int
    superset_group: int | None
    warmup_sets: list[WarmupSet]
    reason: LoadReason
    exercise_reason: Reason
    sets_reason: Reason


class PlannedSession(Shape):
    day: Annotated[int, Field(ge=1, le=7, description="ISO weekday")]
    date: date
    name: str
    minutes: int
    exercises: list[PlannedExercise]


class PlannedWeek(Shape):
    week: Annotated[int, Field(ge=1, le=4)]
    is_deload: bool
    sessions: list[PlannedSession]


class Plan(Shape):
    """Four weeks of training, with a reason for every choice."""

    user_id: str = Field(examples=["test_user"])
    plan_id: str
    as_of: datetime = Field(description="The instant whose data the plan rests on")
    generated_at: datetime
    engine_version: str
    inputs_hash: str = Field(description="Equal inputs give an equal plan")
    goal: Goal
    starts_on: date
    weight_unit: str = Field(pattern="^(kg|lb)$", description="The user's; loads are in kg all the same")
    refusal: Reason | None = Field(description="Why there is no plan; weeks are empty then")
    weeks: list[PlannedWeek]


router = APIRouter(tags=["plans"])
RESPONSES: dict[int | str, dict[str, Any]] = ok(Plan) | documented(
    UNAUTHENTICATED, FORBIDDEN, USER_NOT_FOUND, PLAN_NOT_FOUND, INVALID, UNAVAILABLE, OVERLOADED
)


@router.get(f"{PATH}/{{userId}}", summary="Read a user's current plan", response_class=Response, responses=RESPONSES)
async def read_plan(request: Request, user_id: OwnUserId, payloads: Payloads, database: Postgres) -> Response:
    """The newest plan: four weeks of sessions with exercises, sets, repetitions, loads, and why."""
    try:
        return response_of(request, await current_plan(database, payloads, user_id))
    except Problem as problem:
        known = payloads.last_known(user_id, RESOURCE) if problem.kind is UNAVAILABLE else None
        if known is None:
            raise
        return response_of(request, known, stale=True)


async def current_plan(database: Database, payloads: PayloadReader, user_id: str) -> Representation:
    """The user's newest plan, written out unless it is the one that was served last. Problems: USER_NOT_FOUND, PLAN_NOT_FOUND."""
    which = await database.fetchrow(WHICH_PLAN, user_id)
    if which is None:
        payloads.memory.forget((user_id, RESOURCE))
        raise Problem(USER_NOT_FOUND)
    if which["plan_id"] is None:
        raise Problem(PLAN_NOT_FOUND)
    known = payloads.memory.get((user_id, RESOURCE))
    if known is None or known.build_key != which["plan_id"]:
        row = await database.fetchrow(CURRENT_PLAN_SQL.format(user_key="$1"), which["user_key"])
        if row is None:
            raise Problem(PLAN_NOT_FOUND)
        body = render(user_id, row)
        known = written_out(body, version=row["plan_id"], modified_at=row["generated_at"])
    known.read_at = time.monotonic()
    payloads.memory.put((user_id, RESOURCE), known)
    return known
