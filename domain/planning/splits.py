"""Which movements a week's sessions hold: the split by days per week, as tables of slots."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.vocabulary import MovementPattern as P


class Need(IntEnum):
    """What a slot asks for; each planned exercise serves exactly one need by its movement pattern."""

    SQUAT = 0
    HINGE = 1
    HORIZONTAL_PUSH = 2
    VERTICAL_PUSH = 3
    HORIZONTAL_PULL = 4
    VERTICAL_PULL = 5
    LUNGE = 6
    HIP_THRUST = 7
    KNEE_FLEXION = 8
    KNEE_EXTENSION = 9
    CALF_RAISE = 10
    CHEST_FLY = 11
    LATERAL_RAISE = 12
    REAR_DELT_FLY = 13
    ELBOW_FLEXION = 14
    ELBOW_EXTENSION = 15
    CORE = 16
    BACK_EXTENSION = 17
    HIP_ABDUCTION = 18
    HIP_ADDUCTION = 19
    SHRUG = 20


NEED_OF_PATTERN: Final[dict[P, Need]] = {
    **{P(need.name.lower()): need for need in Need if need.name.lower() in set(P)},
    P.TRUNK_FLEXION: Need.CORE,
    P.TRUNK_ROTATION: Need.CORE,
    P.TRUNK_STABILITY: Need.CORE,
    P.TRUNK_EXTENSION: Need.BACK_EXTENSION,
}
"""Patterns that aren't here (jumps, conditioning, carries, Olympic lifts …) aren't planned by themselves."""

FALLBACKS: Final[dict[Need, tuple[Need, ...]]] = {
    Need.SQUAT: (Need.LUNGE, Need.KNEE_EXTENSION, Need.HIP_THRUST),
    Need.HINGE: (Need.HIP_THRUST, Need.KNEE_FLEXION, Need.BACK_EXTENSION),
    Need.HORIZONTAL_PUSH: (Need.CHEST_FLY, Need.VERTICAL_PUSH, Need.ELBOW_EXTENSION),
    Need.VERTICAL_PUSH: (Need.LATERAL_RAISE, Need.HORIZONTAL_PUSH),
    Need.HORIZONTAL_PULL: (Need.VERTICAL_PULL, Need.REAR_DELT_FLY, Need.BACK_EXTENSION),
    Need.VERTICAL_PULL: (Need.HORIZONTAL_PULL, Need.REAR_DELT_FLY, Need.ELBOW_FLEXION),
    Need.LUNGE: (Need.SQUAT, Need.KNEE_EXTENSION, Need.HIP_THRUST),
    Need.HIP_THRUST: (Need.HINGE, Need.HIP_ABDUCTION),
    Need.KNEE_FLEXION: (Need.BACK_EXTENSION, Need.HINGE, Need.HIP_THRUST),
    Need.KNEE_EXTENSION: (Need.LUNGE, Need.SQUAT, Need.CALF_RAISE),
    Need.CHEST_FLY: (Need.HORIZONTAL_PUSH,),
    Need.LATERAL_RAISE: (Need.VERTICAL_PUSH,),
    Need.REAR_DELT_FLY: (Need.HORIZONTAL_PULL,),
    Need.ELBOW_FLEXION: (Need.VERTICAL_PULL, Need.HORIZONTAL_PULL),
    Need.ELBOW_EXTENSION: (Need.HORIZONTAL_PUSH,),
    Need.BACK_EXTENSION: (Need.HINGE, Need.CORE),
    Need.HIP_ABDUCTION: (Need.HIP_THRUST,),
    Need.HIP_ADDUCTION: (Need.LUNGE,),
    Need.SHRUG: (Need.HORIZONTAL_PULL,),
    Need.CALF_RAISE: (),
    Need.CORE: (),
}
"""What serves a need where nothing for it can be done with the equipment and the limitations; the nearest first."""

MAIN, SECONDARY, ISOLATION = range(3)
"""Roles of a slot: what the session is about, what supports it, what fills it up."""

SLOTS: Final = 7
CHOICES: Final = 3
"""An exercise of a need may appear in up to three variants over a week."""

_M, _S, _I = MAIN, SECONDARY, ISOLATION
_N = Need
Slot = tuple[Need, int, int]
"""Need, which choice of it (0 the best), role."""

_FULL_A: Final = (
    (_N.SQUAT, 0, _M),
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.HORIZONTAL_PULL, 0, _S),
    (_N.KNEE_FLEXION, 0, _I),
    (_N.LATERAL_RAISE, 0, _I),
    (_N.ELBOW_EXTENSION, 0, _I),
    (_N.CORE, 0, _I),
)
_FULL_B: Final = (
    (_N.HINGE, 0, _M),
    (_N.VERTICAL_PUSH, 0, _M),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.LUNGE, 0, _S),
    (_N.REAR_DELT_FLY, 0, _I),
    (_N.ELBOW_FLEXION, 0, _I),
    (_N.CALF_RAISE, 0, _I),
)
_FULL_C: Final = (
    (_N.SQUAT, 1, _M),
    (_N.HORIZONTAL_PUSH, 1, _M),
    (_N.HORIZONTAL_PULL, 1, _S),
    (_N.HIP_THRUST, 0, _S),
    (_N.ELBOW_FLEXION, 1, _I),
    (_N.ELBOW_EXTENSION, 1, _I),
    (_N.CORE, 1, _I),
)
_FULL_ONE: Final = (
    (_N.SQUAT, 0, _M),
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.HORIZONTAL_PULL, 0, _S),
    (_N.HINGE, 0, _S),
    (_N.VERTICAL_PUSH, 0, _S),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.CORE, 0, _I),
)
_UPPER_A: Final = (
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.HORIZONTAL_PULL, 0, _M),
    (_N.VERTICAL_PUSH, 0, _S),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.LATERAL_RAISE, 0, _I),
    (_N.ELBOW_FLEXION, 0, _I),
    (_N.ELBOW_EXTENSION, 0, _I),
)
_LOWER_A: Final = (
    (_N.SQUAT, 0, _M),
    (_N.HINGE, 1, _S),
    (_N.LUNGE, 0, _S),
    (_N.KNEE_FLEXION, 0, _I),
    (_N.CALF_RAISE, 0, _I),
    (_N.CORE, 0, _I),
)
_UPPER_B: Final = (
    (_N.VERTICAL_PUSH, 0, _M),
    (_N.VERTICAL_PULL, 0, _M),
    (_N.HORIZONTAL_PUSH, 1, _S),
    (_N.HORIZONTAL_PULL, 1, _S),
    (_N.REAR_DELT_FLY, 0, _I),
    (_N.ELBOW_EXTENSION, 1, _I),
    (_N.ELBOW_FLEXION, 1, _I),
)
_LOWER_B: Final = (
    (_N.HINGE, 0, _M),
    (_N.SQUAT, 1, _S),
    (_N.HIP_THRUST, 0, _S),
    (_N.KNEE_EXTENSION, 0, _I),
    (_N.CALF_RAISE, 1, _I),
    (_N.CORE, 1, _I),
)
_PUSH_A: Final = (
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.VERTICAL_PUSH, 0, _S),
    (_N.HORIZONTAL_PUSH, 1, _S),
    (_N.LATERAL_RAISE, 0, _I),
    (_N.ELBOW_EXTENSION, 0, _I),
    (_N.CHEST_FLY, 0, _I),
)
_PULL_A: Final = (
    (_N.HORIZONTAL_PULL, 0, _M),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.HORIZONTAL_PULL, 1, _S),
    (_N.REAR_DELT_FLY, 0, _I),
    (_N.ELBOW_FLEXION, 0, _I),
    (_N.CORE, 0, _I),
)
_LEGS_A: Final = (
    (_N.SQUAT, 0, _M),
    (_N.HINGE, 1, _S),
    (_N.LUNGE, 0, _S),
    (_N.KNEE_FLEXION, 0, _I),
    (_N.CALF_RAISE, 0, _I),
    (_N.CORE, 1, _I),
)
_PUSH_B: Final = (
    (_N.VERTICAL_PUSH, 0, _M),
    (_N.HORIZONTAL_PUSH, 0, _S),
    (_N.CHEST_FLY, 0, _I),
    (_N.LATERAL_RAISE, 1, _I),
    (_N.ELBOW_EXTENSION, 1, _I),
)
_PULL_B: Final = (
    (_N.VERTICAL_PULL, 0, _M),
    (_N.HORIZONTAL_PULL, 0, _S),
    (_N.BACK_EXTENSION, 0, _I),
    (_N.REAR_DELT_FLY, 0, _I),
    (_N.ELBOW_FLEXION, 1, _I),
    (_N.CORE, 0, _I),
)
_LEGS_B: Final = (
    (_N.HINGE, 0, _M),
    (_N.SQUAT, 1, _S),
    (_N.HIP_THRUST, 0, _S),
    (_N.KNEE_EXTENSION, 0, _I),
    (_N.CALF_RAISE, 1, _I),
    (_N.CORE, 1, _I),
)
# The total of three lifts: each comes back as often as the days allow, first in its session, always as the lift itself.
_LIFTS_SQUAT: Final = (
    (_N.SQUAT, 0, _M),
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.HORIZONTAL_PULL, 0, _S),
    (_N.KNEE_FLEXION, 0, _I),
    (_N.ELBOW_EXTENSION, 0, _I),
    (_N.CORE, 0, _I),
)
_LIFTS_HINGE: Final = (
    (_N.HINGE, 0, _M),
    (_N.HORIZONTAL_PUSH, 0, _S),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.LUNGE, 0, _S),
    (_N.CORE, 1, _I),
    (_N.ELBOW_FLEXION, 0, _I),
)
_LIFTS_PUSH: Final = (
    (_N.HORIZONTAL_PUSH, 0, _M),
    (_N.SQUAT, 0, _S),
    (_N.HORIZONTAL_PULL, 1, _S),
    (_N.VERTICAL_PUSH, 0, _S),
    (_N.REAR_DELT_FLY, 0, _I),
    (_N.ELBOW_EXTENSION, 1, _I),
)
_LIFTS_HINGE_B: Final = (
    (_N.HINGE, 0, _M),
    (_N.SQUAT, 1, _S),
    (_N.VERTICAL_PULL, 0, _S),
    (_N.BACK_EXTENSION, 0, _I),
    (_N.CORE, 0, _I),
)

_BALANCED: Final = (
    (_FULL_ONE,),
    (_FULL_A, _FULL_B),
    (_FULL_A, _FULL_B, _FULL_C),
    (_UPPER_A, _LOWER_A, _UPPER_B, _LOWER_B),
    (_UPPER_A, _LOWER_A, _PUSH_B, _PULL_B, _LEGS_B),
    (_PUSH_A, _PULL_A, _LEGS_A, _PUSH_B, _PULL_B, _LEGS_B),
)
_LIFTS: Final = (
    ((*_LIFTS_SQUAT[:2], (_N.HINGE, 0, _M), *_LIFTS_SQUAT[2:]),),
    (_LIFTS_SQUAT, _LIFTS_HINGE),
    (_LIFTS_SQUAT, _LIFTS_HINGE, _LIFTS_PUSH),
    (_LIFTS_SQUAT, _UPPER_B, _LIFTS_HINGE, _LIFTS_PUSH),
    (_LIFTS_SQUAT, _LIFTS_HINGE, _UPPER_B, _LIFTS_PUSH, _LIFTS_HINGE_B),
    (_LIFTS_SQUAT, _PULL_A, _LIFTS_HINGE, _PUSH_B, _LIFTS_PUSH, _LEGS_B),
)
SPLITS: Final[tuple[tuple[tuple[tuple[Slot, ...], ...], ...], ...]] = (_BALANCED, _LIFTS)
"""By split (0 balanced, 1 the three lifts) and days per week - 1: the week's sessions. Up to three days are full-body, so that
each muscle is trained at least twice from two days on."""

_NAMED: Final[tuple[tuple[tuple[Slot, ...], str], ...]] = (
    (_FULL_A, "Full body A"),
    (_FULL_B, "Full body B"),
    (_FULL_C, "Full body C"),
    (_FULL_ONE, "Full body"),
    (_UPPER_A, "Upper body A"),
    (_LOWER_A, "Lower body A"),
    (_UPPER_B, "Upper body B"),
    (_LOWER_B, "Lower body B"),
    (_PUSH_A, "Push A"),
    (_PULL_A, "Pull A"),
    (_LEGS_A, "Legs A"),
    (_PUSH_B, "Push B"),
    (_PULL_B, "Pull B"),
    (_LEGS_B, "Legs B"),
    (_LIFTS_SQUAT, "Squat and press"),
    (_LIFTS_HINGE, "Deadlift and press"),
    (_LIFTS_PUSH, "Press and squat"),
    (_LIFTS_HINGE_B, "Deadlift B"),
    (_LIFTS[0][0], "Three lifts"),
)


def session_name(split: int, days: int, session: int) -> str:
    """What a session is called, from its place in the split (session counts from 0)."""
    return next(name for slots, name in _NAMED if slots == SPLITS[split][days - 1][session])


def slot_tables(days: int) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    """For a number of days: (splits, days, SLOTS) index need × CHOICES + choice, -1 where the session is over; and the roles."""
    index = np.full((len(SPLITS), days, SLOTS), -1, dtype=np.int16)
    roles = np.full((len(SPLITS), days, SLOTS), ISOLATION, dtype=np.int8)
    for split, by_days in enumerate(SPLITS):
        for session, slots in enumerate(by_days[days - 1]):
            for slot, (need, choice, role) in enumerate(slots):
                index[split, session, slot] = need * CHOICES + choice
                roles[split, session, slot] = role
    return index, roles


DEFAULT_WEEKDAYS: Final = ((0,), (0, 3), (0, 2, 4), (0, 1, 3, 4), (0, 1, 2, 4, 5), (0, 1, 2, 3, 4, 5))
"""Days since Monday for users who named none: spread, so that a muscle rests a day or more."""


def weekday_table() -> NDArray[np.int8]:
    """(6 numbers of days, 128 masks, 6): for each number of days and set of chosen weekdays the days trained, -1 past the last.

    Too many chosen: those that spread best over the week; too few: filled up with the days farthest from the chosen ones.
    """
    table = np.full((6, 128, 6), -1, dtype=np.int8)
    for days in range(1, 7):
        for mask in range(128):
            chosen = [day for day in range(7) if mask >> day & 1]
            table[days - 1, mask, :days] = _spread(chosen, days)
    return table


def _spread(chosen: list[int], days: int) -> list[int]:
    if not chosen:
        return list(DEFAULT_WEEKDAYS[days - 1])
    picked = list(chosen)
    while len(picked) < days:
        free = [day for day in range(7) if day not in picked]
        picked.append(max(free, key=lambda day: (min(_apart(day, other) for other in picked), -day)))
    while len(picked) > days:
        rest = [[other for other in picked if other != day] for day in sorted(picked, reverse=True)]
        picked = max(rest, key=_closest)
    return sorted(picked)


def _closest(days: list[int]) -> int:
    return min((_apart(one, other) for index, one in enumerate(days) for other in days[:index]), default=7)


def _apart(one: int, other: int) -> int:
    return min((one - other) % 7, (other - one) % 7)
