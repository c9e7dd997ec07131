"""What changed between a user's last plan and the new one, and why: compared for the new plan's first week."""

from dataclasses import dataclass

import numpy as np

from domain.planning import reasons
from domain.planning.batch import WEEKS, PlanBatch
from domain.planning.inputs import GOALS


@dataclass(frozen=True)
class Change:
    kind: str
    """goal, days, deload, exercise_added, exercise_removed, sets, repetitions, load, rest."""
    exercise_key: int | None
    before: float | str | None
    after: float | str | None
    reason: str | None
    """Code of the new plan's reason, where it has one for this number."""


def changes(before: PlanBatch, after: PlanBatch) -> list[Change]:
    """From the last plan to the new one; each a batch of the same one user.

    The new plan's first week is held against the week of the last plan that covers its first day (its last week, if it is over).
    Exercises are matched by name and by their order in the week, so that one that moved to another day isn't "removed and added".
    """
    found: list[Change] = []
    if before.goal[0] != after.goal[0]:
        found.append(Change("goal", None, GOALS[before.goal[0]].value, GOALS[after.goal[0]].value, None))
    if len(before.session_day) != len(after.session_day):
        found.append(Change("days", None, len(before.session_day), len(after.session_day), None))
    week = int(np.clip((int(after.starts_on[0]) - int(before.starts_on[0])) // 7, 0, WEEKS - 1))
    if (before.deload_week[0] == week) != (after.deload_week[0] == 0):
        found.append(Change("deload", None, str(bool(before.deload_week[0] == week)), str(bool(after.deload_week[0] == 0)), None))
    old, new = _by_exercise(before), _by_exercise(after)
    for key in sorted(old.keys() | new.keys()):
        earlier, later = old.get(key, []), new.get(key, [])
        for slot in earlier[len(later) :]:
            found.append(Change("exercise_removed", key, int(before.sets[slot, week]), None, None))
        for slot in later[len(earlier) :]:
            why = reasons.BY_NUMBER[int(after.exercise_reason[slot])].code
            found.append(Change("exercise_added", key, None, int(after.sets[slot, 0]), why))
        for one, other in zip(earlier, later, strict=False):
            found += _of_slot(before, one, week, after, other)
    return found


def _by_exercise(batch: PlanBatch) -> dict[int, list[int]]:
    slots: dict[int, list[int]] = {}
    for slot, key in enumerate(batch.exercise_key.tolist()):
        slots.setdefault(key, []).append(slot)
    return slots


def _of_slot(before: PlanBatch, one: int, week: int, after: PlanBatch, other: int) -> list[Change]:
    key = int(after.exercise_key[other])
    found = []
    if before.sets[one, week] != after.sets[other, 0]:
        why = reasons.BY_NUMBER[int(after.sets_reason[other])].code
        found.append(Change("sets", key, int(before.sets[one, week]), int(after.sets[other, 0]), why))
    old_range, new_range = (f"{batch.rep_min[slot]}-{batch.rep_max[slot]}" for batch, slot in ((before, one), (after, other)))
    if old_range != new_range:
        found.append(Change("repetitions", key, old_range, new_range, None))
    old_load, new_load = float(before.load_kg[one, week]), float(after.load_kg[other, 0])
    if not np.isclose(old_load, new_load, atol=1e-3, equal_nan=True):
        why = reasons.BY_NUMBER[int(after.load_reason[other, 0])].code
        found.append(Change("load", key, _number(old_load), _number(new_load), why))
    if before.rest_seconds[one] != after.rest_seconds[other]:
        found.append(Change("rest", key, int(before.rest_seconds[one]), int(after.rest_seconds[other]), None))
    return found


def _number(load: float) -> float | None:
    return None if np.isnan(load) else round(load, 3)
