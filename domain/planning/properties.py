"""What holds for every plan, checked from the outside: on the engine's output in tests, on stored plans by an asset check."""
# ruff: noqa: ARG001  # every check has the same signature, whatever it looks at

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.planning import recent
from domain.planning.allocation import FEWEST_SETS
from domain.planning.batch import WEEKS, PlanBatch
from domain.planning.inputs import LEVELS, PlanningInputs
from domain.planning.movements import movements
from domain.planning.volume import LARGEST_WEEKLY_GROWTH, MOST_SETS, unpack

LONGEST_SESSION_MINUTES: Final = 180
Check = Callable[[PlanBatch, PlanningInputs, Catalogue], NDArray[np.bool_]]


def violations(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> dict[str, NDArray[np.int64]]:
    """user_keys that break each property; batch and inputs are of the same users in the same order. Empty arrays where all is well."""
    return {name: batch.user_key[check(batch, inputs, catalogue)] for name, check in CHECKS.items()}


def _owner(batch: PlanBatch) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(batch)), np.diff(batch.slot_offsets))


def _any(batch: PlanBatch, wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.bincount(_owner(batch)[wrong], minlength=len(batch)) > 0


def _rows(batch: PlanBatch, catalogue: Catalogue) -> NDArray[np.int32]:
    return catalogue.rows_of(batch.exercise_key)


def _session_of_slot(batch: PlanBatch) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(batch.session_slots)), batch.session_slots)


def unknown_exercise(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """An exercise that the catalogue doesn't hold."""
    return _any(batch, _rows(batch, catalogue) < 0)


def lacking_equipment(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """An exercise that needs what the user doesn't have."""
    needed = catalogue.requirement[_rows(batch, catalogue)]
    held = (inputs.equipment[_owner(batch), None] >> np.arange(needed.shape[1], dtype=np.uint32)) & 1
    return _any(batch, (needed & (held == 0)).any(axis=1))


def contraindicated(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """An exercise tagged at all for an area to avoid, or tagged "avoid" for an area that wants caution."""
    tags = catalogue.contraindication[_rows(batch, catalogue)]
    areas = np.arange(tags.shape[1], dtype=np.uint16)
    avoid = (inputs.limits_avoid[_owner(batch), None] >> areas) & 1
    caution = (inputs.limits_caution[_owner(batch), None] >> areas) & 1
    return _any(batch, (((tags > 0) & (avoid == 1)) | ((tags == 2) & (caution == 1))).any(axis=1))


def disliked(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """An exercise that the user dislikes."""
    lists = inputs.disliked
    listed = np.repeat(np.arange(len(inputs), dtype=np.int64), np.diff(lists.offsets)) << 32 | lists.keys.astype(np.int64)
    return _any(batch, np.isin(_owner(batch) << 32 | batch.exercise_key.astype(np.int64), listed))


def too_long(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """A session over the user's minutes in any week."""
    owner = np.repeat(np.arange(len(batch)), np.diff(batch.session_offsets))
    budget = np.minimum(inputs.session_minutes, LONGEST_SESSION_MINUTES)[owner]
    wrong = (batch.session_minutes > budget[:, None]).any(axis=1)
    return np.bincount(owner[wrong], minlength=len(batch)) > 0


def _muscle_sets(batch: PlanBatch, catalogue: Catalogue) -> NDArray[np.float64]:
    """(users, WEEKS, muscles) fractional sets."""
    credit = catalogue.muscle_credit[_rows(batch, catalogue)].astype(np.float64)
    out = np.zeros((len(batch), WEEKS, credit.shape[1]))
    for week in range(WEEKS):
        np.add.at(out[:, week], _owner(batch), batch.sets[:, week, None] * credit)
    return out


def too_many_sets(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """A muscle over its weekly bound for the user's experience."""
    level = np.where((inputs.experience >= 0) & (inputs.experience < len(LEVELS)), inputs.experience, 0)
    bound = np.array([MOST_SETS[name] for name in LEVELS])[level]
    over: NDArray[np.bool_] = _muscle_sets(batch, catalogue) > bound[:, None, None] + 1e-6
    return np.asarray(over.any(axis=(1, 2)))


def growing_too_fast(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """A muscle's sets that grow by more than a fifth from one building week to the next."""
    sets = _muscle_sets(batch, catalogue)
    weeks = np.arange(WEEKS)
    wrong = np.zeros(len(batch), dtype=bool)
    for week in range(1, WEEKS):
        building = (batch.deload_week != weeks[week]) & (batch.deload_week != weeks[week - 1])
        wrong |= building & (sets[:, week] > sets[:, week - 1] * (1 + LARGEST_WEEKLY_GROWTH) + 1e-6).any(axis=1)
    return wrong


def starting_too_high(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """A muscle whose direct sets in the first building week pass what the four weeks before support, unless no exercise has more than two."""
    table, history = movements(catalogue), inputs.history
    owner = np.repeat(np.arange(len(inputs), dtype=np.int64), np.diff(history.offsets))
    level = np.where((inputs.experience >= 0) & (inputs.experience < len(LEVELS)), inputs.experience, 0)
    rows = catalogue.rows_of(history.exercise_key)
    supported = unpack(recent.half_sets_supported(history, rows, owner, batch.starts_on, level, table)) / 2
    of_slot = batch.sets[np.arange(len(batch.exercise_key)), np.where(batch.deload_week == 0, 1, 0)[_owner(batch)]]
    direct = catalogue.muscle_credit[_rows(batch, catalogue)] == 1
    sets, several = np.zeros(supported.shape), np.zeros(supported.shape, dtype=bool)
    np.add.at(sets, _owner(batch), of_slot[:, None] * direct)
    np.logical_or.at(several, _owner(batch), (of_slot > FEWEST_SETS)[:, None] & direct)
    return np.asarray(((sets > supported + 1e-6) & several).any(axis=1))


def heavy_deload(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """A deload week that isn't lighter than every other: more sets or load of an exercise, or not less of anything."""
    if not len(batch):
        return np.zeros(0, dtype=bool)
    slot, weeks = np.arange(len(batch.exercise_key)), np.arange(WEEKS)
    deload = batch.deload_week[_owner(batch)]
    wrong = np.zeros(len(slot), dtype=bool)
    lighter = np.zeros((len(batch), WEEKS), dtype=bool)
    load = np.nan_to_num(batch.load_kg)
    for week in weeks:
        other = deload != week
        sets, kg, reserve = batch.sets[slot, deload], load[slot, deload], batch.reserve[slot, deload]
        wrong |= other & ((sets > batch.sets[:, week]) | (kg > load[:, week] + 1e-3))
        less = (sets < batch.sets[:, week]) | (kg < load[:, week] - 1e-3) | (reserve > batch.reserve[:, week])
        lighter[:, week] = np.bincount(_owner(batch)[less], minlength=len(batch)) > 0
    lighter[np.arange(len(batch)), batch.deload_week] = True
    has_slots = np.diff(batch.slot_offsets) > 0
    return _any(batch, wrong) | (has_slots & ~lighter.all(axis=1))


def repeated_exercise(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """An exercise twice in one session."""
    code = _session_of_slot(batch) << 32 | batch.exercise_key.astype(np.int64)
    _, first, count = np.unique(code, return_index=True, return_counts=True)
    wrong = np.zeros(len(code), dtype=bool)
    wrong[first[count > 1]] = True
    return _any(batch, wrong)


def unreasonable_number(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """No sets, an empty or inverted range, a reserve outside 0-5, or a load that isn't positive."""
    wrong = (batch.sets < 1).any(axis=1) | (batch.rep_min < 1) | (batch.rep_max < batch.rep_min)
    wrong |= (
        (batch.reserve < 0).any(axis=1)
        | (batch.reserve > 5).any(axis=1)
        | (batch.load_kg <= 0).any(axis=1)
        | np.isinf(batch.load_kg).any(axis=1)
    )
    return _any(batch, wrong)


def empty_without_reason(batch: PlanBatch, inputs: PlanningInputs, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Neither sessions nor a refusal, or both."""
    return (batch.refusal == 0) == (np.diff(batch.slot_offsets) == 0)


CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        unknown_exercise,
        lacking_equipment,
        contraindicated,
        disliked,
        too_long,
        too_many_sets,
        growing_too_fast,
        starting_too_high,
        heavy_deload,
        repeated_exercise,
        unreasonable_number,
        empty_without_reason,
    )
}
