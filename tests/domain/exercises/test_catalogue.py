"""The catalogue file: its structure, its arrays against a plain reading of the file, and what a faulty file says."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domain.exercises.catalogue import (
    BODY_AREAS,
    CATALOGUE_PATH,
    COLUMNS,
    EQUIPMENT,
    MUSCLES,
    Catalogue,
    CatalogueError,
    load_catalogue,
    load_frame,
    read_catalogue,
)
from domain.exercises.names import name_key
from domain.vocabulary import Equipment, LoadType, MovementPattern

MAIN_PATTERNS = [
    MovementPattern.SQUAT,
    MovementPattern.LUNGE,
    MovementPattern.HINGE,
    MovementPattern.HORIZONTAL_PUSH,
    MovementPattern.VERTICAL_PUSH,
    MovementPattern.HORIZONTAL_PULL,
    MovementPattern.VERTICAL_PULL,
    MovementPattern.LATERAL_RAISE,
    MovementPattern.REAR_DELT_FLY,
    MovementPattern.ELBOW_FLEXION,
    MovementPattern.ELBOW_EXTENSION,
    MovementPattern.KNEE_FLEXION,
    MovementPattern.HIP_THRUST,
    MovementPattern.CALF_RAISE,
    MovementPattern.TRUNK_FLEXION,
    MovementPattern.TRUNK_EXTENSION,
    MovementPattern.TRUNK_ROTATION,
    MovementPattern.TRUNK_STABILITY,
]

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with CATALOGUE_PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def cell(catalogue: Catalogue, name: str, column: str) -> object:
    frame = catalogue.frame
    return frame.loc[frame["name"] == name, column].item()


def test_the_catalogue_holds_at_least_330_exercises_of_every_movement_pattern(catalogue: Catalogue) -> None:
    assert len(catalogue) >= 330
    assert set(catalogue.frame["movement_pattern"]) == set(MovementPattern)


def test_every_kind_of_equipment_in_the_vocabulary_has_an_exercise(catalogue: Catalogue) -> None:
    assert catalogue.requirement.any(axis=0).all()


def test_the_columns_are_the_ones_that_other_packages_read(rows: list[Row]) -> None:
    assert tuple(rows[0]) == COLUMNS


def test_keys_are_positive_small_and_stable_for_the_first_rows(catalogue: Catalogue) -> None:
    assert catalogue.exercise_key.min() == 1
    assert catalogue.exercise_key.max() < 32768, "plans store exercise keys as smallint"
    assert cell(catalogue, "Squat (Barbell)", "exercise_key") == 1
    assert cell(catalogue, "Squat - Low Bar (Barbell)", "exercise_key") == 2


def test_muscle_credit_is_one_for_primary_and_half_for_secondary(catalogue: Catalogue, rows: list[Row]) -> None:
    for index, row in enumerate(rows):
        for column, muscle in enumerate(MUSCLES):
            expected = 1.0 if muscle in row["primary_muscles"].split("|") else 0.5 if muscle in row["secondary_muscles"].split("|") else 0.0
            assert catalogue.muscle_credit[index, column] == expected, (row["name"], muscle)


def test_only_conditioning_and_mobility_may_train_no_muscle(catalogue: Catalogue) -> None:
    idle = catalogue.frame[~catalogue.muscle_credit.any(axis=1)]
    assert set(idle["movement_pattern"]) == {MovementPattern.CONDITIONING, MovementPattern.MOBILITY}
    assert (idle["load_type"] == LoadType.UNLOADED).all()


def test_requirements_and_contraindications_are_those_of_the_file(catalogue: Catalogue, rows: list[Row]) -> None:
    for index, row in enumerate(rows):
        required = {equipment for column, equipment in enumerate(EQUIPMENT) if catalogue.requirement[index, column]}
        assert required == set(filter(None, row["requires"].split("|"))), row["name"]
        tags = {
            f"{area}:{[None, 'caution', 'avoid'][level]}"
            for area, level in zip(BODY_AREAS, catalogue.contraindication[index], strict=True)
            if level
        }
        assert tags == set(filter(None, row["contraindications"].split("|"))), row["name"]


def test_arrays_cannot_be_changed_and_a_changed_table_changes_nothing_for_others(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="read-only"):
        catalogue.muscle_credit[0, 0] = 9
    with pytest.raises(ValueError, match="read-only"):
        catalogue.exercise_key[0] = 9
    mine = load_frame()
    mine.loc[:, "priority"] = 0
    assert (load_frame()["priority"] > 0).all()


def test_rows_are_found_by_key_and_unknown_keys_have_none(catalogue: Catalogue) -> None:
    keys = catalogue.exercise_key
    assert (catalogue.rows_of(keys) == np.arange(len(keys))).all()
    assert catalogue.rows_of([[0, -1], [32767, 10**12]]).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize(
    ("owned", "patterns"),
    [
        ([], MAIN_PATTERNS),
        ([Equipment.BAND], MAIN_PATTERNS),
        ([Equipment.DUMBBELL], MAIN_PATTERNS),
        ([Equipment.KETTLEBELL], MAIN_PATTERNS),
        ([Equipment.SUSPENSION], MAIN_PATTERNS),
        ([Equipment.BARBELL, Equipment.RACK, Equipment.BENCH], MAIN_PATTERNS),
        ([Equipment.MACHINE, Equipment.CABLE], MAIN_PATTERNS),
        (list(Equipment), list(MovementPattern)),
    ],
    ids=["bodyweight", "bands", "dumbbells", "kettlebells", "suspension", "barbell", "machines", "full gym"],
)
def test_every_main_pattern_can_be_planned_with(owned: list[Equipment], patterns: list[MovementPattern], catalogue: Catalogue) -> None:
    planable = catalogue.frame[catalogue.available(owned) & (catalogue.frame["priority"] > 1)]
    assert set(patterns) <= set(planable["movement_pattern"])


def test_dumbbells_alone_load_every_main_pattern_but_those_that_need_a_fixed_point(catalogue: Catalogue) -> None:
    frame = catalogue.frame
    loaded = frame[(frame["requires"] == "dumbbell") & (frame["step_kg"] > 0)]
    without = {MovementPattern.TRUNK_STABILITY, MovementPattern.TRUNK_EXTENSION, MovementPattern.KNEE_FLEXION}
    assert set(MAIN_PATTERNS) - without <= set(loaded["movement_pattern"])


def test_an_exercise_is_available_only_if_all_its_stations_are(catalogue: Catalogue) -> None:
    available = set(catalogue.frame["name"][catalogue.available([Equipment.DUMBBELL])])
    assert "Floor Press (Dumbbell)" in available
    assert "Bench Press (Dumbbell)" not in available
    assert "Pull Up (Bodyweight)" not in available


def test_assisted_exercises_are_of_load_type_assisted_and_only_they(catalogue: Catalogue) -> None:
    frame = catalogue.frame
    called_assisted = frame["name"].str.contains("Assisted")
    assert (frame.loc[called_assisted, "load_type"] == LoadType.ASSISTED).all()
    for name in ["Pull Up (Band)", "Chin Up (Band)", "Chest Dip (Band)"]:
        assert cell(catalogue, name, "load_type") == LoadType.ASSISTED
    assert (frame.loc[frame["load_type"] == LoadType.ASSISTED, "family_load_ratio"] == 0).all(), (
        "an assistance doesn't carry over as a load"
    )


def test_weighted_pull_ups_and_dips_are_body_weight_with_added_load(catalogue: Catalogue) -> None:
    for name in ["Pull Up (Weighted)", "Chin Up (Weighted)", "Chest Dip (Weighted)", "Triceps Dip (Weighted)"]:
        assert cell(catalogue, name, "load_type") == LoadType.BODYWEIGHT
        assert cell(catalogue, name, "step_kg") == 2.5


def test_external_loads_have_a_step_a_ratio_and_a_start(catalogue: Catalogue) -> None:
    external = catalogue.frame[catalogue.frame["load_type"] == LoadType.EXTERNAL]
    for column in ["step_kg", "step_lb", "family_load_ratio", "cold_start_ratio", "cold_start_ratio_female"]:
        assert (external[column] > 0).all(), external.loc[external[column] <= 0, "name"].tolist()
    assert (external["cold_start_ratio_female"] < external["cold_start_ratio"]).all()
    assert (external["equipment"] != "").all()


def test_unloaded_exercises_have_neither_step_nor_ratio(catalogue: Catalogue) -> None:
    unloaded = catalogue.frame[catalogue.frame["load_type"] == LoadType.UNLOADED]
    assert (unloaded[["step_kg", "step_lb", "family_load_ratio", "cold_start_ratio"]] == 0).all(axis=None)


def test_cold_starts_of_one_family_agree_with_its_load_ratios(catalogue: Catalogue) -> None:
    external = catalogue.frame[catalogue.frame["load_type"] == LoadType.EXTERNAL]
    for family, members in external.groupby("substitution_family"):
        if family in {"plank", "jump"}:
            continue  # a press and a jump squat stand in families whose reference carries no load
        per_ratio = members["cold_start_ratio"] / members["family_load_ratio"]
        assert per_ratio.max() - per_ratio.min() <= 0.01 * per_ratio.max(), family


def test_a_beginner_is_estimated_at_the_low_values_of_the_evidence(catalogue: Catalogue) -> None:
    expected = {"Bench Press (Barbell)": 0.5, "Squat (Barbell)": 0.75, "Deadlift (Barbell)": 1.0, "Overhead Press (Barbell)": 0.35}
    assert {name: cell(catalogue, name, "cold_start_ratio") for name in expected} == expected


def test_loads_per_hand_are_only_where_there_are_two_implements(catalogue: Catalogue) -> None:
    frame = catalogue.frame[catalogue.frame["load_per_hand"]]
    assert set(frame["equipment"]) <= {"dumbbell", "kettlebell", "cable", "machine", "plate"}
    assert cell(catalogue, "Bench Press (Dumbbell)", "load_per_hand")
    assert not cell(catalogue, "Goblet Squat (Dumbbell)", "load_per_hand")
    assert not cell(catalogue, "Row - Single Arm (Dumbbell)", "load_per_hand")


def test_numbers_stay_within_what_they_can_mean(catalogue: Catalogue) -> None:
    frame = catalogue.frame
    assert frame["fatigue"].between(1, 5).all()
    assert frame["priority"].between(1, 100).all()
    assert frame["seconds_per_repetition"].between(0.5, 30).all()
    assert frame["setup_seconds"].between(5, 180).all()
    assert (frame.loc[frame["measured_in"] == "seconds", "seconds_per_repetition"] == 1).all()
    assert frame["exercise_id"].str.fullmatch(r"[a-z0-9_]+").all()


def test_every_name_and_alias_normalises_to_one_exercise_only(rows: list[Row]) -> None:
    owner: dict[tuple[str, ...], str] = {}
    for row in rows:
        for spelling in [row["name"], *filter(None, row["aliases"].split("|"))]:
            key = name_key(spelling)
            assert key, spelling
            assert owner.setdefault(key, row["name"]) == row["name"], spelling


# --- faulty files ---


@pytest.fixture
def write(rows: list[Row], tmp_path: Path) -> Callable[..., Path]:
    """Write the first three rows with changes to the second one."""

    def write(**changes: str) -> Path:
        path = tmp_path / "catalogue.csv"
        chosen = [dict(row) for row in rows[:3]]
        chosen[1].update(changes)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(chosen[1]))
            writer.writeheader()
            writer.writerows([{column: row.get(column, "") for column in chosen[1]} for row in chosen])
        return path

    return write


def test_a_sound_excerpt_is_read(write: Callable[..., Path]) -> None:
    assert len(read_catalogue(write())) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"movement_pattern": "squatt"}, "movement_pattern 'squatt' isn't a word of the vocabulary"),
        ({"requires": "barbell|ladder"}, "requires 'ladder' isn't a word"),
        ({"requires": "rack"}, "requires lacks its own equipment 'barbell'"),
        ({"primary_muscles": ""}, "no primary muscle"),
        ({"secondary_muscles": "quads"}, "both primary and secondary"),
        ({"contraindications": "knee"}, "contraindications 'knee' isn't a word"),
        ({"contraindications": "knee:avoid|knee:caution"}, "two contraindications for one body area"),
        ({"load_type": ""}, "load_type '' isn't a word"),
        ({"load_per_hand": "yes"}, "neither true nor false"),
        ({"step_kg": "-1"}, "step_kg '-1' isn't a number that fits"),
        ({"fatigue": "2.5"}, "fatigue '2.5' isn't a number that fits"),
        ({"fatigue": "9"}, "fatigue '9' isn't a number that fits"),
        ({"priority": "0"}, "priority '0' isn't a number that fits"),
        ({"cold_start_ratio": "nan"}, "cold_start_ratio 'nan' isn't a number that fits"),
        ({"cold_start_ratio": "inf"}, "cold_start_ratio 'inf' isn't a number that fits"),
        ({"exercise_key": "1"}, "exercise_key '1' is given twice"),
        ({"exercise_key": "0"}, "exercise_key '0' isn't a number that fits"),
        ({"exercise_id": "squat_barbell"}, "exercise_id 'squat_barbell' is given twice"),
        ({"aliases": "Barbell Squats"}, "'Barbell Squats' means both Squat (Barbell) and Squat - Low Bar (Barbell)"),
        ({"aliases": "---"}, "has no letter"),
        ({"colour": "red"}, "differing: ['colour']"),
    ],
)
def test_a_faulty_file_is_refused_with_what_is_wrong(changes: dict[str, str], message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(CatalogueError) as error:
        read_catalogue(write(**changes))
    assert message in str(error.value)
