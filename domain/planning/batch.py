"""What the engine returns: plans of many users as ragged columns, one list of slots per user."""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import take_ragged

WEEKS: Final = 4


@dataclass(frozen=True)
class PlanBatch:
    """Plans of n users in the order of the inputs. Slots of user i are rows slot_offsets[i]:slot_offsets[i + 1], by session.

    A refused user has no sessions; `refusal` says why (see `reasons.refusal`).
    """

    engine_version: str
    as_of: str
    """ISO instant in UTC; provenance only, nothing is computed from it."""
    user_key: NDArray[np.int64]
    inputs_hash: NDArray[np.int64]
    refusal: NDArray[np.int8]
    goal: NDArray[np.int8]
    in_pounds: NDArray[np.bool_]
    """Whether the user lifts in pounds; loads are in kg all the same."""
    split: NDArray[np.int8]
    starts_on: NDArray[np.int32]
    """First day of the four weeks, days since 1970; week w starts 7 w days later."""
    mesocycle_started_on: NDArray[np.int32]
    deload_week: NDArray[np.int8]
    """0-3: which of the four weeks is the deload."""
    session_offsets: NDArray[np.int64]
    """n + 1: sessions of user i, in the order of their dates."""
    session_day: NDArray[np.int8]
    """Days after the start of the week, 0-6."""
    session_minutes: NDArray[np.int16]
    """(sessions, WEEKS)"""
    session_slots: NDArray[np.int8]
    """Number of slots of each session."""
    slot_offsets: NDArray[np.int64]
    exercise_key: NDArray[np.int32]
    rep_min: NDArray[np.int16]
    rep_max: NDArray[np.int16]
    """Seconds instead of repetitions for exercises that are measured in seconds."""
    rest_seconds: NDArray[np.int16]
    superset: NDArray[np.int8]
    """Number of the pair within its session; 0 alone."""
    warmup_sets: NDArray[np.int8]
    exercise_reason: NDArray[np.int8]
    sets_reason: NDArray[np.int8]
    numbers: NDArray[np.float32]
    """(slots, 4) the numbers of the first week's load reason, in its order."""
    sets: NDArray[np.int8]
    """(slots, WEEKS); likewise the following."""
    load_kg: NDArray[np.float32]
    """NaN where no load is named."""
    reserve: NDArray[np.int8]
    """Repetitions in reserve."""
    load_reason: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.user_key)

    def take(self, users: NDArray[np.intp]) -> "PlanBatch":
        """The plans at these positions, in this order."""
        session_offsets, sessions = take_ragged(self.session_offsets, users)
        slot_offsets, slots = take_ragged(self.slot_offsets, users)
        columns: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "session_offsets":
                columns[each.name] = session_offsets
            elif each.name == "slot_offsets":
                columns[each.name] = slot_offsets
            elif each.name in PER_SESSION:
                columns[each.name] = value[sessions]
            elif each.name in PER_SLOT:
                columns[each.name] = value[slots]
            elif isinstance(value, np.ndarray):
                columns[each.name] = value[users]
            else:
                columns[each.name] = value
        return PlanBatch(**columns)

    def bytes_of(self, user: int) -> bytes:
        """Everything about one user's plan as bytes: the same inputs give the same."""
        one = self.take(np.array([user]))
        parts = [getattr(one, each.name) for each in fields(one)]
        return b"".join(part.tobytes() if isinstance(part, np.ndarray) else str(part).encode() for part in parts)


_WEEKLY_COUNT: Final = np.dtype((np.int8, WEEKS))
PER_SESSION: Final[dict[str, np.dtype]] = {
    "session_day": np.dtype(np.int8),
    "session_slots": np.dtype(np.int8),
    "session_minutes": np.dtype((np.int16, WEEKS)),
}
PER_SLOT: Final[dict[str, np.dtype]] = {
    "exercise_key": np.dtype(np.int32),
    "rep_min": np.dtype(np.int16),
    "rep_max": np.dtype(np.int16),
    "rest_seconds": np.dtype(np.int16),
    "superset": np.dtype(np.int8),
    "warmup_sets": np.dtype(np.int8),
    "exercise_reason": np.dtype(np.int8),
    "sets_reason": np.dtype(np.int8),
    "numbers": np.dtype((np.float32, 4)),
    "sets": _WEEKLY_COUNT,
    "load_kg": np.dtype((np.float32, WEEKS)),
    "reserve": _WEEKLY_COUNT,
    "load_reason": _WEEKLY_COUNT,
}
"""The ragged columns of a batch, which are the array columns of `plans.plans`, with the type and width of an entry."""
