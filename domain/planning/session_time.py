"""How long a session takes, and what is cut first when it would take longer than the user has."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.warmups import REST_SECONDS as WARMUP_REST_SECONDS

GENERAL_WARMUP_SECONDS: Final = 180
"""Getting going before the first exercise; a tenth of the session where that is less (time-efficient training, Iversen 2021)."""
WARMUP_REPETITIONS: Final = 6
"""Mean of a ramp's repetitions, for the estimate."""
SHORTEST_SESSION_MINUTES: Final = 10
"""Below this a session holds no honest exercise with its warm-up: refused."""
SUPERSET_CHANGE_SECONDS: Final = 15
"""Walking from one exercise of a pair to the other, each round."""
SHORT_ISOLATION_REST: Final = 60
SHORT_COMPOUND_REST: Final = 90
"""Rests that a short session may fall back to: overlap of all rest lengths, small favour for more than 60 s (Singer 2024)."""

CUT_ORDER: Final = (
    "rest of isolation work to 60 s",
    "antagonist isolation exercises become supersets",
    "isolation work to two sets, the last exercise first",
    "isolation exercises are dropped, the last first",
    "rest of secondary compound exercises to 90 s",
    "antagonist compound exercises become supersets",
    "secondary compound exercises to two sets, the last first",
    "rest of main exercises to 90 s",
    "main exercises to two sets, the last first",
    "exercises are dropped, the last first, until one is left",
    "one set",
)
"""The stated order; each step is taken only as far as needed. Squat, press and pull stand first in a session and go last."""


def budget_seconds(minutes: NDArray[np.integer]) -> NDArray[np.int32]:
    """Seconds for exercises in a session of so many minutes."""
    total = minutes.astype(np.int32) * 60
    return total - np.minimum(GENERAL_WARMUP_SECONDS, total // 10)


def exercise_seconds(
    *,
    work_seconds: NDArray,
    rest_seconds: NDArray,
    setup_seconds: NDArray,
    warmup_sets: NDArray,
    repetition_seconds: NDArray,
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """(what an exercise takes beside its sets, what each set takes): set-up and warm-up sets, then working sets with rests between
    them, so the first part is one rest short. All whole seconds, any one shape."""
    warmup = warmup_sets * (WARMUP_REPETITIONS * repetition_seconds + WARMUP_REST_SECONDS)
    once = setup_seconds + warmup - rest_seconds
    return once.astype(np.int16), (work_seconds + rest_seconds).astype(np.int16)


def round_saving(rest_one: NDArray[np.int16], rest_other: NDArray[np.int16]) -> NDArray[np.int16]:
    """Seconds that each round of a pair saves: the shorter rest vanishes into the pair, and it costs a change. Never negative.

    Rounds = the smaller number of sets.
    """
    return np.maximum(np.minimum(rest_one, rest_other) - np.int16(SUPERSET_CHANGE_SECONDS), np.int16(0))
