"""What a log says about a user's strength in each exercise: an estimate, and how sure it is."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import NO_DATE, History

MEMORY_SESSIONS: Final = 0.7
"""A session counts a quarter of the one after it. Found by the back-test (docs/decisions, planning): the newest says most, but not all."""
SESSION_NOISE: Final = 0.04
"""Spread (as a share) of one session's estimate around the truth: form of the day, reps in reserve that nobody logged."""
DRIFT_PER_DAY: Final = 0.0008
"""How much less sure an estimate becomes with each day that it is old."""
LARGEST_UNCERTAINTY: Final = 0.25
LOWEST_PLAUSIBLE_KG: Final = 0.5
HIGHEST_PLAUSIBLE_KG: Final = 600.0
"""Outside these no estimate is believed (a squat record is below 500 kg): an absurd history is passed over."""


_SESSION_WEIGHT: Final = np.exp(-np.arange(32) / MEMORY_SESSIONS).astype(np.float32)


@dataclass(frozen=True)
class Estimates:
    """One entry per row of the history."""

    e1rm_kg: NDArray[np.float32]
    """NaN where there is none."""
    uncertainty: NDArray[np.float32]
    """Standard deviation as a share of the estimate."""


def estimate(history: History, today: NDArray[np.int32]) -> Estimates:
    """Weighted mean of the logarithms of the sessions' estimates, newer ones counting more; `today` per history row.

    Uncertainty: the spread of the sessions and the noise of one, less with more sessions, more with each day of age.
    """
    kg = history.e1rm_kg
    usable = (kg >= LOWEST_PLAUSIBLE_KG) & (kg <= HIGHEST_PLAUSIBLE_KG)
    logs = np.log(np.fmin(np.fmax(kg, np.float32(LOWEST_PLAUSIBLE_KG)), np.float32(HIGHEST_PLAUSIBLE_KG)))
    weight = usable * _SESSION_WEIGHT[: kg.shape[1]]
    newest = history.session_on[:, 0].copy()
    others = np.flatnonzero(~usable[:, 0])
    newest[others] = np.where(usable[others], history.session_on[others], np.int32(-(2**30))).max(axis=1, initial=-(2**30))
    total = np.einsum("ij->i", weight)
    safe = np.maximum(total, np.float32(1e-9))
    mean = np.einsum("ij,ij->i", weight, logs) / safe
    spread = np.einsum("ij,ij->i", weight, (logs - mean[:, None]) ** 2) / safe
    age = np.where(total > 0, today - newest, 0).astype(np.float32)
    variance = (spread + np.float32(SESSION_NOISE**2)) / np.maximum(total, np.float32(1)) + (age * np.float32(DRIFT_PER_DAY)) ** 2
    return Estimates(
        np.where(total > 0, np.exp(mean), np.float32(np.nan)).astype(np.float32),
        np.minimum(np.sqrt(variance), np.float32(LARGEST_UNCERTAINTY)).astype(np.float32),
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


# Predicting a load. The numbers were tuned on the shared long logs; each is near the middle of the range that did well.
REPS_MEMORY: Final = 2.5
"""A session counts less the further its repetitions are from those asked for: a third at 2.5 apart."""
HABIT_MEMORY: Final = 4.0
HABIT_REPS: Final = 0.3
HABIT_REACH: Final = 0.10
HABIT_SPREAD: Final = 0.03
"""People lift loads that they lifted before: of those within 10 % of the estimate, the likeliest by how near it is (3 %), how often
and how lately it was used, and for how similar repetitions."""
GAP_FREE_DAYS: Final = 21
GAP_LOSS_PER_WEEK: Final = 0.01
LONGEST_GAP_WEEKS: Final = 10.0
"""Each week without the exercise beyond three takes 1 % off what is expected, up to 10 %."""


def predict_load(
    *, load_kg: NDArray[np.float64], reps: NDArray[np.float64], days_ago: NDArray[np.float64], target_reps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The load that will be lifted for `target_reps` (n,), from the top sets of the sessions before, newest first ((n, sessions); NaN
    past the last). `days_ago` counts from the day to predict. NaN where there is nothing before.

    Mean of the logarithms of the sessions' loads, brought to the target's repetitions by Epley, by recency and likeness of
    repetitions; less after a break; then the load out of habit nearest to it.
    """
    target = target_reps[:, None]
    log_load = np.log(np.where(load_kg > 0, load_kg, np.nan))
    level = log_load + np.log(_by_reps(reps)) - np.log(_by_reps(target))
    age, unlike = np.arange(load_kg.shape[1])[None, :], np.abs(reps - target)
    known = np.isfinite(level)
    weight = np.where(known, np.exp(-age / MEMORY_SESSIONS) * np.exp(-np.where(known, unlike, 0) / REPS_MEMORY), 0)
    total = weight.sum(axis=1)
    expected = np.where(total > 0, (weight * np.where(known, level, 0)).sum(axis=1) / np.maximum(total, 1e-300), np.nan)
    weeks_beyond = np.clip((np.where(known, days_ago, np.inf).min(axis=1, initial=np.inf) - GAP_FREE_DAYS) / 7, 0, LONGEST_GAP_WEEKS)
    expected = expected - GAP_LOSS_PER_WEEK * np.where(total > 0, weeks_beyond, 0)

    habit = np.where(known, np.exp(-age / HABIT_MEMORY) * np.exp(-np.where(known, unlike, 0) * HABIT_REPS), 0)
    plain = np.where(known, log_load, 0)
    same = np.abs(plain[:, :, None] - plain[:, None, :]) < SAME_LOAD_LOG
    often = (same * habit[:, None, :]).sum(axis=2)
    away = plain - expected[:, None]
    score = np.log(often + 1e-300) - away**2 / (2 * HABIT_SPREAD**2)
    score = np.where(known & (np.abs(away) <= HABIT_REACH), score, -np.inf)
    best = score.argmax(axis=1)
    every = np.arange(len(best))
    return np.where(np.isfinite(score[every, best]), np.exp(plain[every, best]), np.exp(expected))


SAME_LOAD_LOG: Final = 0.004
"""Loads within 0.4 % are one: the same plates, typed in another unit."""


def _by_reps(reps: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(reps <= 1, 1.0, 1 + reps / 30)
