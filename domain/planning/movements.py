"""The exercise catalogue as the columns that the engine reads, and the best exercises for each need and kind of user."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.planning import reasons
from domain.planning.hashing import fold
from domain.planning.inputs import EQUIPMENT, GOALS, LEVELS
from domain.planning.plates import BAR_KG, BAR_LB
from domain.planning.schemes import BY_BODYWEIGHT, LOADED, TIMED
from domain.planning.splits import FALLBACKS, NEED_OF_PATTERN, Need
from domain.planning.supersets import are_antagonists
from domain.planning.volume import pack
from domain.vocabulary import Equipment, ExperienceLevel, Goal, LoadType, MovementPattern

COMPOUND_NEEDS: Final = frozenset(
    (
        Need.SQUAT,
        Need.HINGE,
        Need.HORIZONTAL_PUSH,
        Need.VERTICAL_PUSH,
        Need.HORIZONTAL_PULL,
        Need.VERTICAL_PULL,
        Need.LUNGE,
        Need.HIP_THRUST,
    )
)
CANDIDATES: Final = 8
"""Best exercises kept per need: what remains when a user dislikes some of them."""
FIRST_SHARE: Final = 0.8
"""Share of an assumed maximum that a first load may reach: ten repetitions with some in reserve take about two thirds."""
BARS: Final[dict[Equipment, tuple[float, float]]] = {
    Equipment.BARBELL: (BAR_KG, BAR_LB),
    Equipment.TRAP_BAR: (25.0, 55.0),
    Equipment.EZ_BAR: (7.5, 15.0),
    Equipment.SMITH_MACHINE: (15.0, 35.0),
}
"""Lightest load, in kg and in lb: the empty bar. Smith machines differ; this is a common one."""

BARBELL_KIND, EZ_BAR_KIND, TRAP_BAR_KIND, SMITH_KIND, DUMBBELL_KIND, STACK_KIND, OTHER_KIND = range(7)
"""Which part of an inventory of plates an exercise's load comes from; what takes plates is up to SMITH_KIND."""
BAR_KINDS: Final = (Equipment.BARBELL, Equipment.EZ_BAR, Equipment.TRAP_BAR, Equipment.SMITH_MACHINE)
_INVENTORY_KIND: Final = {
    **{bar: kind for kind, bar in enumerate(BAR_KINDS)},
    Equipment.DUMBBELL: DUMBBELL_KIND,
    Equipment.MACHINE: STACK_KIND,
    Equipment.CABLE: STACK_KIND,
}


@dataclass(frozen=True, eq=False)
class Movements:
    """Row i is row i of the catalogue; one further row at the end stands for "no exercise" and is neutral in every column."""

    key: NDArray[np.int32]
    need: NDArray[np.int8]
    """-1 where the engine doesn't plan the exercise by itself."""
    pin_need: NDArray[np.int64]
    """The need that a user's own exercise may take: as `need`, but isolated work doesn't take a compound need."""
    pattern: NDArray[np.int8]
    dose: NDArray[np.int8]
    requires: NDArray[np.uint32]
    caution: NDArray[np.uint16]
    avoid: NDArray[np.uint16]
    muscles: NDArray[np.uint64]
    """(WORDS, rows) half sets per set, packed (see `volume`)."""
    half_sets: NDArray[np.uint64]
    """(rows, muscles) half sets per set, not packed."""
    repetition_seconds: NDArray[np.float32]
    """Both sides together."""
    setup_seconds: NDArray[np.int32]
    is_compound: NDArray[np.bool_]
    is_heavy: NDArray[np.bool_]
    """Loaded compound work that wants a full warm-up."""
    takes_few_reps: NDArray[np.bool_]
    """Compound work on a bar: strength is trained there with few repetitions and small steps, elsewhere with a few more."""
    step_kg: NDArray[np.float32]
    step_lb: NDArray[np.float32]
    lightest_kg: NDArray[np.float32]
    lightest_lb: NDArray[np.float32]
    inventory_kind: NDArray[np.int8]
    family: NDArray[np.int16]
    family_ratio: NDArray[np.float32]
    cold_start: NDArray[np.float32]
    """(3 sexes: unknown, female, male; rows) e1RM as a share of body weight. Unknown takes the lower one."""
    priority: NDArray[np.int16]
    needs_barbell: NDArray[np.bool_]
    antagonist: NDArray[np.bool_]
    """(patterns, patterns)"""
    families: int
    fingerprint: int

    def __len__(self) -> int:
        return len(self.key) - 1


@lru_cache(maxsize=4)
def movements(catalogue: Catalogue) -> Movements:
    """The columns of a catalogue; the same object each time, since catalogues don't change."""
    frame = catalogue.frame
    patterns = tuple(MovementPattern)
    none = len(frame)
    pattern = np.array([patterns.index(MovementPattern(word)) for word in frame["movement_pattern"]] + [-1], dtype=np.int8)
    need = np.array([NEED_OF_PATTERN.get(MovementPattern(word), -1) for word in frame["movement_pattern"]] + [-1], dtype=np.int8)
    measured = frame["measured_in"].to_numpy(dtype=object)
    load_type = frame["load_type"].to_numpy(dtype=object)
    steps = _padded(frame["step_kg"], np.float32)
    carries_load = (load_type == LoadType.EXTERNAL) & (frame["step_kg"].to_numpy() > 0)
    dose = np.append(np.where(measured == "seconds", TIMED, np.where(carries_load, LOADED, BY_BODYWEIGHT)), LOADED).astype(np.int8)
    need[:-1][(measured == "meters") | (load_type == LoadType.ASSISTED)] = -1
    need[:-1][frame["failure_safety"].to_numpy(dtype=object) == "avoid"] = -1
    equipment = [Equipment(word) if word else None for word in frame["equipment"]]
    bar_weights = [BARS.get(word, (0.0, 0.0)) if word else (0.0, 0.0) for word in equipment]
    step_kg, step_lb = frame["step_kg"].to_numpy(), frame["step_lb"].to_numpy()
    families, family = np.unique(frame["substitution_family"].to_numpy(dtype=object).astype(str), return_inverse=True)
    male, female = frame["cold_start_ratio"].to_numpy(), frame["cold_start_ratio_female"].to_numpy()
    half_sets = np.concatenate(
        [np.rint(catalogue.muscle_credit * 2).astype(np.uint8), np.zeros((1, catalogue.muscle_credit.shape[1]), np.uint8)]
    )
    levels = catalogue.contraindication
    powers = (1 << np.arange(levels.shape[1])).astype(np.int64)
    is_compound = np.append(frame["is_compound"].to_numpy(), False)
    sides = np.where(frame["laterality"].to_numpy(dtype=object) == "unilateral", 2, 1)
    columns: dict[str, Any] = {
        "key": np.append(catalogue.exercise_key, np.int32(-1)).astype(np.int32),
        "need": need,
        "pattern": pattern,
        "dose": dose,
        "requires": np.append(catalogue.requirement @ (1 << np.arange(len(EQUIPMENT))), 0).astype(np.uint32),
        "caution": np.append((levels == 1) @ powers, 0).astype(np.uint16),
        "avoid": np.append((levels == 2) @ powers, 0).astype(np.uint16),
        "repetition_seconds": _padded(frame["seconds_per_repetition"] * sides, np.float32),
        "setup_seconds": _padded(frame["setup_seconds"], np.int32),
        "is_compound": is_compound,
        "is_heavy": is_compound & np.append(carries_load & (frame["fatigue"].to_numpy() >= 3), False),
        "takes_few_reps": is_compound & np.array([word in BARS for word in [*equipment, None]]),
        "step_kg": np.where(steps > 0, steps, np.float32(1)),
        "step_lb": np.where(np.append(step_lb, 0) > 0, np.append(step_lb, 0), 1).astype(np.float32),
        "lightest_kg": np.array([max(bar[0], step) for bar, step in zip(bar_weights, step_kg, strict=True)] + [0], dtype=np.float32),
        "lightest_lb": np.array([max(bar[1], step) for bar, step in zip(bar_weights, step_lb, strict=True)] + [0], dtype=np.float32),
        "inventory_kind": np.array([_INVENTORY_KIND.get(word, OTHER_KIND) if word else OTHER_KIND for word in [*equipment, None]], np.int8),
        "family": np.append(family, -1).astype(np.int16),
        "family_ratio": _padded(frame["family_load_ratio"], np.float32),
        "cold_start": np.array([np.append(ratio, 0) for ratio in (np.minimum(male, female), female, male)], dtype=np.float32),
        "priority": _padded(frame["priority"], np.int16),
        "needs_barbell": np.append(np.array([word is Equipment.BARBELL for word in equipment]), False),
    }
    fingerprint = np.zeros(none + 1, dtype=np.uint64)
    for column in columns.values():
        for part in np.atleast_2d(column):
            fingerprint = fold(fingerprint, part)
    total = fold(
        np.zeros(1, dtype=np.uint64),
        np.array([np.sum(fingerprint ^ (np.arange(none + 1, dtype=np.uint64) << np.uint64(32)))]).view(np.int64),
    )
    compound_need = np.isin(need, [int(word) for word in COMPOUND_NEEDS])
    columns["pin_need"] = np.where(compound_need & ~columns["is_compound"], -1, need).astype(np.int64)
    antagonist = np.array([[are_antagonists(one, other) for other in patterns] for one in patterns])
    return Movements(
        **columns,
        muscles=pack(half_sets),
        half_sets=half_sets.astype(np.uint64),
        antagonist=antagonist,
        families=len(families),
        fingerprint=int(total[0]),
    )


def _padded(column: Any, dtype: Any) -> NDArray:
    return np.append(np.asarray(column), 0).astype(dtype)


_BEST, _EQUIPMENT, _SPARES, _OTHER = (
    np.int8(reasons.number_of(f"exercise.{word}")) for word in ("best", "other_equipment", "spares_area", "other_movement")
)


@dataclass(frozen=True)
class Candidates:
    """The best exercises per kind of user (column s of `allowed` and of the last axis of the others)."""

    best: NDArray[np.int16]
    """(needs, CANDIDATES, s) rows of `Movements`, the best first; the last row where there are fewer."""
    absent: NDArray[np.uint8]
    """(needs, s) bits of the places of `best` that are empty."""
    place_of: NDArray[np.int8]
    """(rows, s) place of an exercise among the best of its own need; CANDIDATES where it isn't among them, or another need stands in."""
    allowed: NDArray[np.bool_]
    """(rows, s) whether equipment and limitations permit it."""
    borrows: NDArray[np.bool_]
    """(s,) whether another need stands in anywhere."""
    reason: NDArray[np.int8]
    """(needs, s) why the best is what it is: another need stands in, an area is spared, equipment is missing, or it's the best of all."""


def candidates(
    table: Movements,
    *,
    goal: NDArray[np.int8],
    experience: NDArray[np.int8],
    equipment: NDArray[np.uint32],
    caution: NDArray[np.uint16],
    avoid: NDArray[np.uint16],
    sex: NDArray[np.int8],
    start_kg: NDArray[np.float32],
) -> Candidates:
    """Rank the exercises of each need for s kinds of users, one entry per kind in every array.

    Allowed: all that it requires is at hand; nothing in an area to avoid, nothing tagged "avoid" in an area that wants caution.
    Ranked by the catalogue's priority, less what the area to be careful with, the goal and the experience speak against, and
    far behind where the lightest load is likely too heavy to start with: `start_kg` times an exercise's cold-start ratio is the
    maximum that somebody without a log is assumed to have.
    """
    kinds = len(goal)
    rows = len(table) + 1
    has_equipment = (table.requires[:, None] & ~equipment[None, :]) == 0
    spares = ((table.avoid[:, None] & (avoid | caution)[None, :]) | (table.caution[:, None] & avoid[None, :])) == 0
    allowed = has_equipment & spares & (table.need >= 0)[:, None]
    allowed[-1] = False
    fit = _fit_table(table)[goal.astype(np.intp) * len(LEVELS) + experience].T  # (rows, kinds)
    careful = ((table.caution[:, None] & caution[None, :]) != 0) * np.int16(25)
    assumed = table.cold_start[sex + 1].T * start_kg[None, :]
    too_heavy = (table.dose == LOADED)[:, None] & (table.lightest_kg[:, None] > assumed * np.float32(FIRST_SHARE))
    careful = careful + too_heavy * np.int16(60)
    score = (fit - careful).astype(np.int32) * 1024 + (1023 - np.arange(rows, dtype=np.int32))[:, None]
    best = np.full((len(Need), CANDIDATES, kinds), rows - 1, dtype=np.int16)
    # What would be first with this equipment and no limitation, and with all equipment and no limitation
    unlimited = np.full((len(Need), kinds), rows - 1, dtype=np.int16)
    ideal = np.full((len(Need), kinds), rows - 1, dtype=np.int16)
    for need in Need:
        members = np.flatnonzero(table.need == need)
        if not len(members):
            continue
        pool = np.where(allowed[members], score[members], -1)
        take = min(CANDIDATES, len(members))
        for place in range(take):
            top = pool.max(axis=0)
            found = top >= 0
            chosen = 1023 - (top & 1023)
            best[need, place] = np.where(found, chosen, rows - 1)
            pool[pool == top] = -1
            if not found.any():
                break
        plain = (fit[members].astype(np.int32) * 1024) + (1023 - members.astype(np.int32))[:, None]
        ideal[need] = 1023 - (plain.max(axis=0) & 1023)
        reachable = np.where(has_equipment[members], plain, -1).max(axis=0)
        unlimited[need] = np.where(reachable >= 0, 1023 - (reachable & 1023), rows - 1)
    borrowed = np.zeros((len(Need), kinds), dtype=bool)
    own = best.copy()
    for need in Need:
        for other in FALLBACKS[need]:
            missing = best[need, 0] == rows - 1
            if not missing.any():
                break
            best[need] = np.where(missing, own[other], best[need])
            borrowed[need] |= missing & (own[other, 0] != rows - 1)
    absent = np.packbits(best == rows - 1, axis=1, bitorder="little")[:, 0]
    place_of = np.full((rows, kinds), CANDIDATES, dtype=np.int8)
    for place in range(CANDIDATES):
        np.put_along_axis(place_of, own[:, place].astype(np.intp), np.int8(place), axis=0)
    place_of[-1] = CANDIDATES
    spared = ~np.take_along_axis(allowed, unlimited.astype(np.intp), axis=0) & (unlimited != rows - 1)
    reason = np.where(spared, _SPARES, np.where(unlimited != ideal, _EQUIPMENT, _BEST))
    return Candidates(best, absent, place_of, allowed, np.asarray(borrowed.any(axis=0)), np.where(borrowed, _OTHER, reason).astype(np.int8))


@lru_cache(maxsize=4)
def _fit_table(table: Movements) -> NDArray[np.int16]:
    """(goals × levels, rows) priority for a goal and an experience, always positive for planned exercises."""
    compound_need = np.isin(table.need, [int(need) for need in COMPOUND_NEEDS])
    out = np.zeros((len(GOALS) * len(LEVELS), len(table.key)), dtype=np.int16)
    for g, goal in enumerate(GOALS):
        for e, level in enumerate(LEVELS):
            fit = table.priority.astype(np.int16) + 200
            fit = fit - np.where(compound_need & ~table.is_compound, 40, 0)
            # Upright rows: where a shoulder is to be looked after they're what to modify first (Escalante 2017).
            fit = fit - np.where((table.need == Need.LATERAL_RAISE) & table.is_compound, 40, 0)
            if goal in (Goal.STRENGTH, Goal.POWERLIFTING):
                fit = fit + np.where(table.needs_barbell & compound_need, 8, 0)
            if goal in (Goal.STRENGTH, Goal.POWERLIFTING, Goal.HYPERTROPHY):
                fit = fit + np.where((table.dose == LOADED) & (table.need >= 0), 10, 0)
            if level is ExperienceLevel.BEGINNER:
                # Pull-ups and dips ask for a strength that most beginners don't have; without a log nobody knows.
                hard = (table.need == Need.VERTICAL_PULL) & (table.dose == BY_BODYWEIGHT) & (table.requires != 0)
                fit = fit - np.where(hard, 18, 0)
            out[g * len(LEVELS) + e] = fit
    return out
