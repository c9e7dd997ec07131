"""When a load goes up, stays or comes down: double, linear and gated rules, the 2-10 % guideline, percentage waves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.planning import prescribed

SMALLEST_STEP_SHARE: Final = 0.02
LARGEST_STEP_SHARE: Final = 0.10
"""A rise is 2-10 % of the load (ACSM 2009), unless the equipment's smallest step is larger than that."""
MISSES_BEFORE_A_CUT: Final = 2
"""The first session below the range holds the load; the second in a row cuts it."""
CUT_SHARE: Final = 0.10

HOLD, LOAD_UP, LOAD_DOWN, HOLD_MISSED, HOLD_LIFTED_LESS, ADD_REPS = range(6)
"""What a progression rule decided."""


@dataclass(frozen=True)
class NextSession:
    weight: float
    rep_target: int
    """Repetitions to aim at in the first set; between the range's ends, always."""
    decision: int
    misses: int


def double_progression(
    *,
    weight: float,
    reps_done: Sequence[int],
    sets: int,
    rep_min: int,
    rep_max: int,
    increment: float,
    misses_before: int = 0,
    prescribed_weight: float | None = None,
) -> NextSession:
    """The rule for one exercise, weights in any one unit.

    Up by `increment` only when *all* prescribed sets reached the *top* of the range at no less than the prescribed weight.
    A session with a set below the range is a miss: the first holds, the second in a row cuts 10 %. The repetition target never
    leaves the range. Source: PLANNERS, defects of peers (gate on one set or on the bottom; a floor that drifts down).
    """
    decision, misses = decide_double(
        sets_done=len(reps_done),
        fewest_reps=min(reps_done, default=0),
        sets=sets,
        rep_min=rep_min,
        rep_max=rep_max,
        misses_before=misses_before,
        lifted_share=prescribed.lifted_share(weight, np.nan if prescribed_weight is None else prescribed_weight),
    )
    code = int(decision)
    base = weight if prescribed_weight is None else min(weight, prescribed_weight) if code == LOAD_DOWN else weight
    if code == LOAD_UP:
        return NextSession(weight + increment, rep_min, code, 0)
    if code == LOAD_DOWN:
        return NextSession(_down_to(base * (1 - CUT_SHARE), increment), rep_min, code, 0)
    target = rep_min if not reps_done else int(np.clip(min(reps_done) + 1, rep_min, rep_max))
    return NextSession(weight, target, code, int(misses))


def decide_double(
    *,
    sets_done: ArrayLike,
    fewest_reps: ArrayLike,
    sets: ArrayLike,
    rep_min: ArrayLike,
    rep_max: ArrayLike,
    misses_before: ArrayLike,
    lifted_share: ArrayLike,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The same over arrays: decision and misses in a row. `sets_done` and `fewest_reps` are of the working load;
    `lifted_share` is lifted ÷ prescribed load (1 where nothing was prescribed)."""
    sets_done_, fewest, sets_ = np.asarray(sets_done), np.asarray(fewest_reps), np.asarray(sets)
    below = fewest < np.asarray(rep_min)
    misses = np.where(below, np.asarray(misses_before) + 1, 0).astype(np.int8)
    lifted_less = prescribed.is_less(np.asarray(lifted_share, dtype=np.float32))
    up = (fewest >= np.asarray(rep_max)) & (sets_done_ >= sets_) & ~lifted_less
    decision = np.where(
        up,
        LOAD_UP,
        np.where(misses >= MISSES_BEFORE_A_CUT, LOAD_DOWN, np.where(below, HOLD_MISSED, np.where(lifted_less, HOLD_LIFTED_LESS, ADD_REPS))),
    )
    return decision.astype(np.int8), misses


def guideline_step(weight: float, reps_over_target: int, smallest_step: float = 0.5) -> float:
    """Next weight by ACSM 2009: once one or two repetitions over the target are done, up by 2-10 %; else the same weight.

    One repetition over asks for 2.5 %, each further one for 2.5 % more, up to 10 %, to the nearest reachable step within 2-10 %.
    """
    if reps_over_target < 1:
        return weight
    rise = weight * min(0.025 * reps_over_target, LARGEST_STEP_SHARE)
    steps = max(1, round(rise / smallest_step))
    while steps > 1 and steps * smallest_step > weight * LARGEST_STEP_SHARE + 1e-9:
        steps -= 1
    return weight + steps * smallest_step


@dataclass(frozen=True)
class LinearStep:
    weight: float
    fails: int


def linear_progression(
    *,
    weight: float,
    sets: int,
    reps: int,
    reps_done: Sequence[int],
    increment: float = 2.5,
    decrement: float = 10.0,
    fails_needed: int = 3,
    fails_before: int = 0,
) -> LinearStep:
    """Add `increment` after each success (all sets, all repetitions); after `fails_needed` failures in a row take `decrement` off."""
    succeeded = len(reps_done) >= sets and min(reps_done, default=0) >= reps
    if succeeded:
        return LinearStep(weight + increment, 0)
    fails = fails_before + 1
    if fails >= fails_needed:
        return LinearStep(max(weight - decrement, 0.0), 0)
    return LinearStep(weight, fails)


def gated_weekly(*, start: float, plus: float, reps_required: int, reps_by_week: Mapping[int, int | Sequence[int]]) -> dict[int, float]:
    """Weight of each week after a logged one: one step for each week that met its requirement, never back-filled for others.

    A week with several sets qualifies when its weakest set does.
    """
    weights: dict[int, float] = {}
    weight = start
    for week in sorted(reps_by_week):
        done = reps_by_week[week]
        fewest = done if isinstance(done, int) else min(done, default=0)
        if fewest >= reps_required:
            weight += plus
        weights[week + 1] = weight
    return weights


WAVE_531: Final[dict[int, tuple[tuple[float, str], ...]]] = {
    1: ((65, "5"), (75, "5"), (85, "5+")),
    2: ((70, "3"), (80, "3"), (90, "3+")),
    3: ((75, "5"), (85, "3"), (95, "1+")),
    4: ((40, "5"), (50, "5"), (60, "5")),
}
"""Per cent of the training max and repetitions by week; "+" is as many as possible. Week 4 is the deload (Wendler's 5/3/1)."""

LOWER_BODY_LIFTS: Final = frozenset({"squat", "deadlift", "front_squat", "trap_bar_deadlift"})


@dataclass(frozen=True)
class Wave:
    training_max: float
    pct_of_tm: tuple[float, ...]
    reps: tuple[str, ...]
    weights: tuple[float, ...]


def wave_531(*, one_rm: float, week: int, training_max_pct: float = 90, rounding: float = 2.5) -> Wave:
    """A week of a percentage wave: loads from the training max (a share of the 1RM), rounded to the nearest step, halves up.

    Raises ValueError for a week outside 1-4.
    """
    if week not in WAVE_531:
        raise ValueError(f"A wave has weeks 1 to 4, not {week}.")
    training_max = round(one_rm * training_max_pct / 100, 6)
    scheme = WAVE_531[week]
    weights = tuple(float(np.floor(round(training_max * pct / 100 / rounding, 9) + 0.5) * rounding) for pct, _ in scheme)
    return Wave(training_max, tuple(pct for pct, _ in scheme), tuple(reps for _, reps in scheme), weights)


def next_training_max(training_max: float, lift: str, unit: str = "kg") -> float:
    """After a cycle: upper-body lifts rise by 2.5 kg (5 lb), lower-body lifts by 5 kg (10 lb)."""
    lower = lift.lower().replace(" ", "_") in LOWER_BODY_LIFTS
    if unit == "lb":
        return training_max + (10 if lower else 5)
    return training_max + (5 if lower else 2.5)


def _down_to(weight: float, step: float) -> float:
    return float(np.floor(weight / step + 1e-9) * step) if step > 0 else weight
