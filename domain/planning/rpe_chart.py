"""Share of the one-repetition maximum that a set of some repetitions at some RPE stands for."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Percent of 1RM by repetitions that could have been done at most, in steps of half a repetition from 1 to 15.
# 1-10: the chart of Reactive Training Systems (Tuchscherer) as widely reproduced. 10.5-15: reproductions differ
# (11 at RPE 10 is 70.7 in most, 71.7 in some); this is the one whose rows satisfy x@r = (x+1)@(r+1) throughout.
_CHART: Final = np.array(
    [
        *(100.0, 97.8, 95.5, 93.9, 92.2, 90.7, 89.2, 87.8, 86.3, 85.0, 83.7, 82.4, 81.1, 79.9, 78.6, 77.4, 76.2, 75.1, 73.9),
        *(72.3, 70.7, 69.4, 68.0, 66.7, 65.3, 64.0, 62.6, 61.3, 59.9),
    ]
)
BEYOND_CHART_PER_REPETITION: Final = 0.972
"""Past 15 possible repetitions each further one takes 2.8 % of what is left: a design choice that meets Epley near 30."""

_TAIL = _CHART[-1] * BEYOND_CHART_PER_REPETITION ** (np.arange(1, 91) * 0.5)
_TABLE: Final[NDArray[np.float32]] = (np.concatenate([_CHART, _TAIL]) / 100).astype(np.float32)


def share_of_maximum(reps: ArrayLike, rpe: ArrayLike) -> NDArray[np.float64]:
    """Load as a share (0-1) of the one-repetition maximum, for `reps` done at `rpe` (to the half point).

    What counts is how many could have been done, reps + (10 - rpe), so x repetitions at RPE r equal x + 1 at r + 1.
    NaN where reps < 1 or RPE is outside 1-10. Source: EVIDENCE, RPE/RIR; 5 @ 8 = 81.1 %.
    """
    reps_, rpe_ = np.broadcast_arrays(np.asarray(reps, dtype=np.float64), np.asarray(rpe, dtype=np.float64))
    possible = reps_ + 10.0 - rpe_
    usable = (reps_ >= 1) & (rpe_ >= 1) & (rpe_ <= 10)
    index = np.clip(np.rint(np.where(usable, possible - 1, 0) * 2), 0, len(_TABLE) - 1).astype(np.intp)
    table = np.concatenate([_CHART, _TAIL]) / 100
    return np.where(usable, table[index], np.nan)


def share_by_possible_reps(possible_reps: NDArray) -> NDArray[np.float32]:
    """The same by whole possible repetitions (reps + reps in reserve, 1-60), as a table lookup for the engine."""
    return _WHOLE[np.clip(possible_reps, 1, 60)]


_WHOLE: Final[NDArray[np.float32]] = np.concatenate([[np.float32(1.0)], _TABLE[0::2][:60]]).astype(np.float32)
"""Index = possible repetitions; entry 0 is never right and repeats the single."""


def percent_of_maximum(reps: int, rpe: float) -> float:
    """The chart's own figure for one set, in percent with one decimal. Raises ValueError where it has none."""
    share = float(share_of_maximum(reps, rpe))
    if np.isnan(share):
        raise ValueError(f"The chart has no entry for {reps} repetitions at RPE {rpe}: repetitions start at 1, RPE goes from 1 to 10.")
    return round(share * 100, 1)


def reps_from_share(share: ArrayLike, rpe: ArrayLike = 10.0) -> NDArray[np.float64]:
    """The inverse: repetitions (possibly fractional) that `share` of the maximum allows at `rpe`; NaN outside (0, 1]."""
    share_, rpe_ = np.broadcast_arrays(np.asarray(share, dtype=np.float64), np.asarray(rpe, dtype=np.float64))
    usable = (share_ > 0) & (share_ <= 1)
    table = np.concatenate([_CHART, _TAIL]) / 100
    possible = np.interp(-np.where(usable, share_, 1.0), -table, 1 + np.arange(len(table)) * 0.5)
    return np.where(usable, possible - (10.0 - rpe_), np.nan)
