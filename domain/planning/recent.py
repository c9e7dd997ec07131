"""What the muscles did lately: a plan's first week grows from the fullest of the last four weeks, not from a table."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import LEVELS, History
from domain.planning.movements import Movements
from domain.planning.volume import MOST_HALF_SETS, pack

WEEKS_LOOKED_AT: Final = 4
START_SETS: Final = {"beginner": 8.0, "intermediate": 10.0, "advanced": 12.0}
"""What anybody may start with, with or without a log: 5-10 fractional sets a week are efficient (Pelland 2025), so that a fifth more than
a single set doesn't keep somebody from training. A design choice: a little over half of the upper bounds, from where it grows."""
MOST_SETS_BELIEVED: Final = 30
"""Of one exercise in one week; more is a typing error."""


def half_sets_supported(
    history: History,
    history_row: NDArray[np.int32],
    owner: NDArray[np.int64],
    starts_on: NDArray[np.int32],
    experience: NDArray[np.int8],
    table: Movements,
) -> NDArray[np.uint64]:
    """(WORDS, users) packed half sets per muscle that the first week may hold.

    A fifth more (rounded down to half sets) than the fullest of the four weeks before `starts_on`, in which every working set counts
    one for its primary and half for its secondary muscles; at least START_SETS, which is all that a cold start gets. A plain cap on
    growth, not a ratio of loads: such ratios can't say whether risk rises (EVIDENCE, load spikes; Impellizzeri 2020).
    `history_row` is the catalogue row of each row of the history (-1 custom: passed over), `owner` its user.
    """
    users, muscles = len(starts_on), table.half_sets.shape[1]
    floor = np.array([2 * START_SETS[level] for level in LEVELS], dtype=np.uint8)[experience]
    if not len(history):
        return pack(np.repeat(floor[:, None], muscles, axis=1))
    # The four weeks' sets of an exercise stand side by side in one machine word, 16 bits each.
    back = np.clip(starts_on.take(owner)[:, None] - history.session_on, 0, len(_WEEK_OF_DAY) - 1)
    placed = _WEEK_OF_DAY.take(back) * np.maximum(history.working_sets, 0).astype(np.uint64)
    weeks = placed[:, 0].copy()
    for place in range(1, placed.shape[1]):
        weeks += placed[:, place]
    sets = np.minimum(weeks.view(np.uint16), np.uint16(MOST_SETS_BELIEVED)).reshape(-1, WEEKS_LOOKED_AT)
    # In a float's 53 exact bits, 13 to a week, so that one weighted count adds up all four.
    packed = (sets @ _WEEK_POWERS) * (history_row >= 0)
    first, muscle, credit = _credits(table)
    count = np.diff(first).take(history_row)
    entry = np.arange(int(count.sum())) + np.repeat(first.take(history_row) - np.cumsum(count) + count, count)
    where = np.repeat(owner * muscles, count) + muscle.take(entry)
    total = np.bincount(where, np.repeat(packed, count) * credit.take(entry), minlength=users * muscles).astype(np.uint64)
    fullest = total & _WEEK_MASK
    for week in range(1, WEEKS_LOOKED_AT):
        fullest = np.maximum(fullest, (total >> np.uint64(week * _WEEK_BITS)) & _WEEK_MASK)
    supported = np.minimum(fullest + fullest // np.uint64(5), np.uint64(MOST_HALF_SETS)).astype(np.uint8).reshape(users, muscles)
    return pack(np.maximum(supported, floor[:, None]))


_WEEK_BITS: Final = 13
_WEEK_MASK: Final = np.uint64((1 << _WEEK_BITS) - 1)
_WEEK_POWERS: Final = 2.0 ** (_WEEK_BITS * np.arange(WEEKS_LOOKED_AT))
_WEEK_OF_DAY: Final = np.zeros(7 * WEEKS_LOOKED_AT + 2, dtype=np.uint64)
"""By days before the plan's start: one set in that week's bits; none on the first day itself, nor beyond the last week."""
for _day in range(7 * WEEKS_LOOKED_AT):
    _WEEK_OF_DAY[1 + _day] = 1 << 16 * (_day // 7)


@lru_cache(maxsize=4)
def _credits(table: Movements) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """(where each exercise's entries begin, the muscles that it trains, their half sets), one entry per muscle of an exercise."""
    exercise, muscle = np.nonzero(table.half_sets)
    return np.searchsorted(exercise, np.arange(len(table) + 2)), muscle, table.half_sets[exercise, muscle].astype(np.float64)
