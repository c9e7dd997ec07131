"""From the raw sets of a log to the history that the engine reads: the last sessions of each exercise, by columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.planning import e1rm
from domain.planning.inputs import NO_DATE, SESSIONS_KEPT, History


def history_of_sets(
    *,
    user_keys: NDArray[np.int64],
    user_key: NDArray[np.int64],
    exercise_key: NDArray[np.int32],
    workout_key: NDArray[np.int64],
    started_at: NDArray[np.int64],
    session_on: NDArray[np.int32],
    load_kg: NDArray[np.float32],
    reps: NDArray[np.int16],
    rpe: NDArray[np.float32],
    is_sorted: bool = False,
) -> History:
    """Working sets, one entry each in any order, to a `History` for `user_keys` (ascending; sets of others are left out).

    `started_at` orders a user's workouts (any clock), the workout's key those that began together. Load 0 and repetitions 0 stand
    for none, RPE NaN; `is_sorted` says that sets come by user, exercise and session, newest first. What counts is in the docstring
    of `History`; a log says nothing of prescriptions, so those are left empty.
    """
    place = np.searchsorted(user_keys, user_key)
    known = (
        (place < len(user_keys)) & (user_keys[np.minimum(place, max(len(user_keys) - 1, 0))] == user_key)
        if len(user_keys)
        else np.zeros(0, bool)
    )
    chosen = np.flatnonzero(known)
    if not len(chosen):
        return History.empty(len(user_keys))
    order = chosen if is_sorted else chosen[np.lexsort((-workout_key[chosen], -started_at[chosen], exercise_key[chosen], place[chosen]))]
    owner, exercise, workout = place[order], exercise_key[order], workout_key[order]
    load, done, effort = load_kg[order], reps[order].astype(np.int64), rpe[order]

    new_row = np.concatenate([[True], (owner[1:] != owner[:-1]) | (exercise[1:] != exercise[:-1])])
    new_session = new_row | np.concatenate([[True], workout[1:] != workout[:-1]])
    first = np.flatnonzero(new_session)
    session = np.cumsum(new_session) - 1
    row_first = np.flatnonzero(new_row[first])
    row = np.cumsum(new_row[first]) - 1
    recency = np.arange(len(first)) - row_first[row]

    top = np.maximum.reduceat(load, first)
    at_top = load == top[session]
    most = np.maximum.reduceat(np.where(at_top, done, 0), first)
    fewest = np.minimum.reduceat(np.where(at_top, done, 1 << 30), first)
    count = np.add.reduceat(at_top.astype(np.int64), first)
    rated = at_top & ~np.isnan(effort)
    ratings = np.add.reduceat(rated.astype(np.int64), first)
    total = np.add.reduceat(np.where(rated, effort, 0).astype(np.float64), first)
    estimate = np.nan_to_num(e1rm.from_set(load, done, effort), nan=-1.0)
    best = np.maximum.reduceat(estimate, first)

    kept = np.flatnonzero(recency < SESSIONS_KEPT)
    at = (row[kept], recency[kept])
    shape = (len(row_first), SESSIONS_KEPT)

    def matrix(values: NDArray, dtype: type, empty: Any) -> NDArray:
        out: NDArray = np.full(shape, empty, dtype=dtype)
        out[at] = values[kept]
        return out

    rows_of_user = np.bincount(owner[first][row_first], minlength=len(user_keys))
    return History(
        offsets=np.concatenate([[0], np.cumsum(rows_of_user)]).astype(np.int64),
        exercise_key=exercise[first][row_first].astype(np.int32),
        session_on=matrix(session_on[order][first], np.int32, NO_DATE),
        top_load_kg=matrix(top, np.float32, 0),
        top_reps=matrix(np.minimum(most, 1000), np.int16, 0),
        fewest_reps=matrix(np.minimum(fewest, 1000), np.int16, 0),
        sets_at_top=matrix(np.minimum(count, 100), np.int16, 0),
        working_sets=matrix(np.minimum(np.diff(np.append(first, len(order))), 100), np.int16, 0),
        rpe=matrix(np.where(ratings > 0, total / np.maximum(ratings, 1), np.nan), np.float32, np.nan),
        e1rm_kg=matrix(np.where(best > 0, best, np.nan), np.float32, np.nan),
        prescribed_kg=np.full(len(row_first), np.nan, dtype=np.float32),
        prescribed_sets=np.zeros(len(row_first), dtype=np.int16),
    )
