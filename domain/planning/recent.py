"""What the muscles did lately: a plan's first week grows from the fullest of the last four weeks, not from a table."""

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
    users = len(starts_on)
    floor = np.array([2 * START_SETS[level] for level in LEVELS], dtype=np.uint16)[experience]
    half_sets = np.zeros((users, table.half_sets.shape[1]), dtype=np.uint16)
    if len(history):
        back = starts_on.take(owner)[:, None] - history.session_on
        inside = (back >= 1) & (back <= 7 * WEEKS_LOOKED_AT) & (history_row >= 0)[:, None]
        rows = np.flatnonzero(inside.any(axis=1))
        if len(rows):
            # The four weeks' sets of an exercise stand side by side in one machine word, 16 bits each.
            shift = np.maximum(back[rows] - 1, 0) // 7 % WEEKS_LOOKED_AT * 16
            sets = np.maximum(history.working_sets[rows], 0) * inside[rows]
            weeks = np.left_shift(sets.astype(np.uint64), shift.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
            weeks = np.minimum(weeks.view(np.uint16), np.uint16(MOST_SETS_BELIEVED)).view(np.uint64)
            credit = table.half_sets.take(history_row[rows], axis=0)
            of = owner[rows]
            first = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]]))
            total = np.add.reduceat(credit * weeks[:, None], first, axis=0)
            fullest = total.view(np.uint16).reshape(len(first), -1, WEEKS_LOOKED_AT).max(axis=2)
            half_sets[of[first]] = fullest + fullest // np.uint16(5)
    return pack(np.minimum(np.maximum(half_sets, floor[:, None]), MOST_HALF_SETS).astype(np.uint8))
