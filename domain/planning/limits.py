"""Body areas that want care, and how exercises for them come back after a limitation ended."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import NO_DATE
from domain.planning.movements import Movements

RETURN_WEEKS: Final = 3
FIRST_CUT: Final = 0.30
"""Off the load in the first week back, a third of it less with every further week. Evidence is for modification by symptom, not for
a table (EVIDENCE, injury): the shape follows the ramp after a layoff, the number is a design choice; say so."""
FEWEST_SETS_LEFT: Final = 2
"""A set less for an area that wants care or comes back, but never fewer than two."""


def weeks_back(returning: NDArray[np.uint16], eased_on: NDArray[np.int32], reference: NDArray[np.int32]) -> NDArray[np.int8]:
    """Whole weeks since a user's limitation ended, 0 to RETURN_WEEKS - 1; -1 where there's nothing to come back from."""
    weeks = np.maximum(reference - eased_on, 0) // 7
    known = (returning != 0) & (eased_on > NO_DATE) & (weeks < RETURN_WEEKS)
    return np.where(known, weeks, -1).astype(np.int8)


def is_careful(row: NDArray[np.int16], caution: NDArray[np.uint16], table: Movements) -> NDArray[np.bool_]:
    """Whether an allowed exercise is tagged for an area to be careful with."""
    return (table.caution.take(row) & caution) != 0


def is_returning(row: NDArray[np.int16], returning: NDArray[np.uint16], table: Movements) -> NDArray[np.bool_]:
    """Whether an exercise is tagged at all for an area whose limitation ended lately."""
    return ((table.caution | table.avoid).take(row) & returning) != 0


def load_factor(weeks: NDArray[np.int8]) -> NDArray[np.float32]:
    """What a load is multiplied with, so many weeks (0 …) after the limitation ended: 0.7, 0.8, 0.9, then 1."""
    left = np.maximum(1 - weeks.astype(np.float32) / np.float32(RETURN_WEEKS), 0)
    return (1 - np.float32(FIRST_CUT) * left).astype(np.float32)
