"""What was prescribed, read back: how much of it was lifted, and how many sets had to reach the top of the range."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME_SHARE: Final = 0.995
"""Half a per cent under the prescribed load is still that load: the same plates, typed in the other unit."""
LIGHTEST_KG: Final = 0.1
HEAVIEST_KG: Final = 1000.0
"""Outside these nothing is prescribed, and no plate, dumbbell or stack is believed."""


def lifted_share(lifted_kg: ArrayLike, prescribed_kg: ArrayLike) -> NDArray[np.float32]:
    """Lifted ÷ prescribed load of a session; 1 where nothing was prescribed, or nothing that can be meant.

    Source: users of planners ask not to be raised after they lifted less than prescribed (Liftosaur issue 345; PLANNERS, 8).
    """
    lifted, prescribed = np.asarray(lifted_kg, dtype=np.float32), np.asarray(prescribed_kg, dtype=np.float32)
    known = (prescribed >= np.float32(LIGHTEST_KG)) & (prescribed <= np.float32(HEAVIEST_KG))
    most = np.float32(HEAVIEST_KG)
    return np.where(known, np.fmin(lifted, most) / np.where(known, prescribed, np.float32(1)), np.float32(1)).astype(np.float32)


def is_less(share: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a lifted share counts as less than what was prescribed."""
    return share < np.float32(SAME_SHARE)


def sets_to_reach(prescribed_sets: ArrayLike, planned_sets: ArrayLike) -> NDArray[np.int16]:
    """How many sets a step up asks for: those that were prescribed for the session, else those that the new plan would."""
    prescribed = np.asarray(prescribed_sets)
    return np.where(prescribed > 0, prescribed, np.asarray(planned_sets)).astype(np.int16)
