"""Any history written in an app's format and read back is the same history."""

import csv
import io
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.vocabulary import KG_PER_LB, SetType, WeightUnit
from domain.workout_logs import read_log

NAMES = st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=25).filter(
    lambda name: bool(" ".join(name.split()))
)
NOTES = st.one_of(st.none(), st.text(alphabet='abc ,;"\n1é', min_size=1, max_size=20).filter(lambda note: bool(note.strip())))


@dataclass(frozen=True)
class OneSet:
    exercise: str
    set_type: SetType
    weight: float | None
    reps: int | None
    seconds: int | None
    rpe: float | None
    notes: str | None


@dataclass(frozen=True)
class OneWorkout:
    start: datetime
    name: str
    minutes: int
    sets: list[OneSet]


@st.composite
def histories(draw: st.DrawFn) -> list[OneWorkout]:
    minutes = draw(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=4, unique=True))
    exercise = st.builds(
        OneSet,
        exercise=NAMES,
        set_type=st.sampled_from(list(SetType)),
        weight=st.one_of(st.none(), st.integers(1, 1200).map(lambda quarter_kg: quarter_kg / 4)),
        reps=st.integers(1, 50),
        seconds=st.one_of(st.none(), st.integers(1, 600)),
        rpe=st.one_of(st.none(), st.sampled_from([6, 7, 7.5, 8, 9.5, 10])),
        notes=NOTES,
    )
    return [
        OneWorkout(
            datetime(2005, 1, 1) + timedelta(minutes=minute),
            draw(NAMES),
            draw(st.integers(1, 300)),
            draw(st.lists(exercise, min_size=1, max_size=5)),
        )
        for minute in sorted(minutes)
    ]


def _csv(header: list[str], rows: list[list[object]], *, separator: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def _expected(history: list[OneWorkout], *, factor: float = 1.0) -> list[tuple[object, ...]]:
    return [
        (
            workout.start,
            position,
            " ".join(one.exercise.split()),
            one.set_type.value,
            None if one.weight is None else one.weight * factor,
            one.reps,
            one.seconds,
            one.rpe,
            one.notes.strip() if one.notes else None,
        )
        for workout in history
        for position, one in enumerate(workout.sets)
    ]


def _found(content: bytes, unit: WeightUnit | None = None) -> list[tuple[object, ...]]:
    log = read_log(content, file_name="history.csv", weight_unit=unit)
    assert log.rejected.empty and log.duplicate_rows == 0
    sets = log.sets.merge(log.workouts[["workout_index", "started_at_local"]], on="workout_index").astype(object)
    sets = sets.where(sets.notna(), None)
    columns = ["started_at_local", "position", "exercise_name", "set_type", "weight_kg", "reps", "duration_seconds", "rpe", "notes"]
    return list(sets[columns].itertuples(index=False, name=None))


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("unit", list(WeightUnit))
@SETTINGS
@given(history=histories())
def test_a_history_written_as_strong_would_reads_back_the_same(separator: str, unit: WeightUnit, history: list[OneWorkout]) -> None:
    letters = {SetType.WARMUP: "W", SetType.DROP: "D", SetType.FAILURE: "F"}
    header = [
        "Date",
        "Workout Name",
        "Duration",
        "Exercise Name",
        "Set Order",
        "Weight",
        "Reps",
        "Distance",
        "Seconds",
        "Notes",
        "Workout Notes",
        "RPE",
    ]
    rows: list[list[object]] = [
        [workout.start, workout.name, f"{workout.minutes}m", one.exercise, letters.get(one.set_type, position), one.weight or 0, one.reps, 0,
         one.seconds or 0, one.notes, None, one.rpe]
        for workout in history
        for position, one in enumerate(workout.sets, start=1)
    ]  # fmt: skip
    factor = KG_PER_LB if unit is WeightUnit.LB else 1.0
    assert _found(_csv(header, rows, separator=separator), unit) == _expected(history, factor=factor)


@SETTINGS
@given(history=histories())
def test_a_history_written_as_hevy_would_reads_back_the_same(history: list[OneWorkout]) -> None:
    header = ["title", "start_time", "end_time", "description", "exercise_title", "superset_id", "exercise_notes", "set_index", "set_type",
              "weight_kg", "reps", "distance_km", "duration_seconds", "rpe"]  # fmt: skip
    words = {SetType.DROP: "dropset"}
    rows: list[list[object]] = [
        [workout.name, f"{workout.start:%d %b %Y, %H:%M}", f"{workout.start + timedelta(minutes=workout.minutes):%d %b %Y, %H:%M}", None,
         one.exercise, None, one.notes, position, words.get(one.set_type, one.set_type.value), one.weight, one.reps, None, one.seconds, one.rpe]
        for workout in history
        for position, one in enumerate(workout.sets)
    ]  # fmt: skip
    assert _found(_csv(header, rows, separator=",")) == _expected(history)


@SETTINGS
@given(history=histories())
def test_a_history_written_as_fitnotes_would_reads_back_the_same_by_day(history: list[OneWorkout]) -> None:
    days: dict[datetime, list[OneSet]] = {}
    for workout in history:
        sets = [OneSet(one.exercise, SetType.NORMAL, one.weight, one.reps, one.seconds, None, one.notes) for one in workout.sets]
        days.setdefault(workout.start.replace(hour=0, minute=0), []).extend(sets)
    by_day = [OneWorkout(day, "", 1, sets) for day, sets in days.items()]
    header = ["Date", "Exercise", "Category", "Weight", "Weight Unit", "Reps", "Distance", "Distance Unit", "Time", "Comment"]
    rows: list[list[object]] = [
        [f"{day.start:%Y-%m-%d}", one.exercise, "Back", one.weight, "kgs" if one.weight else None, one.reps, None, None,
         None if one.seconds is None else f"0:{one.seconds // 60:02}:{one.seconds % 60:02}", one.notes]
        for day in by_day
        for one in day.sets
    ]  # fmt: skip
    assert _found(_csv(header, rows, separator=",")) == _expected(by_day)
