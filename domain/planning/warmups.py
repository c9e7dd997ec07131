"""Warm-up sets of an exercise: how many the first heavy movements get, and their loads and repetitions."""

from typing import Final

import numpy as np

RAMP: Final = ((0.45, 1.0), (0.65, 0.7), (0.85, 0.5))
"""Share of the working load, and of the working repetitions. Source: the training text cited in wger issue 2034."""
REST_SECONDS: Final = 45
"""Between warm-up sets: they're far from failure, and the walk to the plates counts as rest."""


def ramp(working_load: float, working_reps: int, *, step: float, lightest: float = 0.0, sets: int = 3) -> list[tuple[float, int]]:
    """(load, repetitions) of each warm-up set, in the load's own unit, lightest first.

    Loads are rounded to the nearest `step` and never below `lightest` (the empty bar). The heaviest `sets` entries of the ramp
    are taken; those that would repeat a load, or reach the working load, are left out. No load, no ramp.
    """
    if not working_load > 0 or working_reps < 1 or step <= 0:
        return []
    chosen: list[tuple[float, int]] = []
    for share, reps_share in RAMP[max(0, len(RAMP) - sets) :] if sets > 0 else ():
        load = max(lightest, float(np.floor(round(working_load * share / step, 9) + 0.5) * step))
        if load >= working_load or (chosen and load <= chosen[-1][0]):
            continue
        chosen.append((load, max(1, int(np.floor(working_reps * reps_share + 1e-9)))))
    return chosen
