"""Every real export in the shared folder: counts by hand, and a second, much plainer reading of the same rows."""

import csv
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from domain.vocabulary import KG_PER_LB, SetType, WeightUnit
from domain.workout_logs import ParsedLog, WeightUnitMissing, read_log


@dataclass(frozen=True)
class Expected:
    """Counted in the files with a text editor and grep, not with the reader."""

    data_rows: int
    workouts: int
    sets: int
    rests: int = 0
    rejected: int = 0


EXPECTED = {
    "fitnotes_f1.csv": Expected(910, 73, 910),
    "fitnotes_f2.csv": Expected(120, 11, 120),
    "fitnotes_f3.csv": Expected(120, 7, 120),
    "fitnotes_f4.csv": Expected(38, 2, 38),
    "fitnotes_f4_lb.csv": Expected(46, 3, 45, rejected=1),
    "fitnotes_f6.csv": Expected(29, 3, 28, rejected=1),
    "hevy_h1.csv": Expected(330, 17, 330),
    "hevy_h1_long.csv": Expected(6949, 390, 6949),
    "hevy_h2.csv": Expected(120, 6, 120),
    "hevy_h3.csv": Expected(57, 3, 57),
    "hevy_h4.csv": Expected(120, 6, 120),
    "hevy_h6.csv": Expected(120, 6, 120),
    "strong_s1.csv": Expected(2078, 129, 2078),
    "strong_s10.csv": Expected(9, 1, 9),
    "strong_s1b_long.csv": Expected(7089, 364, 6010, rests=1079),
    "strong_s1m.csv": Expected(120, 7, 120),
    "strong_s2.csv": Expected(120, 7, 120),
    "strong_s3.csv": Expected(120, 8, 120),
    "strong_s4.csv": Expected(120, 5, 120),
    "strong_s5.csv": Expected(120, 8, 120),
    "strong_s6.csv": Expected(120, 5, 120),
    "strong_s7_two_units.csv": Expected(120, 9, 120),
    "strong_s8.csv": Expected(384, 23, 384),
    "strong_s9_de.csv": Expected(120, 4, 60, rests=60),
    "strong_s9_fr.csv": Expected(120, 6, 120),
    "strong_sx_excel.csv": Expected(120, 7, 120),
}
WEIGHT_COLUMNS = {
    "weight": None, "poids": None, "gewicht": None, "weight (kgs)": "kg", "weight (kg)": "kg", "kg": "kg", "lb": "lb",
    "weight_kg": "kg", "weight_lbs": "lb",
}  # fmt: skip
REPS_COLUMNS = {"reps", "réps", "wiederh."}
MONTHS = {
    name: month for month, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1)
}


@pytest.fixture(scope="module")
def units(shared: Path) -> dict[str, WeightUnit | None]:
    with (shared / "lifting-logs" / "MANIFEST.tsv").open() as manifest:
        return {
            row["file"]: None if row["unit"] == "in file" else WeightUnit(row["unit"]) for row in csv.DictReader(manifest, delimiter="\t")
        }


def _read(shared: Path, units: dict[str, WeightUnit | None], name: str) -> ParsedLog:
    return read_log((shared / "lifting-logs" / name).read_bytes(), file_name=name, weight_unit=units[name])


def _plain_rows(path: Path) -> list[dict[str, str]]:
    """The rows by the plainest means that suit these 26 files: no quotes in FitNotes' oldest version, two fixed repairs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    separator = ";" if lines[0].count(";") > lines[0].count(",") else ","
    headers = [header.strip('"').lower() for header in lines[0].split(separator)]
    if path.name == "fitnotes_f1.csv":
        cells = [line.split(",") for line in lines[1:]]
    else:
        repaired = [line.replace("(Each Side, Dumbbells)", '"(Each Side, Dumbbells)"') for line in lines[1:]]
        cells = list(
            csv.reader(
                [re.sub(r',([^,"]*)"\(Each Side, Dumbbells\)"', r',"\1(Each Side, Dumbbells)"', line) for line in repaired],
                delimiter=separator,
            )
        )
    return [dict(zip(headers, row, strict=True)) for row in cells]


def _is_rest(row: dict[str, str]) -> bool:
    return any(value in ("Rest Timer", "Ruhezeit") for value in row.values())


def test_the_expectations_cover_every_file(shared: Path) -> None:
    assert {path.name for path in (shared / "lifting-logs").glob("*.csv")} >= set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_row_of_a_real_export_ends_in_exactly_one_place(shared: Path, units: dict[str, WeightUnit | None], name: str) -> None:
    log = _read(shared, units, name)
    expected = EXPECTED[name]
    assert (log.data_rows, len(log.workouts), len(log.sets), log.rest_rows, len(log.rejected)) == (
        expected.data_rows,
        expected.workouts,
        expected.sets,
        expected.rests,
        expected.rejected,
    )
    assert (
        len(log.sets) + len(log.rejected) + log.rest_rows + log.note_rows + log.duplicate_rows + log.repeated_header_rows == log.data_rows
    )
    assert log.duplicate_rows == 0
    lines = sorted([*log.sets["line"], *log.rejected["line"]])
    assert len(set(lines)) == len(lines)
    assert log.app.value == name.split("_", maxsplit=1)[0]


@pytest.mark.parametrize("name", EXPECTED)
def test_loads_reps_and_names_agree_with_a_plain_second_reading(shared: Path, units: dict[str, WeightUnit | None], name: str) -> None:
    log = _read(shared, units, name)
    rejected = set(log.rejected["line"])
    rows = [
        row for line, row in enumerate(_plain_rows(shared / "lifting-logs" / name), start=2) if not _is_rest(row) and line not in rejected
    ]
    weight_column = next(column for column in rows[0] if column in WEIGHT_COLUMNS)
    reps_column = next(column for column in rows[0] if column in REPS_COLUMNS)
    exercise_column = next(column for column in rows[0] if "exerc" in column or "übung" in column)
    given = units[name]
    expected_kg, expected_reps = [], []
    for row in rows:
        unit = row.get("weight unit") or WEIGHT_COLUMNS[weight_column] or (given.value if given else "kg")
        number = float(row[weight_column].replace(",", ".") or 0)
        expected_kg.append(number * KG_PER_LB if unit.startswith("lb") else number)
        expected_reps.append(int(float(row[reps_column] or 0)))
    sets = log.sets.sort_values("line")
    np.testing.assert_allclose(sets["weight_kg"].fillna(0).to_numpy(), expected_kg, rtol=1e-12, atol=0)
    assert sets["reps"].fillna(0).astype(int).tolist() == expected_reps
    assert sets["exercise_name"].tolist() == [" ".join(row[exercise_column].split()) for row in rows]


@pytest.mark.parametrize("name", EXPECTED)
def test_positions_count_from_zero_within_each_workout_and_keep_the_order_of_the_file(
    shared: Path, units: dict[str, WeightUnit | None], name: str
) -> None:
    log = _read(shared, units, name)
    assert log.workouts["workout_index"].tolist() == list(range(len(log.workouts)))
    for _, sets in log.sets.groupby("workout_index"):
        assert sets["position"].tolist() == list(range(len(sets)))
        assert sets["line"].is_monotonic_increasing
    assert set(log.sets["set_type"]) <= {kind.value for kind in SetType}


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("hevy")])
def test_starts_and_ends_of_hevy_agree_with_the_written_times(shared: Path, units: dict[str, WeightUnit | None], name: str) -> None:
    def instant(text: str) -> datetime:
        american = re.fullmatch(r"(\w{3}) (\d+), (\d{4}), (\d+):(\d\d)\s(AM|PM)", text)
        if american:
            hour = int(american[4]) % 12 + (12 if american[6] == "PM" else 0)
            return datetime(int(american[3]), MONTHS[american[1]], int(american[2]), hour, int(american[5]))
        found = re.fullmatch(r"(\d+) (\w{3}) (\d{4}), (\d\d):(\d\d)", text)
        assert found
        return datetime(int(found[3]), MONTHS[found[2]], int(found[1]), int(found[4]), int(found[5]))

    log = _read(shared, units, name)
    spans = dict.fromkeys((instant(row["start_time"]), instant(row["end_time"])) for row in _plain_rows(shared / "lifting-logs" / name))
    assert [start.to_pydatetime() for start in log.workouts["started_at_local"]] == [start for start, _ in spans]
    assert [end.to_pydatetime() for end in log.workouts["ended_at_local"]] == [end for _, end in spans]
    assert log.workouts["duration_seconds"].isna().all()
    assert log.workouts["has_time"].all()


def test_the_same_history_in_kilograms_and_pounds_agrees_to_the_rounding_of_the_file(
    shared: Path, units: dict[str, WeightUnit | None]
) -> None:
    kilograms = _read(shared, units, "fitnotes_f4.csv").sets
    pounds = _read(shared, units, "fitnotes_f4_lb.csv").sets.head(len(kilograms))
    assert kilograms["exercise_name"].tolist() == pounds["exercise_name"].tolist()
    assert kilograms["reps"].tolist() == pounds["reps"].tolist()
    np.testing.assert_allclose(kilograms["weight_kg"], pounds["weight_kg"], atol=0.005 * KG_PER_LB + 1e-9)


def test_the_export_that_a_spreadsheet_saved_agrees_with_the_original(shared: Path, units: dict[str, WeightUnit | None]) -> None:
    original, saved = _read(shared, units, "strong_s1m.csv"), _read(shared, units, "strong_sx_excel.csv")
    columns = ["workout_index", "position", "exercise_name", "weight_kg", "reps", "set_type"]
    assert original.sets[columns].equals(saved.sets[columns])
    assert original.workouts["started_at_local"].dt.floor("min").equals(saved.workouts["started_at_local"])
    assert original.workouts["duration_seconds"].equals(saved.workouts["duration_seconds"])


@pytest.mark.parametrize("name", ["strong_s1.csv", "strong_s2.csv", "strong_s1b_long.csv", "strong_s9_de.csv", "strong_sx_excel.csv"])
def test_an_export_that_names_no_unit_is_refused_until_somebody_says_which(shared: Path, name: str) -> None:
    with pytest.raises(WeightUnitMissing, match="--weight-unit kg or --weight-unit lb"):
        read_log((shared / "lifting-logs" / name).read_bytes(), file_name=name)


def test_an_app_left_running_for_days_has_no_duration(shared: Path, units: dict[str, WeightUnit | None]) -> None:
    log = _read(shared, units, "strong_s1b_long.csv")
    left_running = log.workouts[log.workouts["started_at_local"] == datetime(2024, 1, 4, 17, 27, 52)]
    assert left_running["duration_seconds"].isna().all() and len(left_running) == 1
    assert log.workouts["duration_seconds"].max() <= 6 * 3600


def test_units_beside_each_weight_are_read_row_by_row(shared: Path, units: dict[str, WeightUnit | None]) -> None:
    log = _read(shared, units, "strong_s7_two_units.csv")
    assert log.weight_unit == "per row"
    cable = log.sets[log.sets["line"].between(115, 119)]
    assert cable["weight_kg"].tolist() == pytest.approx([n * KG_PER_LB for n in (9.92, 19.84, 30.86, 30.86, 30.86)], rel=1e-12)
    assert log.sets["distance_m"].max() == pytest.approx(10_020)
    assert int(log.sets["distance_m"].notna().sum()) == 9


def test_a_failed_set_is_kept_with_its_status_as_the_reason(shared: Path, units: dict[str, WeightUnit | None]) -> None:
    log = _read(shared, units, "fitnotes_f6.csv")
    assert log.rejected["line"].tolist() == [7]
    assert "Failed" in log.rejected["reason"][0]
    assert log.workouts["started_at_utc"].notna().all()
    assert log.sets["weight_kg"].max() == 80.0
    assert log.sets.loc[log.sets["exercise_name"] == "Plank", "duration_seconds"].tolist() == [45.0, 60.0]
    assert set(log.sets["equipment_hint"].dropna()) == {"Barbell", "Bodyweight", "Machine", "Dumbbell"}
