"""What the engine reads: profiles and training histories as columns, for any number of users at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.plates import Inventory
from domain.vocabulary import BodyArea, Equipment, ExperienceLevel, Goal, Sex

SESSIONS_KEPT: Final = 6
"""How many of the last sessions of an exercise the engine reads."""
GOALS: Final = tuple(Goal)
LEVELS: Final = tuple(ExperienceLevel)
EQUIPMENT: Final = tuple(Equipment)
AREAS: Final = tuple(BodyArea)
SEXES: Final = tuple(Sex)
NO_DATE: Final = np.int32(-(10**6))
"""Days since 1970 of a date that isn't there."""


def bits(words: Sequence[str], universe: Sequence[str]) -> int:
    """A set of words as a bit mask in the order of `universe`; words outside it are left out."""
    return sum(1 << index for index, word in enumerate(universe) if word in words)


@dataclass(frozen=True)
class History:
    """What each user did, one row per user and exercise, sorted by (user, exercise); the last sessions, newest first.

    This is all that the engine asks of a log (whose last sets `intermediate.training_state` holds): arrays of up to `SESSIONS_KEPT`
    entries, without sessions of deload weeks, over working sets (no warm-ups), loads in kg; the last two columns have one entry per row:

    ==================  ==========================================================================================
    exercise_key        as in the catalogue; custom exercises may be there and are passed over
    session_on          local date of the workout's start
    top_load_kg         heaviest load of the session's working sets; 0 where no load was logged
    top_reps            most repetitions among the sets at that load
    fewest_reps         fewest repetitions among the sets at that load
    sets_at_top         number of sets at that load
    working_sets        number of working sets at any load
    rpe                 mean RPE of the sets at that load; NaN where none was logged
    e1rm_kg             best estimate over the session's sets by the planner's rule (`domain.planning.e1rm.from_set`); NaN where none
    prescribed_kg       the load that the plan in force prescribed for the newest session; NaN where there was none
    prescribed_sets     the working sets that it prescribed; 0 where there was none
    ==================  ==========================================================================================
    """

    offsets: NDArray[np.int64]
    """n + 1: rows of user i are offsets[i]:offsets[i + 1]."""
    exercise_key: NDArray[np.int32]
    session_on: NDArray[np.int32]
    """(rows, SESSIONS_KEPT) days since 1970, newest first; NO_DATE past the last."""
    top_load_kg: NDArray[np.float32]
    top_reps: NDArray[np.int16]
    fewest_reps: NDArray[np.int16]
    sets_at_top: NDArray[np.int16]
    working_sets: NDArray[np.int16]
    rpe: NDArray[np.float32]
    e1rm_kg: NDArray[np.float32]
    prescribed_kg: NDArray[np.float32]
    """(rows,)"""
    prescribed_sets: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.exercise_key)

    @classmethod
    def empty(cls, users: int) -> "History":
        shape = (0, SESSIONS_KEPT)
        return cls(
            offsets=np.zeros(users + 1, dtype=np.int64),
            exercise_key=np.zeros(0, dtype=np.int32),
            session_on=np.zeros(shape, dtype=np.int32),
            top_load_kg=np.zeros(shape, dtype=np.float32),
            top_reps=np.zeros(shape, dtype=np.int16),
            fewest_reps=np.zeros(shape, dtype=np.int16),
            sets_at_top=np.zeros(shape, dtype=np.int16),
            working_sets=np.zeros(shape, dtype=np.int16),
            rpe=np.zeros(shape, dtype=np.float32),
            e1rm_kg=np.zeros(shape, dtype=np.float32),
            prescribed_kg=np.zeros(0, dtype=np.float32),
            prescribed_sets=np.zeros(0, dtype=np.int16),
        )

    def of_users(self, start: int, stop: int) -> "History":
        """The rows of users start:stop."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        columns = {f.name: getattr(self, f.name)[first:last] for f in fields(self) if f.name != "offsets"}
        return History(offsets=self.offsets[start : stop + 1] - first, **columns)


@dataclass(frozen=True)
class KeyLists:
    """One list of exercise keys per user: keys of user i are keys[offsets[i]:offsets[i + 1]], ascending."""

    offsets: NDArray[np.int64]
    keys: NDArray[np.int32]

    @classmethod
    def empty(cls, users: int) -> "KeyLists":
        return cls(np.zeros(users + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "KeyLists":
        offsets = np.concatenate([[0], np.cumsum([len(keys) for keys in lists])]).astype(np.int64)
        return cls(offsets, np.array([key for keys in lists for key in sorted(keys)], dtype=np.int32))

    def of_users(self, start: int, stop: int) -> "KeyLists":
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return KeyLists(self.offsets[start : stop + 1] - first, self.keys[first:last])


@dataclass(frozen=True)
class PlanningInputs:
    """One entry per user in every array; see `History` for what they did. Nothing here is trusted to make sense."""

    user_key: NDArray[np.int64]
    today: NDArray[np.int32]
    """The user's local date at as_of, days since 1970."""
    goal: NDArray[np.int8]
    """Index into GOALS; -1 unknown. Likewise experience in LEVELS and sex in SEXES."""
    experience: NDArray[np.int8]
    days_per_week: NDArray[np.int8]
    weekdays: NDArray[np.uint8]
    """Bit 0 is Monday; 0 where the user named none."""
    session_minutes: NDArray[np.int16]
    equipment: NDArray[np.uint32]
    """Bits in the order of EQUIPMENT, of the place where the user trains."""
    limits_caution: NDArray[np.uint16]
    """Bits in the order of AREAS."""
    limits_avoid: NDArray[np.uint16]
    limits_returning: NDArray[np.uint16]
    """Areas whose limitation ended in the last four weeks."""
    limits_eased_on: NDArray[np.int32]
    """The latest such end, days since 1970; NO_DATE where there is none."""
    sex: NDArray[np.int8]
    birth_year: NDArray[np.int16]
    """0 unknown."""
    body_weight_kg: NDArray[np.float32]
    """NaN unknown."""
    in_pounds: NDArray[np.bool_]
    smallest_plate_kg: NDArray[np.float32]
    """NaN unknown."""
    inventory: NDArray[np.int32]
    """Index into `inventories`; -1 none."""
    disliked: KeyLists
    preferred: KeyLists
    mesocycle_started_on: NDArray[np.int32]
    """First day of the mesocycle that the user is in, from the last plan; NO_DATE where there is none."""
    previous_goal: NDArray[np.int8]
    """Goal of the last plan; -1 where there is none."""
    history: History
    inventories: tuple[Inventory, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.user_key)

    def of_users(self, start: int, stop: int) -> "PlanningInputs":
        """Users start:stop, arrays as views."""
        columns: dict[str, Any] = {}
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                columns[each.name] = value[start:stop]
            elif isinstance(value, KeyLists | History):
                columns[each.name] = value.of_users(start, stop)
            else:
                columns[each.name] = value
        return PlanningInputs(**columns)

    def take(self, users: NDArray[np.intp]) -> "PlanningInputs":
        """The users at these positions, in this order."""
        columns: dict[str, Any] = {}
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                columns[each.name] = value[users]
            elif isinstance(value, KeyLists):
                offsets, rows = take_ragged(value.offsets, users)
                columns[each.name] = KeyLists(offsets, value.keys[rows])
            elif isinstance(value, History):
                offsets, rows = take_ragged(value.offsets, users)
                arrays = {f.name: getattr(value, f.name)[rows] for f in fields(value) if f.name != "offsets"}
                columns[each.name] = History(offsets=offsets, **arrays)
            else:
                columns[each.name] = value
        return PlanningInputs(**columns)


def take_ragged(offsets: NDArray[np.int64], chosen: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """New offsets, and the row numbers, of the chosen groups of a ragged column."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.repeat(offsets[chosen] - new[:-1], lengths) + np.arange(new[-1], dtype=np.int64)
    return new, rows
