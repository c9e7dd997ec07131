"""Sets, repetitions, rest and reserve by goal, experience and role: the numbers of a prescription before anything is known of loads."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import GOALS, LEVELS
from domain.planning.splits import ISOLATION, MAIN, SECONDARY
from domain.vocabulary import ExperienceLevel, Goal

LOADED, BY_BODYWEIGHT, TIMED = range(3)
"""How an exercise is dosed: by load, by repetitions of the body's weight, by seconds (then "repetitions" are seconds)."""

DELOAD_RESERVE: Final = 4


@dataclass(frozen=True)
class Scheme:
    sets: int
    reps: tuple[int, int]
    rest_seconds: int


# Strength: heavy 1-6 RM with 3-5 min; size: 6-15 RM, 1.5-3 min; light work 60-90 s (ACSM 2009 and 2026, Schoenfeld 2021, Singer 2024).
_SCHEMES: Final[dict[Goal, tuple[Scheme, Scheme, Scheme]]] = {
    Goal.STRENGTH: (Scheme(4, (4, 6), 180), Scheme(3, (6, 8), 150), Scheme(3, (8, 12), 90)),
    Goal.POWERLIFTING: (Scheme(4, (3, 5), 210), Scheme(3, (5, 8), 150), Scheme(3, (8, 12), 90)),
    Goal.HYPERTROPHY: (Scheme(3, (6, 10), 150), Scheme(3, (8, 12), 120), Scheme(3, (10, 15), 75)),
    Goal.GENERAL_FITNESS: (Scheme(3, (8, 12), 120), Scheme(3, (8, 12), 90), Scheme(2, (10, 15), 75)),
    Goal.FAT_LOSS: (Scheme(3, (8, 12), 105), Scheme(3, (10, 15), 90), Scheme(2, (12, 15), 60)),
}
_BEGINNER_MAIN: Final[dict[Goal, Scheme]] = {
    Goal.STRENGTH: Scheme(3, (5, 8), 180),
    Goal.POWERLIFTING: Scheme(3, (5, 8), 180),
    Goal.HYPERTROPHY: Scheme(3, (8, 12), 120),
}
"""Novices stay at 8-12 RM or somewhat below (ACSM 2009); a single heavy set teaches them little."""
_BODYWEIGHT_REPS: Final = ((6, 15), (8, 15), (10, 20))
_TIMED_SECONDS: Final = ((20, 40), (20, 40), (20, 45))

_RESERVE: Final[dict[ExperienceLevel, tuple[int, int, int]]] = {
    ExperienceLevel.BEGINNER: (3, 3, 2),
    ExperienceLevel.INTERMEDIATE: (3, 2, 1),
    ExperienceLevel.ADVANCED: (3, 2, 1),
}
"""Repetitions in reserve in the three building weeks; failure isn't needed (Refalo 2023), beginners judge it badly (Steele 2017)."""

MOST_SETS_OF_AN_EXERCISE: Final = 5
MAIN_SETS_ADDED, OTHER_SETS_ADDED = 2, 1
"""Over a mesocycle whose volume grows: what a session is about grows more than what fills it up."""


def scheme(goal: Goal, level: ExperienceLevel, role: int, dose: int) -> Scheme:
    """The scheme of one slot."""
    base = _SCHEMES[goal][role]
    if level is ExperienceLevel.BEGINNER:
        if role == MAIN and goal in _BEGINNER_MAIN:
            base = _BEGINNER_MAIN[goal]
        base = Scheme(min(base.sets, 3 if role == MAIN else 2), base.reps, base.rest_seconds)
    if level is ExperienceLevel.ADVANCED and role == SECONDARY and goal is Goal.HYPERTROPHY:
        base = Scheme(4, base.reps, base.rest_seconds)
    if dose == BY_BODYWEIGHT:
        return Scheme(base.sets, _BODYWEIGHT_REPS[role], min(base.rest_seconds, 120))
    if dose == TIMED:
        return Scheme(base.sets, _TIMED_SECONDS[role], min(base.rest_seconds, 75))
    return base


def tables() -> tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Sets, fewest and most repetitions, rest, at index ((goal × levels + level) × 3 + role) × 3 + dose."""
    all_schemes = [
        scheme(goal, level, role, dose)
        for goal in GOALS
        for level in LEVELS
        for role in (MAIN, SECONDARY, ISOLATION)
        for dose in (LOADED, BY_BODYWEIGHT, TIMED)
    ]
    return (
        np.array([s.sets for s in all_schemes], dtype=np.int8),
        np.array([s.reps[0] for s in all_schemes], dtype=np.int16),
        np.array([s.reps[1] for s in all_schemes], dtype=np.int16),
        np.array([s.rest_seconds for s in all_schemes], dtype=np.int16),
    )


def reserve_table() -> NDArray[np.int8]:
    """(levels, 4 phases): repetitions in reserve; the fourth phase is the deload."""
    return np.array([[*_RESERVE[level], DELOAD_RESERVE] for level in LEVELS], dtype=np.int8)
