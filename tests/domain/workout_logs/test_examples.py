"""The small exports that the project ships, to try `mesocycle import` with."""

from pathlib import Path

import pytest

from domain.exercises.matching import match_names
from domain.vocabulary import WeightUnit
from domain.workout_logs import WeightUnitMissing, read_log

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "unit", "workouts", "sets", "rests"),
    [("strong", WeightUnit.KG, 9, 105, 6), ("hevy", None, 12, 114, 0), ("fitnotes", None, 9, 75, 0)],
)
def test_an_example_reads_whole_and_names_only_exercises_of_the_catalogue(
    name: str, unit: WeightUnit | None, workouts: int, sets: int, rests: int
) -> None:
    log = read_log((EXAMPLES / f"{name}.csv").read_bytes(), file_name=f"{name}.csv", weight_unit=unit)
    assert (log.app.value, len(log.workouts), len(log.sets), log.rest_rows, len(log.rejected), log.warnings) == (
        name,
        workouts,
        sets,
        rests,
        0,
        (),
    )
    assert match_names(log.sets["exercise_name"]).notna().all()


def test_the_example_of_strong_needs_its_unit_said() -> None:
    with pytest.raises(WeightUnitMissing):
        read_log((EXAMPLES / "strong.csv").read_bytes(), file_name="strong.csv")
