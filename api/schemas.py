"""Shapes of the answers that the marts hold ready: documentation and test of the payloads, never run per request."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.dependencies import Shape
from domain.vocabulary import Muscle, RecordType, SummaryRange

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


class Week(Shape):
    week_on: date = Field(description="Monday", examples=["2026-02-23"])
    workouts: Annotated[int, Field(ge=1, examples=[4])]
    active_days: Annotated[int, Field(ge=1, le=7, examples=[4])]
    training_minutes: float = Field(ge=0, description="Minutes of the workouts whose duration is known", examples=[245.5])
    sets: Count = Field(description="Working sets: no warm-ups", examples=[81])
    reps: Count = Field(examples=[640])
    volume_kg: float = Field(ge=0, examples=[32810.5])
    record_events: Count = Field(description="Exercises of a workout whose best weight or e1RM was improved", examples=[2])


class Timeline(UserData):
    """A user's weeks, oldest first; weeks without a workout are left out."""

    from_: date | None = Field(None, alias="from", description="Only where it was sent", examples=["2026-01-01"])
    to: date | None = Field(None, description="Only with from", examples=["2026-06-30"])
    weeks: list[Week]


class Lift(Shape):
    rank: int = Field(ge=1, le=5)
    exercise_id: str = Field(examples=["bench-press-barbell"])
    exercise_name: str = Field(examples=["Bench Press (Barbell)"])
    sessions_12w: Count = Field(
        alias="sessions12w", description="Workouts with an e1RM of the exercise in the last 12 ISO weeks", examples=[17]
    )
    sessions_52w: int = Field(alias="sessions52w", ge=1, examples=[61])
    e1rm_kg: float = Field(gt=0, alias="e1rmKg", description="Best of the last 52 ISO weeks", examples=[112.5])
    latest_e1rm_kg: float = Field(gt=0, alias="latestE1rmKg", description="Best of the last week that has one", examples=[110.0])
    latest_week_on: date = Field(examples=["2026-02-23"])
    slope_12w_kg_per_week: float | None = Field(
        alias="slope12wKgPerWeek", description="Least squares through the weekly bests; null with fewer than three weeks", examples=[0.42]
    )
    trend_12w_pct: float | None = Field(alias="trend12wPct", description="Change along that line, first to last week", examples=[4.1])
    slope_52w_kg_per_week: float | None = Field(alias="slope52wKgPerWeek", examples=[0.31])
    trend_52w_pct: float | None = Field(alias="trend52wPct", examples=[15.9])
    weeks_on: list[date] = Field(
        description="Mondays of the weeks that have an e1RM, oldest first", examples=[["2026-02-16", "2026-02-23"]]
    )
    weekly_e1rm_kg: list[float] = Field(alias="weeklyE1rmKg", description="The best e1RM of each of these weeks", examples=[[109.5, 110.0]])


class TopLifts(UserData):
    """The lifts that a user performs most, with the trend of their estimated one-repetition maximum."""

    lifts: list[Lift] = Field(max_length=5)


class MuscleWork(Shape):
    muscle: Muscle
    planned_sets_week: float = Field(ge=0, description="For this ISO week, days to come included", examples=[14.5])
    done_sets_week: float = Field(ge=0, examples=[9.0])
    planned_sets_28d: float = Field(alias="plannedSets28d", ge=0, description="For the 28 days up to today", examples=[52.0])
    done_sets_28d: float = Field(alias="doneSets28d", ge=0, examples=[47.5])


class MuscleSets(UserData):
    """Sets by muscle, planned and done; indirect work counts half."""

    muscles: list[MuscleWork]


class RecordEvent(Shape):
    exercise_id: str = Field(examples=["bench-press-barbell"])
    exercise_name: str = Field(examples=["Bench Press (Barbell)"])
    workout_key: int = Field(examples=[4711])
    achieved_at: datetime = Field(examples=["2026-02-24T17:04:00Z"])
    achieved_on: date = Field(description="The user's local date", examples=["2026-02-24"])
    is_weight_record: bool
    weight_kg: float | None = Field(description="Heaviest load of the workout", examples=[105.0])
    weight_reps: int | None = Field(examples=[2])
    previous_weight_kg: float | None = Field(description="Heaviest load before; null where there was none", examples=[102.5])
    is_e1rm_record: bool = Field(alias="isE1rmRecord")
    e1rm_kg: float | None = Field(alias="e1rmKg", examples=[112.0])
    previous_e1rm_kg: float | None = Field(alias="previousE1rmKg", examples=[112.75])
    place: int = Field(ge=1, le=50, description="1 for the newest")


class RecordFeed(UserData):
    """A user's newest records, newest first; the first performance of an exercise is none."""

    events: list[RecordEvent] = Field(max_length=50)


class PeerMeasure(Shape):
    measure: Literal["workouts", "sets", "volume_kg", "e1rm_trend_pct"] = Field(
        description="Of the last 30 days; e1rm_trend_pct: mean of trend12wPct over the top lifts"
    )
    value: float | None = Field(examples=[14])
    percentile: float | None = Field(ge=0, le=99, description="So many of a hundred peers have less; equals count half", examples=[71.5])
    peers: int | None = Field(ge=1, examples=[412])
    peer_median: float | None = Field(examples=[11])
    reason: Literal["no_profile", "no_recent_workouts", "no_trend", "group_too_small"] | None = Field(
        description="Why there is no percentile"
    )


class Peers(UserData):
    """Where a user stands among the people of the same goal and experience level who trained in the last 30 days.

    Empty until the first build that knows the user.
    """

    measures: list[PeerMeasure]
