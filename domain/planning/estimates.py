"""What a log says about a user's strength in each exercise: an estimate, how sure it is, and how old."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import NO_DATE, History

MEMORY_DAYS: Final = 21.0
"""Weight of a session falls to a third with every so many days before the newest one."""
SESSION_NOISE: Final = 0.04
"""Spread (as a share) of one session's estimate around the truth: form of the day, reps in reserve that nobody logged."""
DRIFT_PER_DAY: Final = 0.0008
"""How much less sure an estimate becomes with each day that it is old."""
LARGEST_UNCERTAINTY: Final = 0.25
LOWEST_PLAUSIBLE_KG: Final = 0.5
HIGHEST_PLAUSIBLE_KG: Final = 600.0
"""Outside these no estimate is believed (a squat record is below 500 kg): an absurd history is passed over."""


@dataclass(frozen=True)
class Estimates:
    """One entry per row of the history."""

    e1rm_kg: NDArray[np.float32]
    """NaN where there is none."""
    uncertainty: NDArray[np.float32]
    """Standard deviation as a share of the estimate."""
    age_days: NDArray[np.float32]
    """Days since the newest session that it rests on."""


def estimate(history: History, today: NDArray[np.int32]) -> Estimates:
    """Weighted mean of the logarithms of the sessions' estimates, newer ones counting more; `today` per history row.

    Uncertainty: the spread of the sessions and the noise of one, less with more sessions, more with each day of age.
    """
    kg = history.e1rm_kg
    usable = (kg >= LOWEST_PLAUSIBLE_KG) & (kg <= HIGHEST_PLAUSIBLE_KG)
    logs = np.log(np.where(usable, kg, np.float32(1)))
    newest = np.where(usable, history.session_on, np.int32(-(2**30))).max(axis=1, initial=-(2**30))
    behind = np.clip(newest[:, None] - history.session_on, 0, 400).astype(np.float32)
    weight = np.where(usable, np.exp(behind * np.float32(-1 / MEMORY_DAYS)), np.float32(0))
    total = weight.sum(axis=1)
    safe = np.maximum(total, np.float32(1e-9))
    mean = (weight * logs).sum(axis=1) / safe
    spread = (weight * (logs - mean[:, None]) ** 2).sum(axis=1) / safe
    age = np.where(total > 0, today - newest, 0).astype(np.float32)
    variance = (spread + np.float32(SESSION_NOISE**2)) / np.maximum(total, np.float32(1)) + (age * np.float32(DRIFT_PER_DAY)) ** 2
    return Estimates(
        np.where(total > 0, np.exp(mean), np.float32(np.nan)).astype(np.float32),
        np.minimum(np.sqrt(variance), np.float32(LARGEST_UNCERTAINTY)).astype(np.float32),
        np.maximum(age, np.float32(0)),
    )


REMEMBERED_DAYS: Final = 730
"""Sessions older than two years say nothing about today."""


def forget(history: History, reference: NDArray[np.int32]) -> History:
    """The history without sessions older than REMEMBERED_DAYS before each user's reference day; the same object if there are none."""
    oldest = np.repeat(reference - REMEMBERED_DAYS, np.diff(history.offsets)).astype(np.int32)
    old = (history.session_on < oldest[:, None]) & (history.session_on > NO_DATE)
    if not old.any():
        return history
    blank = {"session_on": NO_DATE, "rpe": np.float32(np.nan), "e1rm_kg": np.float32(np.nan)}
    columns = {}
    for each in fields(history):
        values = getattr(history, each.name)
        columns[each.name] = np.where(old, np.array(blank.get(each.name, 0), dtype=values.dtype), values) if values.ndim == 2 else values
    return History(**columns)
