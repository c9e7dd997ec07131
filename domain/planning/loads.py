"""The load of each slot in each week, and why: from the log, from a related exercise, or from nothing but a body weight."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import layoff, progression, reasons
from domain.planning.estimates import Estimates
from domain.planning.inputs import History
from domain.planning.movements import BARBELL_KIND, DUMBBELL_KIND, Movements
from domain.planning.plates import Inventory
from domain.planning.rpe_chart import share_by_possible_reps
from domain.planning.schemes import BY_BODYWEIGHT, LOADED
from domain.vocabulary import KG_PER_LB

FRESH_DAYS: Final = 21
"""A last session that old still says what to lift next; an older one only informs the estimate."""
CAUTION_PER_UNCERTAINTY: Final = 0.5
"""An uncertain estimate is taken half a standard deviation below its middle."""
RELATED_SHARE: Final = 0.90
RELATED_UNCERTAINTY: Final = 0.12
"""Carried over from another exercise of the family: a tenth less, and less sure."""
COLD_START_SHARE: Final = 0.65
"""Of the low value of strength tables (EVIDENCE, cold start: start at 60-70 % and let the first sessions correct)."""
COLD_START_UNCERTAINTY: Final = 0.25
LEVEL_SHARE: Final = (1.0, 1.25, 1.45)
"""What experience adds to a beginner's strength without a log; far below the tables' 1.5-2 ×, on purpose."""
OLDER_SHARE: Final = 0.8
OLDER_FROM_AGE: Final = 60
UNKNOWN_BODY_WEIGHT_KG: Final = (60.0, 62.0, 75.0)
"""By sex (unknown, female, male); low, because the unknown is taken cautiously."""
DELOAD_LOAD: Final = 0.9
MOST_WEEKLY_RISE: Final = 1.10
STALL_SESSIONS: Final = 4

_R: Final = {code: np.int8(reason.number) for code, reason in reasons.REASONS.items()}


@dataclass(frozen=True)
class Grid:
    """Loads that can be put on: multiples of a step above the lightest, or a listed inventory (index, -1 none)."""

    lightest: NDArray[np.float32]
    step: NDArray[np.float32]
    listed: NDArray[np.int32]
    """Index into `LoadLists`; -1 where the steps count."""


@dataclass(frozen=True)
class LoadLists:
    """Every listed load of every inventory, as one ascending array of list number × SPAN + load."""

    codes: NDArray[np.float64]
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    number: NDArray[np.int32]
    """(inventories, 2) list number of the barbell's and the dumbbells' loads; -1 where not listed."""

    SPAN = 65536.0

    @classmethod
    def of(cls, inventories: tuple[Inventory, ...]) -> "LoadLists":
        codes: list[NDArray[np.float64]] = []
        lengths: list[int] = []
        number = np.full((len(inventories) + 1, 2), -1, dtype=np.int32)
        for index, inventory in enumerate(inventories):
            for kind, listed in ((BARBELL_KIND, inventory.barbell_kg), (DUMBBELL_KIND, inventory.dumbbell_kg)):
                if listed:
                    number[index, kind] = len(lengths)
                    codes.append(len(lengths) * cls.SPAN + np.array(listed, dtype=np.float64))
                    lengths.append(len(listed))
        length = np.array(lengths, dtype=np.int64)
        first = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64) if lengths else np.zeros(0, dtype=np.int64)
        return cls(np.concatenate(codes) if codes else np.zeros(0), first, length, number)

    def floor(self, listed: NDArray[np.int32], load: NDArray[np.float32]) -> NDArray[np.float32]:
        """The heaviest listed load not above `load`, else the lightest of the list."""
        place = np.searchsorted(self.codes, listed * self.SPAN + load + 1e-3, side="right") - 1
        place = np.maximum(place, self.first[listed])
        return (self.codes[place] - listed * self.SPAN).astype(np.float32)

    def ceiling(self, listed: NDArray[np.int32], load: NDArray[np.float32]) -> NDArray[np.float32]:
        """The lightest listed load not below `load`, else the heaviest of the list."""
        place = np.searchsorted(self.codes, listed * self.SPAN + load - 1e-3, side="left")
        place = np.minimum(place, self.first[listed] + self.length[listed] - 1)
        return (self.codes[place] - listed * self.SPAN).astype(np.float32)


def floor_to(grid: Grid, lists: LoadLists, load: NDArray[np.float32]) -> NDArray[np.float32]:
    """Down to a reachable load, or up to the lightest."""
    steps = np.floor((load - grid.lightest) / grid.step + np.float32(2e-3))
    out = (grid.lightest + np.maximum(steps, np.float32(0)) * grid.step).astype(np.float32)
    chosen = np.nonzero(grid.listed >= 0)
    if len(chosen[0]):
        out[chosen] = lists.floor(grid.listed[chosen], load[chosen])
    return out


def ceiling_to(grid: Grid, lists: LoadLists, load: NDArray[np.float32]) -> NDArray[np.float32]:
    """Up to a reachable load, or down to the heaviest listed one."""
    steps = np.ceil((load - grid.lightest) / grid.step - np.float32(2e-3))
    out = (grid.lightest + np.maximum(steps, np.float32(0)) * grid.step).astype(np.float32)
    chosen = np.nonzero(grid.listed >= 0)
    if len(chosen[0]):
        out[chosen] = lists.ceiling(grid.listed[chosen], load[chosen])
    return out


def grid_of(
    row: NDArray[np.int16],
    table: Movements,
    lists: LoadLists,
    *,
    in_pounds: NDArray[np.bool_],
    smallest_plate_kg: NDArray[np.float32],
    inventory: NDArray[np.int32],
) -> Grid:
    """(days, slots, users) the reachable loads of each slot's exercise, in kg. Barbells step by a pair of the smallest plates."""
    lb = np.float32(KG_PER_LB)
    step = np.where(in_pounds, table.step_lb[row] * lb, table.step_kg[row])
    lightest = np.where(in_pounds, table.lightest_lb[row] * lb, table.lightest_kg[row])
    known = (smallest_plate_kg > 0) & (smallest_plate_kg <= 25)
    if known.any():
        pair = np.where(known, smallest_plate_kg * 2, np.float32(1)).astype(np.float32)
        step = np.where((table.inventory_kind[row] == BARBELL_KIND) & known, pair, step)
    listed = np.full(row.shape, -1, dtype=np.int32)
    if len(lists.length):
        kind = table.inventory_kind[row]
        owned = lists.number[np.where((inventory >= 0) & (inventory < len(lists.number) - 1), inventory, -1)]
        listed = np.where(kind == BARBELL_KIND, owned[:, 0], np.where(kind == DUMBBELL_KIND, owned[:, 1], -1)).astype(np.int32)
    return Grid(lightest.astype(np.float32), step.astype(np.float32), listed)


@dataclass(frozen=True)
class Sources:
    """Where each slot's load can come from; (days, slots, users) unless it says otherwise."""

    history: NDArray[np.int32]
    """Row of the user's history with this very exercise, -1 none."""
    related: NDArray[np.int32]
    """Row of the history with the best known exercise of the family, -1 none."""


def find_sources(
    row: NDArray[np.int16], history_row: NDArray[np.int32], owner: NDArray[np.int64], estimates: Estimates, table: Movements
) -> Sources:
    """Look up the history of each slot's exercise, and of the family's exercise whose estimate is surest.

    `history_row`: catalogue row per history row, -1 custom; `owner`: its user.
    """
    users = row.shape[2]
    known = np.flatnonzero(history_row >= 0)
    lookup = np.full((users, len(table) + 1), -1, dtype=np.int32)
    lookup[owner[known], history_row[known]] = known
    every = np.arange(users)
    direct = lookup[every, row]
    direct[row == len(table)] = -1
    sure = known[(table.family_ratio[history_row[known]] > 0) & ~np.isnan(estimates.e1rm_kg[known])]
    by_family = np.full((users, table.families + 1), -1, dtype=np.int32)
    sure = sure[np.argsort(-estimates.uncertainty[sure], kind="stable")]
    by_family[owner[sure], table.family[history_row[sure]]] = sure
    related = by_family[every, table.family[row]]
    related[(row == len(table)) | (table.family_ratio[row] <= 0)] = -1
    return Sources(direct, related)


@dataclass(frozen=True)
class Prescribed:
    """(days, slots, users, …) loads and reasons."""

    load: NDArray[np.float32]
    """(4, days, slots, users) kg per week; NaN where there is no load to name."""
    reason: NDArray[np.int8]
    """(4, days, slots, users)"""
    numbers: NDArray[np.float32]
    """(4, days, slots, users) the numbers of the first week's reason."""
    extra_reserve: NDArray[np.int8]
    """(days, slots, users) repetitions in reserve to add in the first week, because the load is a guess."""


def first_load(
    *,
    row: NDArray[np.int16],
    sets: NDArray[np.int8],
    rep_min: NDArray[np.int16],
    rep_max: NDArray[np.int16],
    reserve: NDArray[np.int8],
    sources: Sources,
    history: History,
    estimates: Estimates,
    today: NDArray[np.int32],
    experience: NDArray[np.int8],
    sex: NDArray[np.int8],
    age: NDArray[np.float32],
    body_weight: NDArray[np.float32],
    weeks_off: NDArray[np.float32],
    grid: Grid,
    lists: LoadLists,
    table: Movements,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]]:
    """(load before any layoff, reachable load of the first week, reason, four numbers, extra reserve) per slot.

    By this order: the last session if it is fresh and was done in a comparable range (double progression), the estimate of the
    exercise, the estimate of a related exercise, body weight. Loads that aren't steps-and-kilograms are NaN with their reason.
    """
    dose = table.dose[row]
    loaded = (dose == LOADED) & (row < len(table))
    has_log = sources.history >= 0
    h = np.maximum(sources.history, 0)
    nothing = np.float32(np.nan)
    if len(history):
        last_load = np.where(has_log, history.top_load_kg[:, 0][h], nothing)
        last_top = np.where(has_log, history.top_reps[:, 0][h], 0)
        last_fewest = np.where(has_log, history.fewest_reps[:, 0][h], 0)
        last_sets = np.where(has_log, history.sets_at_top[:, 0][h], 0)
        last_age = np.where(has_log, today - history.session_on[:, 0][h], 10_000)
        before_load, before_fewest = history.top_load_kg[:, 1][h], history.fewest_reps[:, 1][h]
        mu = np.where(has_log, estimates.e1rm_kg[h], nothing)
        doubt = np.where(has_log, estimates.uncertainty[h], nothing)
        stalled = np.where(has_log, _stalled(history)[h], False)
        related_row = np.maximum(sources.related, 0)
        ratio_from = table.family_ratio[_history_rows(history, table)[related_row]]
        carried = estimates.e1rm_kg[related_row] * table.family_ratio[row] / np.where(ratio_from > 0, ratio_from, 1)
        carried = np.where(sources.related >= 0, carried * np.float32(RELATED_SHARE), nothing)
        carried_doubt = np.sqrt(estimates.uncertainty[related_row] ** 2 + np.float32(RELATED_UNCERTAINTY**2))
    else:
        last_load = mu = doubt = carried = np.full(row.shape, nothing)
        last_top = last_fewest = last_sets = before_fewest = np.zeros(row.shape, dtype=np.int16)
        last_age = np.full(row.shape, 10_000)
        before_load, carried_doubt = np.zeros(row.shape, np.float32), np.zeros(row.shape, np.float32)
        stalled = np.zeros(row.shape, dtype=bool)

    older = np.where(age >= OLDER_FROM_AGE, np.float32(OLDER_SHARE), np.float32(1))
    body = np.where(np.isnan(body_weight), np.array(UNKNOWN_BODY_WEIGHT_KG, dtype=np.float32)[sex + 1], body_weight)
    base = body * older * np.array(LEVEL_SHARE, dtype=np.float32)[experience] * np.float32(COLD_START_SHARE)
    cold = table.cold_start[sex + 1, row] * base

    maximum = np.where(np.isnan(mu), np.where(np.isnan(carried), cold, carried), mu)
    uncertainty = np.where(np.isnan(mu), np.where(np.isnan(carried), np.float32(COLD_START_UNCERTAINTY), carried_doubt), doubt)
    reason = np.where(np.isnan(mu), np.where(np.isnan(carried), _R["load.cold_start"], _R["load.from_related"]), _R["load.from_e1rm"])
    middle = (rep_min + rep_max) // 2
    share = share_by_possible_reps(middle + reserve)
    discount = np.where(reason == _R["load.cold_start"], np.float32(1), 1 - np.float32(CAUTION_PER_UNCERTAINTY) * uncertainty)
    wanted = (maximum * discount * share).astype(np.float32)
    numbers = np.stack([maximum, uncertainty * 100, middle.astype(np.float32), reserve.astype(np.float32)]).astype(np.float32)
    load = floor_to(grid, lists, wanted)

    # Double progression: the last session is fresh, its load believable, its repetitions near the range, and it had straight sets.
    sane = (last_load > 0) & (last_load * share_by_possible_reps(np.maximum(last_top, 1)) <= 600)
    comparable = (last_top >= rep_min - 3) & (last_top <= rep_max + 3) & (last_sets >= np.minimum(2, sets))
    double = loaded & has_log & sane & comparable & (last_age <= FRESH_DAYS)
    if double.any():
        missed_before = (before_load >= last_load * np.float32(0.995)) & (before_fewest > 0) & (before_fewest < rep_min)
        decision, _ = progression.decide_double(
            sets_done=last_sets,
            fewest_reps=last_fewest,
            sets=np.maximum(sets, 1),
            rep_min=rep_min,
            rep_max=rep_max,
            misses_before=missed_before,
            lifted_share=np.float32(1),
        )
        up = decision == progression.LOAD_UP
        down = decision == progression.LOAD_DOWN
        reset = stalled & ~up & ~down
        rise = ceiling_to(grid, lists, last_load * np.float32(1 + progression.SMALLEST_STEP_SHARE))
        one_step = ceiling_to(grid, lists, last_load + grid.step * np.float32(0.01))
        rise = np.where(rise > last_load * np.float32(MOST_WEEKLY_RISE), one_step, rise)
        cut = floor_to(grid, lists, last_load * np.float32(1 - progression.CUT_SHARE))
        held = floor_to(grid, lists, last_load)
        progressed = np.where(up, rise, np.where(down | reset, cut, held))
        why = np.where(up, _R["progress.double.load_up"], np.where(down, _R["progress.double.load_down"], _R["progress.double.add_reps"]))
        why = np.where(decision == progression.HOLD_MISSED, _R["progress.double.hold_missed"], why)
        why = np.where(reset, _R["progress.stall.reset"], why)
        load = np.where(double, progressed, load)
        wanted = np.where(double, progressed, wanted)
        reason = np.where(double, why, reason)
        fourth = np.where(up, rise - last_load, np.where(reset, mu, np.where(why == _R["progress.double.add_reps"], rep_max, rep_min)))
        first = np.where(reset, STALL_SESSIONS, last_sets)
        for place, value in enumerate((first, last_fewest, last_load, fourth)):
            numbers[place] = np.where(double, value, numbers[place])

    # A break: cut what would have been lifted, come back over the weeks.
    factor = layoff.load_factor(weeks_off, age)
    broken = loaded & (weeks_off > layoff.FREE_WEEKS) & (reason != _R["load.cold_start"])
    before_break = load
    if broken.any():
        reduced = floor_to(grid, lists, load * factor)
        for place, value in enumerate((weeks_off, (1 - factor) * 100, load, reserve.astype(np.float32))):
            numbers[place] = np.where(broken, value, numbers[place])
        load = np.where(broken, reduced, load)
        wanted = np.where(broken, before_break * factor, wanted)
        reason = np.where(broken, _R["load.layoff"], reason)

    too_heavy = loaded & (load > wanted * np.float32(1.12)) & (wanted > 0)
    for place, value in enumerate((load, wanted, middle.astype(np.float32), reserve.astype(np.float32))):
        numbers[place] = np.where(too_heavy, value, numbers[place])
    reason = np.where(too_heavy, _R["load.lightest"], reason)

    unloaded = ~loaded
    by_body = table.dose[row] == BY_BODYWEIGHT
    for place, figure in enumerate(np.broadcast_arrays(rep_min, rep_max, reserve, last_top)):
        numbers[place] = np.where(unloaded, figure, numbers[place])
    reason = np.where(unloaded, np.where(by_body, _R["load.bodyweight"], _R["load.by_feel"]), reason).astype(np.int8)
    guess = (reason == _R["load.cold_start"]) | (reason == _R["load.from_related"]) | (reason == _R["load.lightest"])
    load = np.where(unloaded, nothing, load).astype(np.float32)
    return np.where(unloaded, nothing, before_break).astype(np.float32), load, reason, numbers, guess.astype(np.int8)


def _history_rows(history: History, table: Movements) -> NDArray[np.int32]:
    rows = np.full(int(table.key.max()) + 2, len(table), dtype=np.int32)
    rows[table.key[:-1]] = np.arange(len(table), dtype=np.int32)
    inside = (history.exercise_key >= 0) & (history.exercise_key < len(rows))
    return rows[np.where(inside, history.exercise_key, len(rows) - 1)]


def _stalled(history: History) -> NDArray[np.bool_]:
    """Four sessions of an exercise without a better estimate than the first of them (per history row)."""
    kg = history.e1rm_kg[:, :STALL_SESSIONS]
    known = np.isfinite(kg) & (kg > 0)
    newest = np.where(known[:, :-1], kg[:, :-1], 0).max(axis=1, initial=0)
    same_load = history.top_load_kg[:, 0] >= history.top_load_kg[:, STALL_SESSIONS - 1] * np.float32(0.995)
    return known.all(axis=1) & (newest <= kg[:, -1] * np.float32(1.005)) & same_load


def weekly_loads(
    *,
    first: NDArray[np.float32],
    before_break: NDArray[np.float32],
    reason: NDArray[np.int8],
    phases: NDArray[np.int8],
    waves: NDArray[np.bool_],
    weeks_off: NDArray[np.float32],
    age: NDArray[np.float32],
    grid: Grid,
    lists: LoadLists,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Four weeks' loads and reasons from the first week's; `phases` (4, users), `waves` per slot: whether the load rises weekly.

    A deload takes a tenth off the load of the week before; the week after it goes back. A rise is one to a few steps, 2-10 %.
    """
    loads = np.empty((4, *first.shape), dtype=np.float32)
    why = np.empty((4, *first.shape), dtype=np.int8)
    unloaded = np.isnan(first)
    working = np.where(unloaded, grid.lightest, first)
    returning = reason == _R["load.layoff"]
    is_deload = phases == 3
    light = floor_to(grid, lists, np.minimum(working * np.float32(DELOAD_LOAD), working))
    light = np.minimum(light, working)
    loads[0] = np.where(is_deload[0], light, working)
    why[0] = np.where(is_deload[0], _R["week.deload"], reason)
    first_factor = layoff.load_factor(weeks_off, age)
    any_wave, any_return = bool(waves.any()), bool(returning.any())
    for week in range(1, 4):
        following, code = working, np.full(first.shape, _R["week.hold"], dtype=np.int8)
        if any_wave:
            target = ceiling_to(grid, lists, working * np.float32(1 + progression.SMALLEST_STEP_SHARE))
            target = np.where(
                target > working * np.float32(MOST_WEEKLY_RISE), ceiling_to(grid, lists, working + grid.step * np.float32(0.01)), target
            )
            rises = waves & ~is_deload[week] & ~is_deload[week - 1] & ~returning
            following = np.where(rises, target, following)
            code = np.where(rises & (target > working), _R["week.load_up"], code)
        if any_return:
            back = before_break * layoff.week_factor(first_factor, week)
            back = np.maximum(floor_to(grid, lists, np.minimum(back, working * np.float32(MOST_WEEKLY_RISE))), working)
            following = np.where(returning & ~is_deload[week], back, following)
            code = np.where(returning & (following > working), _R["week.layoff_return"], code)
        code = np.where(is_deload[week - 1], _R["week.after_deload"], code)
        working = following
        light = np.minimum(floor_to(grid, lists, working * np.float32(DELOAD_LOAD)), working)
        light = np.minimum(light, loads[0])  # weeks that rise may end above where they began, and the deload is lighter than all
        loads[week] = np.where(is_deload[week], light, working)
        why[week] = np.where(is_deload[week], _R["week.deload"], code)
    loads[:, unloaded] = np.nan
    for week in range(4):
        why[week] = np.where(unloaded, np.where(is_deload[week], _R["week.deload_sets"], reason), why[week])
    return loads, why
