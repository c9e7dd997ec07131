"""Estimated one-repetition maximum: of one set, and of a history with its uncertainty and its age."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.planning.rpe_chart import share_of_maximum

MOST_REPETITIONS: Final = 12
"""Beyond that an estimate isn't trusted (EVIDENCE, RPE/RIR; DESIGN, e1RM)."""
LOWEST_TRUSTED_RPE: Final = 6.0
"""More than four repetitions in reserve can't be judged (Halperin 2022, Zourdos 2021: error grows away from failure)."""


def epley(weight: ArrayLike, reps: ArrayLike) -> NDArray[np.float64]:
    """e1RM by the project's plain rule: the weight itself for a single, w × (1 + reps/30) for 2-12, else NaN."""
    w, r = np.broadcast_arrays(np.asarray(weight, dtype=np.float64), np.asarray(reps, dtype=np.float64))
    estimate = np.where(r == 1, w, w * (1 + r / 30))
    return np.where((r >= 1) & (r <= MOST_REPETITIONS) & (w > 0), estimate, np.nan)


def brzycki(weight: ArrayLike, reps: ArrayLike) -> NDArray[np.float64]:
    """w × 36 / (37 - reps) for 1-12 repetitions, else NaN, so that it never divides by zero."""
    w, r = np.broadcast_arrays(np.asarray(weight, dtype=np.float64), np.asarray(reps, dtype=np.float64))
    usable = (r >= 1) & (r <= MOST_REPETITIONS) & (w > 0)
    return np.where(usable, w * 36 / (37 - np.where(usable, r, 1)), np.nan)


def from_set(weight: ArrayLike, reps: ArrayLike, rpe: ArrayLike = np.nan) -> NDArray[np.float64]:
    """The planner's e1RM of a set: Epley of the repetitions that were possible, where a trustworthy RPE says how many.

    RPE 6-10 counts as reps + (10 - RPE); without RPE, or below 6, the set is taken as it stands. A single at RPE 10 is
    the weight; a single with reserve goes through the chart, since Epley overstates singles. NaN beyond 12 possible reps.
    """
    w, r, e = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (weight, reps, rpe)))
    trusted = (e >= LOWEST_TRUSTED_RPE) & (e <= 10)
    possible = r + np.where(trusted, 10 - np.where(trusted, e, 10), 0)
    plain = epley(w, possible)
    by_chart = w / share_of_maximum(np.maximum(r, 1), np.where(trusted, e, 10))
    return np.where(trusted & (r == 1) & (possible > 1), by_chart, np.where(r >= 1, plain, np.nan))
