"""What simulated people train: sessions as lists of movement patterns, and the exercises that their equipment allows for each."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.simulation.people import GOALS, KITS, Traits
from domain.simulation.randomness import Bits, below, then, uniform
from domain.vocabulary import Goal, MovementPattern

P = MovementPattern
SLOTS: Final = 6

SESSIONS: Final = (
    ("Full Body A", (P.SQUAT, P.HORIZONTAL_PUSH, P.HORIZONTAL_PULL, P.HINGE, P.TRUNK_FLEXION, P.ELBOW_FLEXION)),
    ("Full Body B", (P.HINGE, P.VERTICAL_PUSH, P.VERTICAL_PULL, P.LUNGE, P.TRUNK_STABILITY, P.ELBOW_EXTENSION)),
    ("Full Body C", (P.SQUAT, P.HORIZONTAL_PUSH, P.VERTICAL_PULL, P.HIP_THRUST, P.LATERAL_RAISE, P.CALF_RAISE)),
    ("Upper A", (P.HORIZONTAL_PUSH, P.HORIZONTAL_PULL, P.VERTICAL_PUSH, P.VERTICAL_PULL, P.ELBOW_EXTENSION, P.ELBOW_FLEXION)),
    ("Lower A", (P.SQUAT, P.HINGE, P.LUNGE, P.KNEE_FLEXION, P.CALF_RAISE, P.TRUNK_FLEXION)),
    ("Upper B", (P.VERTICAL_PUSH, P.VERTICAL_PULL, P.HORIZONTAL_PUSH, P.HORIZONTAL_PULL, P.LATERAL_RAISE, P.REAR_DELT_FLY)),
    ("Lower B", (P.HINGE, P.SQUAT, P.HIP_THRUST, P.KNEE_EXTENSION, P.CALF_RAISE, P.TRUNK_ROTATION)),
    ("Push", (P.HORIZONTAL_PUSH, P.VERTICAL_PUSH, P.CHEST_FLY, P.LATERAL_RAISE, P.ELBOW_EXTENSION, P.TRUNK_FLEXION)),
    ("Pull", (P.VERTICAL_PULL, P.HORIZONTAL_PULL, P.REAR_DELT_FLY, P.ELBOW_FLEXION, P.SHRUG, P.TRUNK_EXTENSION)),
    ("Legs", (P.SQUAT, P.HINGE, P.KNEE_EXTENSION, P.KNEE_FLEXION, P.CALF_RAISE, P.CARRY)),
)
"""Heavy movements first, so that who has less time drops the last ones."""

SPLITS: Final = {1: (0, 1), 2: (0, 1), 3: (0, 1, 2), 4: (3, 4, 5, 6), 5: (7, 8, 9, 3, 4), 6: (7, 8, 9)}
"""Sessions in turn, by days per week."""

REPETITIONS: Final = {
    Goal.STRENGTH: ((3, 6), (5, 8), (8, 12)),
    Goal.HYPERTROPHY: ((6, 10), (8, 12), (10, 15)),
    Goal.GENERAL_FITNESS: ((8, 12), (8, 12), (12, 15)),
    Goal.FAT_LOSS: ((10, 15), (10, 15), (12, 20)),
    Goal.POWERLIFTING: ((2, 5), (5, 8), (8, 12)),
}
"""Lowest and highest repetitions of the first exercise, of other compound ones, and of isolation."""

ERA_WEEKS: Final = 9
"""After this long people swap what they do in the later slots."""


@dataclass(frozen=True)
class Choices:
    """Catalogue rows that a kit allows for a pattern, the most usual first."""

    rows: NDArray[np.int64]
    """(kits, patterns, 8); -1 past the last."""
    count: NDArray[np.int64]
    """(kits, patterns)"""

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        patterns = list(MovementPattern)
        rows = np.full((len(KITS), len(patterns), 8), -1, dtype=np.int64)
        count = np.zeros(rows.shape[:2], dtype=np.int64)
        pattern = catalogue.frame["movement_pattern"].to_numpy()
        priority = catalogue.frame["priority"].to_numpy()
        key = catalogue.exercise_key
        for kit_number, kit in enumerate(KITS):
            usable = catalogue.available(kit.equipment) & (priority >= 20)
            for pattern_number, word in enumerate(patterns):
                found = np.flatnonzero(usable & (pattern == word))
                best = found[np.lexsort((key[found], -priority[found]))][: rows.shape[2]]
                rows[kit_number, pattern_number, : len(best)] = best
                count[kit_number, pattern_number] = len(best)
        return cls(rows, count)


_PATTERN_NUMBER = {word: number for number, word in enumerate(MovementPattern)}
SESSION_PATTERNS: Final = np.array([[_PATTERN_NUMBER[word] for word in patterns] for _, patterns in SESSIONS])
SPLIT_TABLE: Final = np.array([[SPLITS[max(days, 1)][position % len(SPLITS[max(days, 1)])] for position in range(60)] for days in range(7)])
"""(days per week, position) session; 60 is a multiple of every split's length."""
_REPETITION_TABLE: Final = np.array([REPETITIONS[goal] for goal in GOALS])


def session_of(traits: Traits, user: NDArray[np.intp], turn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of SESSIONS a user's workout number `turn` is."""
    return SPLIT_TABLE[traits.days_per_week[user], turn % SPLIT_TABLE.shape[1]]


def exercises_of(
    catalogue: Catalogue,
    choices: Choices,
    traits: Traits,
    person: Bits,
    user: NDArray[np.intp],
    session: NDArray[np.int64],
    era: NDArray[np.int64],
    disliked: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(workouts, SLOTS) catalogue rows, -1 where a slot stays empty. The same user, session, slot and era give the same exercise."""
    slot = np.arange(SLOTS)[None, :]
    pattern = SESSION_PATTERNS[session]
    # People who train to lose fat or stay fit often end on the rower or the bike.
    ends_on_cardio = np.isin(traits.goal, [list(GOALS).index(Goal.FAT_LOSS), list(GOALS).index(Goal.GENERAL_FITNESS)])
    cardio = ends_on_cardio[user][:, None] & (slot == SLOTS - 1) & (uniform(then(person, 300)) < 0.5)[user][:, None]
    pattern = np.where(cardio, _PATTERN_NUMBER[P.CONDITIONING], pattern)
    kit = traits.kit[user][:, None]
    count = choices.count[kit, pattern]
    draw = then(person[user][:, None], 301, session[:, None], slot, np.where(slot < 3, 0, era[:, None]))
    chosen = np.full(draw.shape, -1, dtype=np.int64)
    for attempt in range(3):  # somebody whose knee hurts looks for something else
        position = np.minimum((uniform(then(draw, attempt)) ** 2.2 * count).astype(np.int64), np.maximum(count - 1, 0))
        row = choices.rows[kit, pattern, position]
        suits = (row >= 0) & (row != disliked[user][:, None]) & ~_hurts(catalogue, traits, user, row)
        chosen = np.where((chosen < 0) & suits, row, chosen)
    for later in range(1, SLOTS):  # nobody does the same exercise twice in a session
        chosen[:, later] = np.where((chosen[:, :later] == chosen[:, [later]]).any(axis=1), -1, chosen[:, later])
    return chosen


def _hurts(catalogue: Catalogue, traits: Traits, user: NDArray[np.intp], row: NDArray[np.int64]) -> NDArray[np.bool_]:
    areas = 1 << np.arange(catalogue.contraindication.shape[1])
    any_trouble = (catalogue.contraindication >= 1) @ areas
    sure_trouble = (catalogue.contraindication >= 2) @ areas
    avoided, cautious = traits.avoided[user][:, None], traits.cautious[user][:, None]
    return ((any_trouble[row] & avoided) | (sure_trouble[row] & cautious)) != 0


def exercise_count(traits: Traits, user: NDArray[np.intp], bits: Bits) -> NDArray[np.int64]:
    """How many exercises fit in the session: three to six."""
    fits = np.rint(traits.session_minutes[user] / 13).astype(np.int64)
    return np.clip(fits - (uniform(bits) < 0.15), 3, SLOTS)


def repetition_range(traits: Traits, user: NDArray[np.intp], slot: NDArray[np.intp], is_compound: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(2, exercises) lowest and highest repetitions."""
    kind = np.where(slot == 0, 0, np.where(is_compound, 1, 2))
    return _REPETITION_TABLE[traits.goal[user], kind].T


def dislikes(catalogue: Catalogue, person: Bits) -> NDArray[np.int64]:
    """Catalogue row that a user doesn't want to see again; -1 for the nine of ten who told none."""
    likely = np.flatnonzero(catalogue.frame["priority"].to_numpy() >= 60)
    return np.where(uniform(then(person, 302)) < 0.1, likely[below(then(person, 303), len(likely))], -1)


def favourites(catalogue: Catalogue, person: Bits) -> NDArray[np.int64]:
    """Catalogue row that a user told to prefer; -1 for most."""
    likely = np.flatnonzero(catalogue.frame["priority"].to_numpy() >= 60)
    return np.where(uniform(then(person, 304)) < 0.12, likely[below(then(person, 305), len(likely))], -1)
