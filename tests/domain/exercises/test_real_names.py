"""Exercise names of the shared real exports: most sets are recognised, and each match was read by eye."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from domain.exercises.catalogue import load_catalogue
from domain.exercises.matching import match

NAME_COLUMNS = {"exercise", "exercise name", "exercise_title", "name der übung", "nom de l'exercice"}

Names = Counter[tuple[str, str | None]]


def read_names(path: Path) -> Names:
    """(name, equipment) -> rows of one export."""
    text = path.read_bytes().decode("utf-8-sig")
    first = text.splitlines()[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    name = next(index for index, title in enumerate(header) if title.strip().lower() in NAME_COLUMNS)
    equipment = header.index("Equipment") if "Equipment" in header else None
    return Counter((row[name], row[equipment] if equipment is not None else None) for row in rows if len(row) > name)


@pytest.fixture(scope="module")
def names_by_file(shared: Path) -> dict[str, Names]:
    return {path.name: read_names(path) for path in sorted((shared / "lifting-logs").glob("*.csv"))}


def matched_share(names: Names) -> float:
    matched = sum(rows for (name, hint), rows in names.items() if match(name, equipment_hint=hint) is not None)
    return matched / names.total()


def test_nine_of_ten_sets_in_the_shared_logs_are_of_catalogue_exercises(names_by_file: dict[str, Names]) -> None:
    everything: Names = Counter()
    for names in names_by_file.values():
        everything.update(names)
    assert len(names_by_file) >= 26
    assert matched_share(everything) >= 0.9


def test_no_log_is_mostly_unknown(names_by_file: dict[str, Names]) -> None:
    assert {name: share for name, names in names_by_file.items() if (share := matched_share(names)) < 0.7} == {}


def test_the_equipment_that_a_name_states_is_that_of_its_match(names_by_file: dict[str, Names]) -> None:
    frame = load_catalogue().frame.set_index("exercise_key")
    stated = {
        "(barbell)": {"barbell"},
        "(dumbbell)": {"dumbbell"},
        "(cable)": {"cable"},
        "(smith machine)": {"smith_machine"},
        "(machine)": {"machine", "cardio_machine"},
        "(band)": {"band"},
        "(bodyweight)": {""},
    }
    checked = 0
    for name, hint in {pair for names in names_by_file.values() for pair in names}:
        key = match(name, equipment_hint=hint)
        for words, equipment in stated.items():
            if key is not None and name.lower().endswith(words):
                checked += 1
                assert frame.loc[key, "equipment"] in equipment, name
    assert checked > 100


@pytest.mark.parametrize(
    "word", ["incline", "decline", "seated", "lying", "assisted", "weighted", "single", "reverse", "front", "hammer", "sumo", "romanian"]
)
def test_a_word_that_makes_another_exercise_is_never_lost(word: str, names_by_file: dict[str, Names]) -> None:
    """The match's own name carries the word too, or the two mean the same and stand here, read by eye."""
    same = {
        "Seated Incline Curl (Dumbbell)",
        "Seated Leg Press (Machine)",
        "Seated Machine Fly",
        "Seated Overhead Press (Dumbbell)",
        "Seated Palms Up Wrist Curl",
        "Seated Palms Up Wrist Curl (Dumbbell)",
        "seated palms down wrist curl (dumbbells)",
        "Seated Shoulder Press (Machine)",
        "Seated Wrist Extension (Barbell)",
        "Overhead Smith Seated",
        "Hammer Strength Row",
        "Chest Supported Incline Row (Dumbbell)",
    }
    frame = load_catalogue().frame.set_index("exercise_key")
    for name, hint in {pair for names in names_by_file.values() for pair in names}:
        key = match(name, equipment_hint=hint)
        if key is not None and word in name.lower() and name not in same:
            assert word in frame.loc[key, "name"].lower(), name
