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
from api.fast_lane import Precomputed
from api.payloads import PLAN
from api.plan_versions import writers_version
from api.postgres import Database
from api.precomputed import ok, response_of, response_with
from api.representation import Representation, of_row, unchanged
from database.plan_documents import CURRENT_PLAN_SQL, render
from domain.vocabulary import Goal

PATH: Final = "/api/v1/plans"
FAST: Final = Precomputed(PATH, {b"": PLAN})
WHICH_PLAN: Final = """
select users.user_key, current_plan.plan_id, current_plan.generated_at
from app.users
left join lateral (
  select plans.plan_id, plans.generated_at from plans.plans where plans.user_key = users.user_key order by plans.as_of desc limit 1
) as current_plan on true
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
    asked_at = time.monotonic()
    try:
        which = await database.fetchrow(WHICH_PLAN, user_id)
        if which is None:
            payloads.memory.forget((user_id, PLAN))
            raise Problem(USER_NOT_FOUND)
        if which["plan_id"] is None:
            raise Problem(PLAN_NOT_FOUND)
        known = payloads.memory.get((user_id, PLAN))
        if known is None or known.build_key != which["plan_id"]:
            current = of_row(which["plan_id"], writers_version(), which["generated_at"])
            same = unchanged(current, dict(request.scope["headers"]))
            if same is not None:
                return response_with(*same)
            known = await written_out(database, user_id, which["user_key"])
        known.read_at = asked_at
        payloads.remember(user_id, PLAN, known)
        return response_of(request, known)
    except Problem as problem:
        last = payloads.last_known(user_id, PLAN) if problem.kind is UNAVAILABLE else None
        if last is None:
            raise
        return response_of(request, last, stale=True)


async def written_out(database: Database, user_id: str, user_key: int) -> Representation:
    """The user's newest plan as bytes. Problem PLAN_NOT_FOUND."""
    row = await database.fetchrow(CURRENT_PLAN_SQL.format(user_key="$1"), user_key)
    if row is None:
        raise Problem(PLAN_NOT_FOUND)
    return of_row(row["plan_id"], writers_version(), row["generated_at"], render(user_id, row))
