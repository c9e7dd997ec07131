"""The exercise catalogue: `catalogue.csv`, checked at load, as a table and as arrays for vectorised use.

`catalogue.csv` is the source of truth and is edited by hand. One row per exercise, lists separated by `|`:

exercise_key              Small integer that other tables store. Stable: never changed, never given again after a row is removed.
exercise_id               Slug for people and APIs, `bench_press_close_grip_barbell`.
name                      `Movement - Grip (Equipment)`; equipment is left out where the movement implies it (`Plank`, `Log Press`).
movement_pattern          vocabulary.MovementPattern.
equipment                 What is loaded or pulled: vocabulary.Equipment, empty for body weight alone.
requires                  Everything that must be there: `equipment` plus stations (bench, rack, box, pull_up_bar, dip_bars …).
primary_muscles           vocabulary.Muscle; a set counts 1.0 for each. Empty only for conditioning and mobility: a run is no set
                          of squats.
secondary_muscles         vocabulary.Muscle; a set counts 0.5 for each (DESIGN: indirect work is half a set).
laterality                vocabulary.Laterality; unilateral = the repetitions are done for each side in turn.
load_type                 vocabulary.LoadType, what the logged weight means. Bands are `unloaded`: their resistance isn't a weight.
load_per_hand             true where the logged weight is one dumbbell, kettlebell, handle or arm of a pair.
step_kg, step_lb          Smallest usual step of the *logged* load; 0 = not loadable in steps (planned by repetitions or time).
is_compound               More than one joint does the work.
measured_in               reps, seconds or meters.
seconds_per_repetition    Seconds per unit of `measured_in` at a usual tempo, one side.
setup_seconds             To prepare the station once per exercise.
fatigue                   1 (wrist curl) to 5 (heavy deadlift): what a hard set costs the whole body.
failure_safety            safe | spotter (only with a spotter or safety arms) | avoid (never plan to failure).
substitution_family       Exercises that can stand in for each other.
family_load_ratio         Logged load relative to the family's reference exercise (ratio 1), to carry a load over. 0 = loads don't carry over
                          (body weight, assisted, unloaded).
contraindications         `area:severity` (vocabulary.BodyArea, Severity): with trouble in that area take care, or leave the exercise out.
cold_start_ratio          e1RM of the logged load as a multiple of body weight for a male beginner: the *low* value of the tables in
                          EVIDENCE ("Cold start"), carried to variants by family_load_ratio. An estimate of strength, not a prescription:
                          start below it. Assisted exercises: the assistance to start with. 0 = no (added) load.
cold_start_ratio_female   The same for a female beginner.
priority                  1–100: how good a default choice within its family when planning. 1 = for logs only, never planned: it needs a thing
                          (a pool, a ball, a rope) or trains a muscle (tibialis) that the vocabulary doesn't know.
aliases                   Other names, as Strong, Hevy, FitNotes and people write them. An unqualified name (`Squat`) means an
                          exercise only if it stands here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from domain.exercises.names import NameKey, name_key
from domain.vocabulary import BodyArea, Equipment, Laterality, LoadType, MovementPattern, Muscle, Severity

CATALOGUE_PATH: Final = Path(__file__).with_name("catalogue.csv")

COLUMNS: Final = (
    "exercise_key",
    "exercise_id",
    "name",
    "movement_pattern",
    "equipment",
    "requires",
    "primary_muscles",
    "secondary_muscles",
    "laterality",
    "load_type",
    "load_per_hand",
    "step_kg",
    "step_lb",
    "is_compound",
    "measured_in",
    "seconds_per_repetition",
    "setup_seconds",
    "fatigue",
    "failure_safety",
    "substitution_family",
    "family_load_ratio",
    "contraindications",
    "cold_start_ratio",
    "cold_start_ratio_female",
    "priority",
    "aliases",
)

MUSCLES: Final = tuple(Muscle)
EQUIPMENT: Final = tuple(Equipment)
BODY_AREAS: Final = tuple(BodyArea)

PRIMARY_CREDIT: Final = 1.0
SECONDARY_CREDIT: Final = 0.5
"""DESIGN §4: indirect work counts as half a set."""

SEVERITY_LEVEL: Final = {Severity.CAUTION: 1, Severity.AVOID: 2}

_INTEGERS = ("exercise_key", "setup_seconds", "fatigue", "priority")
_NUMBERS = (
    "step_kg",
    "step_lb",
    "seconds_per_repetition",
    "family_load_ratio",
    "cold_start_ratio",
    "cold_start_ratio_female",
)
# Keys are stored as smallint in plans.
_RANGES = {
    "exercise_key": (1, 32767),
    "fatigue": (1, 5),
    "priority": (1, 100),
    "setup_seconds": (1, 600),
    "seconds_per_repetition": (0.1, 60),
}
_BOOLEANS = ("load_per_hand", "is_compound")
_CLOSED: dict[str, frozenset[str]] = {
    "movement_pattern": frozenset(MovementPattern),
    "equipment": frozenset(Equipment) | {""},
    "laterality": frozenset(Laterality),
    "load_type": frozenset(LoadType),
    "measured_in": frozenset({"reps", "seconds", "meters"}),
    "failure_safety": frozenset({"safe", "spotter", "avoid"}),
}
_WITHOUT_MUSCLES = frozenset({MovementPattern.CONDITIONING, MovementPattern.MOBILITY})
_LISTS: dict[str, frozenset[str]] = {
    "requires": frozenset(Equipment),
    "primary_muscles": frozenset(Muscle),
    "secondary_muscles": frozenset(Muscle),
    "contraindications": frozenset(f"{area}:{severity}" for area in BodyArea for severity in Severity),
}


class CatalogueError(ValueError):
    """The exercise catalogue can't be used; the message lists every fault with its row and column."""


def split_list(cell: str) -> list[str]:
    """Words of a `|`-separated cell; an empty cell has none."""
    return [word.strip() for word in cell.split("|") if word.strip()]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The catalogue as arrays: row i of each is exercise i, in the order of the file. Arrays are read-only.

    Words (`movement_pattern`, `load_type` …) are columns of `frame`; a use that needs codes factorises them there.
    """

    frame: pd.DataFrame
    """[exercises] the file's columns, typed; list columns stay `|`-separated text. Treat as read-only."""
    exercise_key: npt.NDArray[np.int32]
    """[exercises]"""
    muscle_credit: npt.NDArray[np.float32]
    """[exercises × MUSCLES] sets credited per set done: 1 primary, 0.5 secondary, 0 neither."""
    requirement: npt.NDArray[np.bool_]
    """[exercises × EQUIPMENT] true where the exercise can't be done without it."""
    contraindication: npt.NDArray[np.int8]
    """[exercises × BODY_AREAS] 0 none, 1 caution, 2 avoid."""
    key_by_name: dict[NameKey, int]
    """Normalised name or alias -> exercise_key."""

    def __len__(self) -> int:
        return len(self.exercise_key)

    @cached_property
    def row_by_key(self) -> npt.NDArray[np.int32]:
        """[max key + 1] row of each exercise_key, −1 where no exercise has that key."""
        rows = np.full(int(self.exercise_key.max()) + 1, -1, dtype=np.int32)
        rows[self.exercise_key] = np.arange(len(self.exercise_key), dtype=np.int32)
        rows.setflags(write=False)
        return rows

    def rows_of(self, exercise_keys: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Rows of exercise keys, any shape; −1 for keys that the catalogue doesn't hold (custom exercises)."""
        keys = np.asarray(exercise_keys, dtype=np.int64)
        inside = (keys >= 0) & (keys < len(self.row_by_key))
        return np.where(inside, self.row_by_key[np.where(inside, keys, 0)], -1).astype(np.int32)

    def available(self, equipment: Iterable[Equipment]) -> npt.NDArray[np.bool_]:
        """[exercises] true where everything that the exercise requires is among `equipment`."""
        owned = set(equipment)
        missing = np.array([word not in owned for word in EQUIPMENT])
        return ~(self.requirement & missing).any(axis=1)


def _faults(raw: pd.DataFrame) -> list[str]:
    """Everything that is wrong with the file's cells, as sentences."""
    faults: list[str] = []
    for row in raw.to_dict("records"):
        where = f"exercise {row['exercise_id'] or row['name']!s}"
        for column, allowed in _CLOSED.items():
            if row[column] not in allowed:
                faults.append(f"{where}: {column} {row[column]!r} isn't a word of the vocabulary")
        for column, allowed in _LISTS.items():
            words = split_list(row[column])
            faults += [f"{where}: {column} {word!r} isn't a word of the vocabulary" for word in words if word not in allowed]
            if len(set(words)) != len(words):
                faults.append(f"{where}: {column} names something twice")
        for column in (*_INTEGERS, *_NUMBERS):
            low, high = _RANGES.get(column, (0, 10_000))
            number = pd.to_numeric(row[column], errors="coerce")
            if not (low <= number <= high) or (column in _INTEGERS and number != int(number)):
                faults.append(f"{where}: {column} {row[column]!r} isn't a number that fits")
        for column in _BOOLEANS:
            if row[column] not in {"true", "false"}:
                faults.append(f"{where}: {column} {row[column]!r} is neither true nor false")
        for column in ("exercise_id", "name", "substitution_family"):
            if not row[column]:
                faults.append(f"{where}: {column} is empty")
        primary, secondary = split_list(row["primary_muscles"]), split_list(row["secondary_muscles"])
        if not primary and row["movement_pattern"] not in _WITHOUT_MUSCLES:
            faults.append(f"{where}: no primary muscle")
        if set(primary) & set(secondary):
            faults.append(f"{where}: {sorted(set(primary) & set(secondary))} both primary and secondary")
        if row["equipment"] and row["equipment"] not in split_list(row["requires"]):
            faults.append(f"{where}: requires lacks its own equipment {row['equipment']!r}")
        areas = [tag.partition(":")[0] for tag in split_list(row["contraindications"])]
        if len(set(areas)) != len(areas):
            faults.append(f"{where}: two contraindications for one body area")
    for column in ("exercise_key", "exercise_id", "name"):
        faults += [f"{column} {value!r} is given twice" for value in raw.loc[raw[column].duplicated(), column]]
    return faults


def _names(raw: pd.DataFrame) -> tuple[dict[NameKey, int], list[str]]:
    """Normalised names and aliases -> exercise_key, and a sentence for each name that would mean two exercises."""
    owner: dict[NameKey, tuple[int, str]] = {}
    faults: list[str] = []
    for key, name, aliases in zip(raw["exercise_key"], raw["name"], raw["aliases"], strict=True):
        for spelling in (name, *split_list(aliases)):
            normal = name_key(spelling)
            if not normal:
                faults.append(f"exercise {name}: alias {spelling!r} has no letter")
                continue
            known_key, known_name = owner.setdefault(normal, (int(key), name))
            if known_key != int(key):
                faults.append(f"{spelling!r} means both {known_name} and {name}")
    return {normal: key for normal, (key, _) in owner.items()}, faults


def read_catalogue(path: Path) -> Catalogue:
    """Read and check a catalogue file.

    Raises:
        CatalogueError: columns differ from COLUMNS, a word isn't in the vocabulary, a number doesn't fit, a key, slug or name is given
            twice, `requires` lacks the equipment, or a name or alias means two exercises after normalisation.
    """
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    if tuple(raw.columns) != COLUMNS:
        wrong = sorted(set(raw.columns) ^ set(COLUMNS)) or "their order"
        raise CatalogueError(f"{path.name}: the columns aren't the catalogue's; differing: {wrong}")
    faults = _faults(raw)
    if faults:
        raise CatalogueError(f"{path.name}: " + "; ".join(faults))
    names, faults = _names(raw)
    if faults:
        raise CatalogueError(f"{path.name}: " + "; ".join(faults))
    frame = raw.assign(
        **{column: raw[column].astype("int32") for column in _INTEGERS},
        **{column: raw[column].astype("float64") for column in _NUMBERS},
        **{column: raw[column] == "true" for column in _BOOLEANS},
    )
    credit = np.maximum(
        PRIMARY_CREDIT * _indicator(raw["primary_muscles"], MUSCLES), SECONDARY_CREDIT * _indicator(raw["secondary_muscles"], MUSCLES)
    )
    contraindication = np.zeros((len(raw), len(BODY_AREAS)), dtype=np.int8)
    for row, cell in enumerate(raw["contraindications"]):
        for tag in split_list(cell):
            area, _, severity = tag.partition(":")
            contraindication[row, BODY_AREAS.index(BodyArea(area))] = SEVERITY_LEVEL[Severity(severity)]
    return Catalogue(
        frame=frame,
        exercise_key=_read_only(frame["exercise_key"].to_numpy(dtype=np.int32, copy=True)),
        muscle_credit=_read_only(credit.astype(np.float32)),
        requirement=_read_only(_indicator(raw["requires"], EQUIPMENT)),
        contraindication=_read_only(contraindication),
        key_by_name=names,
    )


def _indicator(cells: pd.Series, words: tuple[StrEnum, ...]) -> npt.NDArray[np.bool_]:
    """[cells × words] true where the `|`-separated cell names the word."""
    return np.array([[word in named for word in words] for named in map(split_list, cells)], dtype=bool)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """The project's catalogue, read once per process."""
    return read_catalogue(CATALOGUE_PATH)


def load_frame() -> pd.DataFrame:
    """[exercises] the catalogue as a table of one's own: changing it changes nothing for others."""
    return load_catalogue().frame.copy()
