"""Shapes of the answers that the marts hold ready: documentation and test of the payloads, never run per request."""

from datetime import date, datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from api.dependencies import Shape
from domain.vocabulary import Muscle, RecordType, SummaryRange, WorkoutSource

__all__ = ["Record", "Records", "Summary", "WindowSummary", "WorkoutSource"]

Count = Annotated[int, Field(ge=0)]


class UserData(Shape):
    user_id: str = Field(examples=["test_user"])
    as_of: datetime = Field(description="The instant of the build that the numbers come from", examples=["2026-03-01T06:00:00Z"])


class Work(UserData):
    """What both a fixed range and a custom window say."""

    workouts: Count = Field(description="Workouts with at least one set", examples=[12])
    active_days: Count = Field(description="Local dates with a workout", examples=[12])
    training_minutes: float = Field(ge=0, description="Minutes of the workouts whose duration is known", examples=[733.5])
    sets: Count = Field(description="Working sets: no warm-ups", examples=[241])
    reps: Count = Field(examples=[1926])
    volume_kg: float = Field(ge=0, description="Σ weight × repetitions over working sets", examples=[98431.5])
    avg_rpe: float | None = Field(ge=1, le=10, description="null where no set has an RPE", examples=[7.9])
    record_events: Count = Field(description="Exercises of a workout whose best weight or e1RM was improved", examples=[5])
    first_workout_at: datetime | None = Field(examples=["2026-02-02T17:04:00Z"])
    last_workout_at: datetime | None = Field(examples=["2026-02-27T17:31:00Z"])
    previous_workouts: Count | None = Field(description="In the period of the same length just before", examples=[11])
    previous_volume_kg: float | None = Field(ge=0, examples=[90120.0])
    volume_change_pct: float | None = Field(description="null where the period before has no volume", examples=[9.22])


class Summary(Work):
    """A user's progress over a range of local dates that ends today, both ends in."""

    range: SummaryRange = Field(examples=["30d"])
    exercises: Count = Field(description="Different exercises", examples=[14])
    current_streak_weeks: Count = Field(description="Consecutive ISO weeks with a workout, ending in this week or the last", examples=[9])
    longest_streak_weeks: Count = Field(examples=[21])
    planned_sessions: Count = Field(examples=[13])
    completed_sessions: Count = Field(examples=[11])
    adherence: float | None = Field(ge=0, le=1, description="completedSessions / plannedSessions", examples=[0.846])
    sets_by_muscle: dict[Muscle, float] = Field(
        description="Working sets by muscle; indirect work counts half", examples=[{"chest": 42.5, "triceps": 31.0}]
    )


class WindowSummary(Work):
    """A user's progress over a window of local dates, both ends in."""

    from_: date = Field(alias="from", examples=["2026-01-01"])
    to: date = Field(examples=["2026-01-31"])


class Record(Shape):
    model_config = ConfigDict(title="Record")

    exercise_id: str = Field(examples=["bench-press-barbell"])
    exercise_name: str = Field(examples=["Bench Press (Barbell)"])
    record_type: RecordType = Field(
        description="weight: heaviest load; e1rm: estimated one-repetition maximum; reps; set_volume and workout_volume: weight × repetitions"
    )
    value: float = Field(gt=0, examples=[102.5])
    unit: str = Field(pattern="^(kg|reps)$", examples=["kg"])
    weight_kg: float | None = Field(description="Load of the set that holds the record", examples=[102.5])
    reps: int | None = Field(examples=[3])
    achieved_at: datetime = Field(description="Start of the first workout that reached it", examples=["2026-01-17T10:12:00Z"])
    workout_key: int = Field(examples=[4711])


class Records(UserData):
    """A user's best values, newest first."""

    records: list[Record]
    next_cursor: str | None = Field(
        None, description="Only where `limit` was sent: what to send as `cursor` for the next page; null on the last one"
    )
