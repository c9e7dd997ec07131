"""The load of each slot in each week, and why: from the log, from a related exercise, or from nothing but a body weight."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import layoff, limits, prescribed, progression, reasons
from domain.planning.e1rm import LOWEST_TRUSTED_RPE
from domain.planning.estimates import HIGHEST_PLAUSIBLE_KG, Estimates
from domain.planning.inputs import NO_DATE, History
from domain.planning.movements import (
    BAR_KINDS,
    BARBELL_KIND,
    BARS,
    DUMBBELL_KIND,
    EZ_BAR_KIND,
    OTHER_KIND,
    SMITH_KIND,
    STACK_KIND,
    TRAP_BAR_KIND,
    Movements,
)
from domain.planning.pick import pick
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
STRENGTH_SHARE: Final = 0.70
"""Of what somebody's strength in other exercises would make of an unknown one: cautious, since people aren't equally good at all."""
STRENGTH_BOUNDS: Final = (0.5, 4.0)
"""A logged maximum counts as at least half and at most four times what a beginner of that body weight has."""
LEVEL_SHARE: Final = (1.0, 1.25, 1.45)
"""What experience adds to a beginner's strength without a log; far below the tables' 1.5-2 ×, on purpose."""
OLDER_SHARE: Final = 0.8
OLDER_FROM_AGE: Final = 60
UNKNOWN_BODY_WEIGHT_KG: Final = (60.0, 62.0, 75.0)
"""By sex (unknown, female, male); low, because the unknown is taken cautiously."""
TOO_HEAVY: Final = 1.10
"""A load more than a tenth above the wanted one is too heavy, and its reason says so."""
SAME_LOAD: Final = 0.995
RETURN_DAYS: Final = 21
"""So long after a break the load of before comes back faster than by double progression."""
EASY_RPE: Final = 8.5
RISE_PER_RPE: Final = 0.025
"""Where all sets reached the top at a logged RPE below 8.5, the rise is 2.5 % for each point below it, up to 10 %."""
DELOAD_LOAD: Final = 0.9
ROUNDING: Final = 1e-6
"""Shares of a load that differ by less are the same share, computed another way."""
MOST_WEEKLY_RISE: Final = 1.10
STALL_SESSIONS: Final = 4

_R: Final = {code: np.int8(reason.number) for code, reason in reasons.REASONS.items()}


@dataclass(frozen=True)
class Grid:
    """Loads that can be put on: multiples of a step above the lightest, or a listed inventory (index, -1 none)."""

    lightest: NDArray[np.float32]
    step: NDArray[np.float32]
    listed: NDArray[np.int32] | None
    """Index into `LoadLists`, -1 where the steps count; None where they count everywhere."""


@dataclass(frozen=True)
class LoadLists:
    """Every listed load of every inventory, as one ascending array of list number × SPAN + load."""

    codes: NDArray[np.float64]
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    number: NDArray[np.int32]
    """(inventories + 1, units, kinds) list number of each bar's, the dumbbells' and the stacks' loads, for users in kg and in lb; -1
    where not listed, as in the last row and for other kinds. The listed plates go on every bar, each with its own weight."""

    SPAN = 65536.0

    @classmethod
    def of(cls, inventories: tuple[Inventory, ...]) -> "LoadLists":
        codes: list[NDArray[np.float64]] = []
        lengths: list[int] = []
        number = np.full((len(inventories) + 1, 2, OTHER_KIND + 1), -1, dtype=np.int32)

        def add(index: int, units: slice, kind: int, kg: NDArray[np.float64]) -> None:
            if len(kg):
                number[index, units, kind] = len(lengths)
                codes.append(len(lengths) * cls.SPAN + kg)
                lengths.append(len(kg))

        for index, inventory in enumerate(inventories):
            on_barbell = _believed(inventory.barbell_kg)
            add(index, slice(2), BARBELL_KIND, on_barbell)
            for kind in (EZ_BAR_KIND, TRAP_BAR_KIND, SMITH_KIND) if len(on_barbell) else ():
                for unit, (empty, factor) in enumerate(zip(BARS[BAR_KINDS[kind]], (1.0, KG_PER_LB), strict=True)):
                    add(index, slice(unit, unit + 1), kind, on_barbell - on_barbell[0] + empty * factor)
            add(index, slice(2), DUMBBELL_KIND, _believed(inventory.dumbbell_kg))
            add(index, slice(2), STACK_KIND, _believed(inventory.stack_kg))
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


def _believed(listed: tuple[float, ...]) -> NDArray[np.float64]:
    """The loads of a list that can be meant, ascending."""
    kg = np.unique(np.array(listed, dtype=np.float64))
    return kg[(kg >= prescribed.LIGHTEST_KG) & (kg <= prescribed.HEAVIEST_KG)]


def floor_to(grid: Grid, lists: LoadLists, load: NDArray[np.float32]) -> NDArray[np.float32]:
    """Down to a reachable load, or up to the lightest."""
    steps = np.floor((load - grid.lightest) / grid.step + np.float32(2e-3))
    out: NDArray[np.float32] = grid.lightest + np.maximum(steps, np.float32(0)) * grid.step
    if grid.listed is not None:
        chosen = np.flatnonzero(grid.listed >= 0)
        out[chosen] = lists.floor(grid.listed[chosen], load[chosen])
    return out


def ceiling_to(grid: Grid, lists: LoadLists, load: NDArray[np.float32]) -> NDArray[np.float32]:
    """Up to a reachable load, or down to the heaviest listed one."""
    steps = np.ceil((load - grid.lightest) / grid.step - np.float32(2e-3))
    out: NDArray[np.float32] = grid.lightest + np.maximum(steps, np.float32(0)) * grid.step
    if grid.listed is not None:
        chosen = np.flatnonzero(grid.listed >= 0)
        out[chosen] = lists.ceiling(grid.listed[chosen], load[chosen])
    return out


@dataclass(frozen=True)
class Slots:
    """One entry per slot."""

    user: NDArray[np.int64]
    row: NDArray[np.int16]
    sets: NDArray[np.int8]
    """Of a full week: a week that is cut to begin with doesn't make a step up easier to earn."""
    rep_min: NDArray[np.int16]
    rep_max: NDArray[np.int16]
    reserve: NDArray[np.int8]
    """Repetitions in reserve of the first week."""
    weeks_back: NDArray[np.int8]
    """Since the limitation ended that kept the exercise's area out; -1 where none did."""


@dataclass(frozen=True)
class People:
    """One entry per user."""

    reference: NDArray[np.int32]
    experience: NDArray[np.int8]
    sex: NDArray[np.int8]
    age: NDArray[np.float32]
    body_weight: NDArray[np.float32]
    weeks_off: NDArray[np.float32]
    days_eased: NDArray[np.int32]
    """Since a limitation ended, at the reference day; below zero where none did."""
    in_pounds: NDArray[np.bool_]
    smallest_plate_kg: NDArray[np.float32]
    inventory: NDArray[np.int32]


def grid_of(row: NDArray[np.int16], user: NDArray[np.int64], people: People, table: Movements, lists: LoadLists) -> Grid:
    """The reachable loads of each slot's exercise, in kg. Bars step by a pair of the smallest plates."""
    in_pounds = people.in_pounds.take(user)
    unit_step, unit_lightest = _by_unit(table)
    at = row + in_pounds * np.intp(len(table) + 1)
    step, lightest = unit_step.take(at), unit_lightest.take(at)
    known = (people.smallest_plate_kg >= np.float32(prescribed.LIGHTEST_KG)) & (people.smallest_plate_kg <= 25)
    if known.any():
        pair = (people.smallest_plate_kg * np.float32(2)).take(user)
        step = pick((table.inventory_kind.take(row) <= SMITH_KIND) & known.take(user), pair, step)
    if not len(lists.length):
        return Grid(lightest, step, None)
    kind = table.inventory_kind.take(row)
    owned = np.where((people.inventory >= 0) & (people.inventory < len(lists.number) - 1), people.inventory, -1)
    listed = lists.number[owned.take(user), in_pounds.view(np.int8), kind]
    return Grid(lightest, step, listed if (listed >= 0).any() else None)


@lru_cache(maxsize=4)
def _by_unit(table: Movements) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Steps and lightest loads in kg, those of users in kg first, then those in lb."""
    lb = np.float32(KG_PER_LB)
    return np.concatenate([table.step_kg, table.step_lb * lb]), np.concatenate([table.lightest_kg, table.lightest_lb * lb])


@dataclass(frozen=True)
class Log:
    """What each row of the history says, ready to be looked up per slot."""

    first: NDArray[np.int64]
    """(users,) first row of each user's history."""
    row_of: NDArray[np.unsignedinteger]
    """(users, rows of Movements + 1) 1 + the number, among the user's, of the row of the history with this very exercise; 0 none.
    In the smallest type that holds the longest history: looked up for every slot, it should stay in the processor's cache."""
    surest: NDArray[np.unsignedinteger]
    """(users, families + 1) likewise the row of the history whose estimate is the surest of the family."""
    strength: NDArray[np.float32]
    """(users,) how strong somebody is in what they log, as a multiple of a beginner of their body weight; NaN where unknown."""
    figures: NDArray[np.float32]
    """(columns in the order of the constants below, history rows)"""

    E1RM, DOUBT, RATIO, LOAD, TOP, FEWEST, SETS, RPE, AGE, LOAD_BEFORE, FEWEST_BEFORE, STALLED, RETURNING, BEFORE_BREAK, GAP = range(15)
    PRESCRIBED, PRESCRIBED_SETS = range(15, 17)

    def find(self, table: NDArray[np.unsignedinteger], user: NDArray[np.int64], column: NDArray) -> NDArray[np.int64]:
        """Rows of the history from `row_of` or `surest`, by user and column; -1 where there is none."""
        number = table.ravel().take(user * table.shape[1] + column).astype(np.int64)
        return number - 1 + self.first.take(user) * (number > 0)

    @classmethod
    def of(
        cls,
        history: History,
        movement: NDArray[np.int32],
        owner: NDArray[np.int64],
        people: "People",
        estimates: Estimates,
        table: Movements,
    ) -> "Log":
        """`movement`: catalogue row per history row, -1 custom; `owner`: its user."""
        reference, age, users = people.reference, people.age, len(people.reference)
        begin = history.offsets[:-1]
        longest = int(np.diff(history.offsets).max(initial=0))
        small = np.uint8 if longest < 255 else np.uint16 if longest < 65535 else np.uint32
        number = (np.arange(1, len(history) + 1) - begin.take(owner)).astype(small)
        listed = pick(movement >= 0, movement, len(table)).astype(np.intp)
        row_of = np.zeros((users, len(table) + 1), dtype=small)
        row_of.ravel()[owner * (len(table) + 1) + listed] = number
        row_of[:, -1] = 0
        ratio = table.family_ratio.take(listed)
        sure = np.flatnonzero((ratio > 0) & ~np.isnan(estimates.e1rm_kg))
        # The surest is written last, and of equally sure ones the first. Bits of positive floats sort as the floats do.
        sure = sure[::-1]
        doubt = estimates.uncertainty.take(sure).view(np.int32).astype(np.int64)
        sure = sure.take(np.sort(-doubt << 32 | np.arange(len(sure))) & 0xFFFFFFFF)
        surest = np.zeros((users, table.families + 1), dtype=small)
        surest.ravel()[owner[sure] * (table.families + 1) + table.family[listed[sure]]] = number[sure]
        at_sex = ((people.sex + np.intp(1)) * table.cold_start.shape[1]).take(owner) + listed
        beginner = table.cold_start.ravel().take(at_sex) * body_kg(people).take(owner)
        rated = np.flatnonzero((beginner > 0) & ~np.isnan(estimates.e1rm_kg))
        multiple = np.log(np.clip(estimates.e1rm_kg[rated] / beginner[rated], *STRENGTH_BOUNDS))
        count = np.bincount(owner[rated], minlength=users)
        total = np.bincount(owner[rated], weights=multiple, minlength=users)
        strength = np.where(count > 0, np.exp(total / np.maximum(count, 1)), np.nan).astype(np.float32)
        returning, before_break, gap = _returning(history, reference[owner], age[owner])
        figures = np.empty((17, len(history)), dtype=np.float32)
        columns: list[NDArray] = [
            estimates.e1rm_kg,
            estimates.uncertainty,
            ratio,
            history.top_load_kg[:, 0],
            history.top_reps[:, 0],
            history.fewest_reps[:, 0],
            history.sets_at_top[:, 0],
            history.rpe[:, 0],
            reference[owner] - history.session_on[:, 0],
            history.top_load_kg[:, 1],
            history.fewest_reps[:, 1],
            _stalled(history),
            returning,
            before_break,
            gap,
            history.prescribed_kg,
            history.prescribed_sets,
        ]
        for place, values in enumerate(columns):
            figures[place] = values
        return cls(begin, row_of, surest, strength, figures)


def _returning(
    history: History, reference: NDArray[np.int32], age: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(share of the load before a break that is due now, that load, weeks of the break) per history row; 0 where there's no return.

    A return: a break of over two weeks between two of the last sessions, the first session after it less than three weeks ago.
    """
    on, count = history.session_on, len(history)
    days, since, load = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count, np.float32)
    flat, width = on.ravel(), on.shape[1]
    breaks = np.flatnonzero((flat[:-1] - flat[1:] > layoff.FREE_WEEKS * 7) & (flat[1:] > NO_DATE)) if count else np.zeros(0, np.intp)
    row, place = breaks // width, breaks % width
    row, place = row[place < width - 1], place[place < width - 1]
    ago, before = reference[row] - on[row, place], history.top_load_kg[row, place + 1]
    found = np.flatnonzero((ago >= 0) & (ago < RETURN_DAYS) & (before <= HIGHEST_PLAUSIBLE_KG))[::-1]
    row, place = row[found], place[found]  # the newest return counts, so it is written last
    days[row], since[row], load[row] = on[row, place] - on[row, place + 1], ago[found], before[found]
    due, weeks = np.zeros(count, np.float32), (days / 7).astype(np.float32)
    back = np.flatnonzero(days)
    first = layoff.load_factor(weeks[back], age[back])
    week = np.maximum(since[back] // 7, 0)
    for number in range(3):
        due[back[week == number]] = layoff.week_factor(first[week == number], number)
    return due, load, weeks


@dataclass(frozen=True)
class FirstLoads:
    """One entry per slot."""

    load: NDArray[np.float32]
    """kg; NaN where there is no load to name."""
    before_break: NDArray[np.float32]
    """What it would have been without a break or limitation that it comes back from."""
    factor: NDArray[np.float32]
    """What the break or limitation leaves of it in the first week; 1 where there was none."""
    reason: NDArray[np.int8]
    numbers: NDArray[np.float32]
    """(slots, 4)"""
    guess: NDArray[np.int8]
    """Repetitions in reserve to add in the first week, because the load is a guess."""


def first_load(slots: Slots, people: People, log: Log, grid: Grid, lists: LoadLists, table: Movements) -> FirstLoads:
    """The first week's load of each slot, its reason and its numbers.

    By this order: the last session if it is fresh and was done in a comparable range (double progression), the estimate of the
    exercise, the estimate of a related exercise, body weight.
    """
    dose = table.dose.take(slots.row)
    history = log.find(log.row_of, slots.user, slots.row)
    load, before_break, factor, reason, numbers = _loaded(slots, history, people, log, grid, lists, table)
    guess = _IS_GUESS.take(reason)

    plain = np.flatnonzero(dose != LOADED)
    load[plain], before_break[plain], guess[plain] = np.nan, np.nan, 0
    reason[plain] = pick(dose[plain] == BY_BODYWEIGHT, np.full(len(plain), _R["load.bodyweight"]), _R["load.by_feel"])
    logged = history[plain]
    best = log.figures[Log.TOP].take(logged) * (logged >= 0) if log.figures.size else np.zeros(len(plain), dtype=np.float32)
    for place, values in enumerate((slots.rep_min[plain], slots.rep_max[plain], slots.reserve[plain], best)):
        numbers[plain, place] = values
    return FirstLoads(load, before_break, factor, reason, numbers, guess)


_IS_GUESS: Final = np.zeros(128, dtype=np.int8)
for _word in ("cold_start", "from_related", "lightest", "from_strength"):
    _IS_GUESS[_R[f"load.{_word}"]] = 1


def body_kg(people: "People") -> NDArray[np.float32]:
    """Body weight, or a cautious one where it isn't known."""
    return np.where(np.isnan(people.body_weight), np.array(UNKNOWN_BODY_WEIGHT_KG, dtype=np.float32)[people.sex + 1], people.body_weight)


def cold_start_kg(people: "People") -> NDArray[np.float32]:
    """Body weight as it counts for a first guess: times a cautious share, experience and age. Times an exercise's cold-start ratio
    it is the maximum to start from."""
    older = np.where(people.age >= OLDER_FROM_AGE, np.float32(OLDER_SHARE), np.float32(1))
    level = np.array(LEVEL_SHARE, dtype=np.float32)[people.experience]
    return (body_kg(people) * older * level * np.float32(COLD_START_SHARE)).astype(np.float32)


def _loaded(
    slots: Slots, history: NDArray[np.int64], people: People, log: Log, grid: Grid, lists: LoadLists, table: Movements
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int8], NDArray[np.float32]]:
    """(load, load without a lasting break, what the break leaves of it, reason, numbers) of slots whose exercise carries a load."""
    user, row = slots.user, slots.row
    count = len(user)
    base = cold_start_kg(people)
    by_strength = log.strength * body_kg(people) * np.float32(STRENGTH_SHARE)
    stronger = by_strength > base
    own = pick(stronger, by_strength, base)
    at_sex = ((people.sex + np.intp(1)) * table.cold_start.shape[1]).take(user) + row
    maximum = table.cold_start.ravel().take(at_sex) * own.take(user)
    doubt = np.full(count, COLD_START_UNCERTAINTY, dtype=np.float32)
    reason = pick(stronger, np.full(len(base), _R["load.from_strength"]), _R["load.cold_start"]).take(user)

    direct = np.flatnonzero(history >= 0)
    figures = log.figures.take(history[direct], axis=1)
    sure = np.flatnonzero(~np.isnan(figures[Log.E1RM]))
    at = direct[sure]
    maximum[at], doubt[at], reason[at] = figures[Log.E1RM, sure], figures[Log.DOUBT, sure], _R["load.from_e1rm"]
    family_ratio = table.family_ratio.take(row)
    open_ = np.flatnonzero((reason != _R["load.from_e1rm"]) & (family_ratio > 0))
    related = log.find(log.surest, user[open_], table.family.take(row[open_]))
    has_related = np.flatnonzero(related >= 0)
    at, related = open_[has_related], related[has_related]
    if len(at):
        other = log.figures.take(related, axis=1)
        maximum[at] = other[Log.E1RM] * (family_ratio[at] / other[Log.RATIO]) * np.float32(RELATED_SHARE)
        doubt[at] = np.sqrt(other[Log.DOUBT] ** 2 + np.float32(RELATED_UNCERTAINTY**2))
        reason[at] = _R["load.from_related"]

    middle = (slots.rep_min + slots.rep_max) // 2
    share = share_by_possible_reps(middle + slots.reserve)
    guessed = (reason == _R["load.cold_start"]) | (reason == _R["load.from_strength"])
    discount = 1 - np.float32(CAUTION_PER_UNCERTAINTY) * doubt * ~guessed
    wanted = maximum * discount * share
    numbers = np.empty((count, 4), dtype=np.float32)
    for place, values in enumerate((maximum, doubt * 100, middle, slots.reserve)):
        numbers[:, place] = values
    load = floor_to(grid, lists, wanted)
    _progress(slots, direct, figures, grid, lists, load, wanted, reason, numbers)

    before_break = load.copy()
    factor = np.ones(count, dtype=np.float32)
    away = np.flatnonzero((people.weeks_off > layoff.FREE_WEEKS).take(user) & (reason != _R["load.cold_start"]))
    if len(away):
        weeks = people.weeks_off[user[away]]
        factor[away] = layoff.load_factor(weeks, people.age[user[away]])
        _come_back(away, "load.layoff", weeks, factor, grid, lists, slots, load, wanted, reason, numbers)
    trained_since = np.zeros(count, dtype=bool)
    trained_since[direct] = figures[Log.AGE] <= people.days_eased.take(user[direct])
    eased = np.flatnonzero((slots.weeks_back >= 0) & ~trained_since)
    if len(eased):
        share = limits.load_factor(slots.weeks_back[eased])
        lower = share < factor[eased] - np.float32(ROUNDING)  # as much off for both is the break's
        eased, share = eased[lower], share[lower]
        load[eased], factor[eased] = before_break[eased], share
        _come_back(eased, "load.after_limit", slots.weeks_back[eased], factor, grid, lists, slots, load, wanted, reason, numbers)

    heavy = np.flatnonzero((load > wanted * np.float32(TOO_HEAVY)) & (wanted > 0))
    numbers[heavy] = np.stack([load[heavy], wanted[heavy], middle[heavy], slots.reserve[heavy]], axis=1)
    reason[heavy] = _R["load.lightest"]
    return load, before_break, factor, reason, numbers


def _come_back(
    at: NDArray[np.intp],
    why: str,
    weeks: NDArray,
    factor: NDArray[np.float32],
    grid: Grid,
    lists: LoadLists,
    slots: Slots,
    load: NDArray[np.float32],
    wanted: NDArray[np.float32],
    reason: NDArray[np.int8],
    numbers: NDArray[np.float32],
) -> None:
    """In place: the loads at these slots start lower, by `factor`, `weeks` after the reason to stop."""
    numbers[at] = np.stack([weeks, (1 - factor[at]) * 100, load[at], slots.reserve[at]], axis=1)
    wanted[at] = load[at] * factor[at]
    load[at] = floor_to(_some(grid, at), lists, wanted[at])
    reason[at] = _R[why]


def _progress(
    slots: Slots,
    direct: NDArray[np.intp],
    figures: NDArray[np.float32],
    grid: Grid,
    lists: LoadLists,
    load: NDArray[np.float32],
    wanted: NDArray[np.float32],
    reason: NDArray[np.int8],
    numbers: NDArray[np.float32],
) -> None:
    """Double progression, in place, for slots whose last session says what to lift next: fresh, straight sets, near the range.

    `direct`: slots with a log of their exercise, `figures` its row each.
    """
    rep_min, rep_max, sets = slots.rep_min[direct], slots.rep_max[direct], np.maximum(slots.sets[direct], 1)
    top, last = figures[Log.TOP], figures[Log.LOAD]
    sane = (last > 0) & (last <= HIGHEST_PLAUSIBLE_KG)
    near = (top >= rep_min - 3) & (top <= rep_max + 3) & (figures[Log.SETS] >= np.minimum(2, sets))
    fresh = sane & (figures[Log.AGE] <= FRESH_DAYS)
    usable = fresh & near
    share = prescribed.lifted_share(last, figures[Log.PRESCRIBED])
    _stay_below(direct, figures, fresh & ~near & prescribed.is_less(share), grid, lists, load, wanted, reason, numbers)
    chosen = np.flatnonzero(usable)
    at, share, figures = direct[chosen], share[chosen], figures.take(chosen, axis=1)
    if not len(at):
        return
    rep_min, rep_max, sets = rep_min[chosen], rep_max[chosen], sets[chosen]
    last, fewest = figures[Log.LOAD], figures[Log.FEWEST]
    missed_before = (
        (figures[Log.LOAD_BEFORE] >= last * np.float32(SAME_LOAD))
        & (figures[Log.FEWEST_BEFORE] > 0)
        & (figures[Log.FEWEST_BEFORE] < rep_min)
    )
    decision, _ = progression.decide_double(
        sets_done=figures[Log.SETS],
        fewest_reps=fewest,
        sets=prescribed.sets_to_reach(figures[Log.PRESCRIBED_SETS], sets),
        rep_min=rep_min,
        rep_max=rep_max,
        misses_before=missed_before,
        lifted_share=share,
    )
    some = _some(grid, at)
    up, down = decision == progression.LOAD_UP, decision == progression.LOAD_DOWN
    reset = (figures[Log.STALLED] > 0) & ~up & ~down
    next_one = ceiling_to(some, lists, last + some.step * np.float32(0.01))
    rise = ceiling_to(some, lists, last * np.float32(1 + progression.SMALLEST_STEP_SHARE))
    rise = pick(rise > last * np.float32(MOST_WEEKLY_RISE), next_one, rise)
    easy = np.clip((EASY_RPE - figures[Log.RPE]) * np.float32(RISE_PER_RPE), 0, progression.LARGEST_STEP_SHARE)
    easy = pick((figures[Log.RPE] >= LOWEST_TRUSTED_RPE) & (easy > 0), easy, 0)
    rise = np.maximum(rise, floor_to(some, lists, last * (1 + easy)))
    is_heaviest = up & (rise <= last * np.float32(2 - SAME_LOAD))
    up &= ~is_heaviest
    target = pick(down | reset, last * np.float32(1 - progression.CUT_SHARE), last)
    after = pick(up, rise, floor_to(some, lists, target))
    target = pick(up, after, target)
    why = pick(reset, _R["progress.stall.reset"], _DOUBLE_REASONS.take(decision))
    why = pick(is_heaviest, _R["progress.double.heaviest"], why)
    fourth = pick(up, rise - last, pick(is_heaviest | (why == _R["progress.double.add_reps"]), rep_max, rep_min).astype(np.float32))
    fourth = pick(why == _R["progress.hold.lifted_less"], figures[Log.PRESCRIBED], fourth)
    fourth = pick(reset, figures[Log.E1RM], fourth)
    told = np.stack([pick(reset, STALL_SESSIONS, figures[Log.SETS]), fewest, last, fourth], axis=1)

    # Coming back from a break: the load of before is due sooner than a step at a time, as long as all was done as prescribed.
    due = floor_to(some, lists, np.minimum(figures[Log.BEFORE_BREAK] * figures[Log.RETURNING], last * np.float32(MOST_WEEKLY_RISE)))
    back = (figures[Log.RETURNING] > 0) & (due > after) & (fewest >= rep_min) & ~prescribed.is_less(share)
    after, target = pick(back, due, after), pick(back, due, target)
    why = pick(back, _R["progress.layoff_return"], why)
    told[back] = figures[:, back][[Log.GAP, Log.FEWEST, Log.LOAD, Log.BEFORE_BREAK]].T
    load[at], wanted[at], reason[at], numbers[at] = after, target, why, told


_DOUBLE_REASONS: Final = np.zeros(6, dtype=np.int8)
"""By the decision of double progression."""
for _decision, _word in (
    (progression.LOAD_UP, "double.load_up"),
    (progression.LOAD_DOWN, "double.load_down"),
    (progression.HOLD_MISSED, "double.hold_missed"),
    (progression.HOLD_LIFTED_LESS, "hold.lifted_less"),
    (progression.ADD_REPS, "double.add_reps"),
):
    _DOUBLE_REASONS[_decision] = _R[f"progress.{_word}"]


def _stay_below(
    direct: NDArray[np.intp],
    figures: NDArray[np.float32],
    less: NDArray[np.bool_],
    grid: Grid,
    lists: LoadLists,
    load: NDArray[np.float32],
    wanted: NDArray[np.float32],
    reason: NDArray[np.int8],
    numbers: NDArray[np.float32],
) -> None:
    """In place: where less was lifted than prescribed (`less`), in another range than the one to come, an estimate may lower the
    prescribed load and never raise it."""
    at, figures = direct[less], figures[:, less]
    if not len(at):
        return
    most = floor_to(_some(grid, at), lists, figures[Log.PRESCRIBED])
    over = load[at] > most
    at, most, figures = at[over], most[over], figures[:, over]
    load[at], wanted[at], reason[at] = most, most, _R["progress.hold.lifted_less"]
    numbers[at] = figures[[Log.SETS, Log.FEWEST, Log.LOAD, Log.PRESCRIBED]].T


def _some(grid: Grid, at: NDArray[np.intp]) -> Grid:
    return Grid(grid.lightest.take(at), grid.step.take(at), None if grid.listed is None else grid.listed.take(at))


def _stalled(history: History) -> NDArray[np.bool_]:
    """Four sessions of an exercise without a better estimate than the first of them (per history row)."""
    kg = history.e1rm_kg
    best, known = kg[:, 0], kg[:, 0] > 0
    for place in range(1, STALL_SESSIONS):
        known = known & (kg[:, place] > 0)
        if place < STALL_SESSIONS - 1:
            best = np.maximum(best, kg[:, place])
    oldest = STALL_SESSIONS - 1
    same_load = history.top_load_kg[:, 0] >= history.top_load_kg[:, oldest] * np.float32(SAME_LOAD)
    stalled: NDArray[np.bool_] = known & same_load & (best <= kg[:, oldest] * np.float32(1.005))
    return stalled


def weekly_loads(
    first: FirstLoads,
    waves: NDArray[np.bool_],
    phase: NDArray[np.int8],
    grid: Grid,
    lists: LoadLists,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """(slots, 4) loads and reasons of four weeks from the first week's; `phase` of the first week, like the rest per slot.

    `waves`: whether the load rises weekly, by one to a few steps, 2-10 %; not where less was lifted than prescribed, nor where one
    step is more than that: there repetitions come first. A deload takes a tenth off and is never heavier than any other week; the week after it goes back.
    """
    count = len(waves)
    deload = (3 - phase).astype(np.intp)
    unloaded = np.flatnonzero(np.isnan(first.load))
    out: NDArray[np.float32] = np.repeat(first.load, 4).reshape(count, 4)
    why = _WEEK_REASONS.take(phase, axis=0)
    why[:, 0] = pick(deload == 0, why[:, 0], first.reason)
    why[unloaded] = first.reason[unloaded, None]
    why[unloaded, deload[unloaded]] = _R["week.deload_sets"]
    returning = (first.reason == _R["load.layoff"]) | (first.reason == _R["load.after_limit"])
    rises_at_all = waves & (first.reason != _R["progress.hold.lifted_less"]) & ~returning & ~np.isnan(first.load)
    moving = np.flatnonzero(rises_at_all | returning)
    if len(moving):
        part = _some(grid, moving)
        working: NDArray[np.float32] = first.load[moving]
        rises, comes_back = rises_at_all[moving], returning[moving]
        factor, before = first.factor[moving], first.before_break[moving]
        rests = deload[moving]
        for week in range(1, 4):
            builds, is_after = rests != week, rests == week - 1
            target = ceiling_to(part, lists, working * np.float32(1 + progression.SMALLEST_STEP_SHARE))
            one_step = ceiling_to(part, lists, working + part.step * np.float32(0.01))
            target = pick(target > working * np.float32(MOST_WEEKLY_RISE), one_step, target)
            due = np.minimum(before * layoff.week_factor(factor, week), working * np.float32(MOST_WEEKLY_RISE))
            due = floor_to(part, lists, pick(comes_back, due, working))
            up = rises & builds & ~is_after & (target > working) & (target <= working * np.float32(MOST_WEEKLY_RISE))
            back = comes_back & builds & (due > working)
            why[moving[up], week], why[moving[back], week] = _R["week.load_up"], _R["week.layoff_return"]
            working = pick(up, target, pick(back, due, working))
            out[moving, week] = working
    place = np.arange(0, 4 * count, 4) + deload
    at_deload = out.ravel().take(place)
    light = floor_to(grid, lists, at_deload * np.float32(DELOAD_LOAD))
    out.ravel()[place] = np.minimum(np.minimum(light, at_deload), out[:, 0])
    return out, why


_WEEK_REASONS: Final = np.array(
    [[_R["week.deload" if p + w == 3 else "week.after_deload" if p + w == 4 else "week.hold"] for w in range(4)] for p in range(4)],
    dtype=np.int8,
)
"""(4 phases of the first week, 4 weeks) reason of each week's load where it follows the first week's."""
