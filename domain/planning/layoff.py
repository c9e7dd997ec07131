"""What a break from training takes off load, effort and sets, and how fast it comes back."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FREE_WEEKS: Final = 2.0
"""Up to two weeks off nothing is lost that a plan should act on (< 5 % in the trained; decline is significant from the third week)."""
CUT_PER_WEEK: Final = 0.04
LARGEST_CUT: Final = 0.40
OLDER_FACTOR: Final = 1.5
OLDER_FROM_AGE: Final = 65
"""Bosquet 2013: strength falls with weeks off, and more in those over 65."""
REGAINED_PER_WEEK: Final = 1 / 3
"""Share of the cut that comes back with each week of training again: gone after three (muscle memory, Halonen 2024)."""


def load_factor(weeks_off: ArrayLike, age: ArrayLike = np.nan) -> NDArray[np.float32]:
    """What a load is multiplied with in the first week back, given weeks since the exercise was last trained and age in years.

    1 up to two weeks; then 4 % less per further week, half as much again over 65, never below 0.6. No source gives a table by
    weeks: the shape (none, then growing with a floor, age-aware) follows EVIDENCE, the numbers are a design choice.
    """
    weeks = np.asarray(weeks_off, dtype=np.float32)
    older = np.asarray(age, dtype=np.float32) >= OLDER_FROM_AGE
    cut = np.maximum(weeks - np.float32(FREE_WEEKS), 0) * np.where(older, np.float32(CUT_PER_WEEK * OLDER_FACTOR), np.float32(CUT_PER_WEEK))
    return (1 - np.minimum(cut, np.float32(LARGEST_CUT))).astype(np.float32)


def week_factor(first_week: NDArray[np.float32], weeks_back: int) -> NDArray[np.float32]:
    """The factor in a later week of training (0 = the first): the cut shrinks by a third each week."""
    share = np.float32(max(0.0, 1 - REGAINED_PER_WEEK * weeks_back))
    return (1 - (1 - first_week) * share).astype(np.float32)


def extra_reserve(weeks_off: ArrayLike) -> NDArray[np.int8]:
    """Repetitions in reserve to add in the first week back: 0 up to two weeks, 1 to six weeks, then 2."""
    weeks = np.asarray(weeks_off, dtype=np.float32)
    return (np.int8(0) + (weeks > FREE_WEEKS) + (weeks > 6)).astype(np.int8)


def sets_factor(weeks_off: ArrayLike) -> NDArray[np.float32]:
    """What the number of sets is multiplied with in the first week back: 1, three quarters after two weeks, two thirds after six."""
    weeks = np.asarray(weeks_off, dtype=np.float32)
    return np.where(weeks > 6, np.float32(2 / 3), np.where(weeks > FREE_WEEKS, np.float32(0.75), np.float32(1))).astype(np.float32)
