"""How many sets each slot gets: muscle limits first, then the minutes of the session, then growth from week to week."""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import reasons
from domain.planning.movements import Movements
from domain.planning.pick import pick
from domain.planning.session_time import (
    SHORT_COMPOUND_REST,
    SHORT_ISOLATION_REST,
    budget_seconds,
    exercise_seconds,
    round_saving,
)
from domain.planning.splits import ISOLATION, MAIN, SECONDARY
from domain.planning.volume import DELOAD_SHARE, WORDS, Room, fits, grown, lesser

_TIME: Final = np.int8(reasons.number_of("sets.time"))
_MUSCLE_LIMIT: Final = np.int8(reasons.number_of("sets.muscle_limit"))
SHORT_SESSION_MINUTES: Final = 40
"""Below it, warm-up ramps are shorter."""


@dataclass(frozen=True)
class Week:
    """Slots of one week, every array (days, slots, users) unless it says otherwise."""

    row: NDArray[np.int16]
    sets: NDArray[np.int8]
    role: NDArray[np.int8]
    work_seconds: NDArray[np.int16]
    """Of one set, both sides, at the top of the range."""
    rest_seconds: NDArray[np.int16]
    warmup_sets: NDArray[np.int8]
    repetition_seconds: NDArray[np.int16]
    setup_seconds: NDArray[np.int16]
    superset: NDArray[np.int8]
    """Number of the pair within its session, 0 alone."""
    reason: NDArray[np.int8]


def warmup_counts(row: NDArray[np.int16], role: NDArray[np.int8], minutes: NDArray[np.int16], table: Movements) -> NDArray[np.int8]:
    """Warm-up sets per slot: three for the session's first heavy main movement, two for later ones, one for secondary ones;
    one fewer each in short sessions. Light, isolated and unloaded work warms up by itself."""
    heavy = table.is_heavy[row]
    count = heavy * ((role == MAIN) * np.int8(2) + (role == SECONDARY))
    seen = np.zeros((row.shape[0], row.shape[2]), dtype=bool)
    for slot in range(row.shape[1]):
        first = (count[:, slot] == 2) & ~seen
        seen |= first
        count[:, slot] += first
    return np.maximum(count - (minutes < SHORT_SESSION_MINUTES), 0).astype(np.int8)


def limit_by_muscle(week: Week, bounds: NDArray[np.uint64], table: Movements) -> tuple[Week, NDArray[np.uint64]]:
    """Take sets off, or a slot out, wherever a muscle would pass its weekly bound ((WORDS, users), half sets, packed); and what is left.

    Slots are filled in order of importance: the first of every session, then the second …; each keeps as many sets as fit, none
    if that were fewer than FEWEST_SETS.
    """
    total = half_sets(week.row, week.sets, table)
    over = np.flatnonzero(~fits(total, bounds))
    if not len(over):
        return week, total
    row, sets = week.row.take(over, axis=2), week.sets.take(over, axis=2)
    reason = week.reason.take(over, axis=2)
    total[:, over] = _limit(row, sets, reason, bounds.take(over, axis=1), table)
    merged, merged_reason = week.sets.copy(), week.reason.copy()
    merged[:, :, over], merged_reason[:, :, over] = sets, reason
    return replace(week, sets=merged, reason=merged_reason), total


def half_sets(row: NDArray[np.int16], sets: NDArray[np.int8], table: Movements) -> NDArray[np.uint64]:
    """(WORDS, users) half sets per muscle of a week, packed."""
    days, slots, users = sets.shape
    total = np.zeros((WORDS, users), dtype=np.uint64)
    for day in range(days):
        for slot in range(slots):
            if sets[day, slot].any():
                total += table.muscles.take(row[day, slot], axis=1) * sets[day, slot].view(np.uint8)
    return total


def _limit(
    row: NDArray[np.int16], sets: NDArray[np.int8], reason: NDArray[np.int8], bounds: NDArray[np.uint64], table: Movements
) -> NDArray[np.uint64]:
    """Sets and reasons in place; the half sets that are left."""
    days, slots, _ = sets.shape
    room = Room(bounds)
    for slot in range(slots):
        for day in range(days):
            words = table.muscles.take(row[day, slot], axis=1)
            count = sets[day, slot]
            ok = room.fits(words * count.astype(np.uint64))
            if not ok.all():
                count = count.copy()
                while not ok.all():
                    count -= ~ok
                    ok |= (count <= 0) | room.fits(words * count.astype(np.uint64))
                count *= (count >= FEWEST_SETS) | (count == sets[day, slot])
                reason[day, slot] = pick(count != sets[day, slot], _MUSCLE_LIMIT, reason[day, slot])
                sets[day, slot] = count
            room.take(words, count)
    return room.counted()


def fit_time(week: Week, minutes: NDArray[np.int16], table: Movements) -> Week:
    """Apply the cut order (`session_time.CUT_ORDER`) as far as each session needs it to keep within `minutes` (users,).

    Even one set of one exercise may be too long; then the session is left with it, and the caller refuses.
    """
    budget = budget_seconds(minutes)
    over = np.flatnonzero((seconds(week) > budget).any(axis=0))
    if not len(over):
        return week
    part = _Fitting(of_users(week, over), budget[over], table)
    fitted = part.run()
    merged = {}
    for name in ("sets", "rest_seconds", "superset", "reason"):
        whole = getattr(week, name).copy()
        whole[:, :, over] = getattr(fitted, name)
        merged[name] = whole
    return replace(week, **merged)


def seconds(week: Week) -> NDArray[np.int32]:
    """(days, users) length of each session without the general warm-up."""
    return Clock(week).seconds(week.sets)


class Clock:
    """How long the sessions of a week take with any number of sets: what a slot and what each of its sets costs is worked out once."""

    def __init__(self, week: Week) -> None:
        once, self.each = exercise_seconds(
            work_seconds=week.work_seconds,
            rest_seconds=week.rest_seconds,
            setup_seconds=week.setup_seconds,
            warmup_sets=week.warmup_sets,
            repetition_seconds=week.repetition_seconds,
        )
        self.once = (once * (week.sets > 0)).sum(axis=1, dtype=np.int32)
        self.pairs: list[tuple[int, int, NDArray[np.int16]]] = []
        """Slots that share their rest anywhere, and what each round saves (days, users)."""
        if week.superset.any():
            for one, other in combinations(range(week.sets.shape[1]), 2):
                paired = (week.superset[:, one] > 0) & (week.superset[:, one] == week.superset[:, other])
                if paired.any():
                    self.pairs.append((one, other, round_saving(week.rest_seconds[:, one], week.rest_seconds[:, other]) * paired))

    def seconds(self, sets: NDArray[np.int8]) -> NDArray[np.int32]:
        """(days, users) length of each session without the general warm-up; `sets` has its zeros where the week has them."""
        out: NDArray[np.int32] = np.einsum("dsu,dsu->du", sets, self.each, dtype=np.int32, casting="safe") + self.once
        for one, other, saving in self.pairs:
            out -= np.minimum(sets[:, one], sets[:, other]) * saving
        return out

    def of_users(self, users: NDArray[np.intp]) -> "Clock":
        """The same for some of the users."""
        part = object.__new__(Clock)
        part.each, part.once = self.each.take(users, axis=2), self.once.take(users, axis=1)
        part.pairs = [(one, other, saving.take(users, axis=1)) for one, other, saving in self.pairs]
        return part


def of_users(week: Week, users: NDArray[np.intp]) -> Week:
    """The same slots of some of the users."""
    return Week(**{name: getattr(week, name).take(users, axis=2) for name in Week.__dataclass_fields__})


class _Fitting:
    """The cut order, step by step, over users who have at least one session that is too long."""

    def __init__(self, week: Week, budget: NDArray[np.int32], table: Movements) -> None:
        self.week = week
        self.sets = week.sets.copy()
        self.rest = week.rest_seconds.copy()
        self.superset = week.superset.copy()
        self.reason = week.reason.copy()
        self.budget = budget
        self.table = table
        self.fixed = week.setup_seconds + week.warmup_sets * (6 * week.repetition_seconds + 45)
        self.slots = range(week.sets.shape[1])
        self.backwards = tuple(reversed(self.slots))
        self.pattern = table.pattern[week.row]
        self.barbell = table.needs_barbell[week.row]
        self.pairs: set[tuple[int, int]] = set()
        self._measure()

    def run(self) -> Week:
        self._shorten_rest(ISOLATION, SHORT_ISOLATION_REST)
        self._pair((ISOLATION,))
        self._reduce(ISOLATION, 2)
        self._drop_isolation()
        self._shorten_rest(SECONDARY, SHORT_COMPOUND_REST)
        self._pair((SECONDARY, MAIN))
        self._reduce(SECONDARY, 2)
        self._shorten_rest(MAIN, SHORT_COMPOUND_REST)
        self._reduce(MAIN, 2)
        self._drop_all_but_one()
        self._one_set()
        return replace(self.week, sets=self.sets, rest_seconds=self.rest, superset=self.superset, reason=self.reason)

    def _measure(self) -> None:
        self.alone = ((self.fixed + self.sets * (self.week.work_seconds + self.rest) - self.rest) * (self.sets > 0)).sum(
            axis=1, dtype=np.int32
        )
        self._pair_savings()

    def _pair_savings(self) -> None:
        self.saved = np.zeros_like(self.alone)
        for one, other in self.pairs:
            paired = (self.superset[:, one] > 0) & (self.superset[:, one] == self.superset[:, other])
            saving = round_saving(self.rest[:, one], self.rest[:, other]) * paired
            self.saved += np.minimum(self.sets[:, one], self.sets[:, other]) * saving

    def _too_long(self) -> NDArray[np.bool_]:
        return self.alone - self.saved > self.budget

    def _shorten_rest(self, role: int, rest: int) -> None:
        too_long = self._too_long()
        if not too_long.any():
            return
        shorter = too_long[:, None, :] & (self.week.role == role) & (self.rest > rest)
        self.rest = pick(shorter, rest, self.rest)
        self._measure()

    def _pair(self, roles: tuple[int, ...]) -> None:
        eligible = np.isin(self.week.role, roles)
        for one in self.slots:
            for other in range(one + 1, len(self.slots)):
                fit = (
                    eligible[:, one]
                    & eligible[:, other]
                    & (self.sets[:, one] > 0)
                    & (self.sets[:, other] > 0)
                    & (self.superset[:, one] == 0)
                    & (self.superset[:, other] == 0)
                    & self.table.antagonist[self.pattern[:, one], self.pattern[:, other]]
                    & ~(self.barbell[:, one] & self.barbell[:, other])
                )
                if not fit.any():
                    continue
                fit &= self._too_long()
                number = self.superset.max(axis=1) + 1
                self.superset[:, one] = pick(fit, number, self.superset[:, one])
                self.superset[:, other] = pick(fit, number, self.superset[:, other])
                self.pairs.add((one, other))
                self._pair_savings()

    def _reduce(self, role: int, fewest: int) -> None:
        for slot in self.backwards:
            while True:
                cut = self._too_long() & (self.week.role[:, slot] == role) & (self.sets[:, slot] > fewest)
                if not cut.any():
                    break
                self._take(slot, cut, self.sets[:, slot] - 1)

    def _drop_isolation(self) -> None:
        for slot in self.backwards:
            others = (self.sets > 0).sum(axis=1) > 1
            cut = self._too_long() & (self.week.role[:, slot] == ISOLATION) & (self.sets[:, slot] > 0) & others
            self._take(slot, cut, np.zeros_like(self.sets[:, slot]))

    def _drop_all_but_one(self) -> None:
        for slot in self.backwards:
            others = (self.sets > 0).sum(axis=1) > 1
            cut = self._too_long() & (self.sets[:, slot] > 0) & others
            self._take(slot, cut, np.zeros_like(self.sets[:, slot]))

    def _one_set(self) -> None:
        for slot in self.backwards:
            cut = self._too_long() & (self.sets[:, slot] > 1)
            self._take(slot, cut, np.ones_like(self.sets[:, slot]))

    def _take(self, slot: int, cut: NDArray[np.bool_], to: NDArray[np.int8]) -> None:
        if not cut.any():
            return
        after = pick(cut, to, self.sets[:, slot])
        before = self.sets[:, slot]
        each = self.week.work_seconds[:, slot] + self.rest[:, slot]
        gone = (self.fixed[:, slot] - self.rest[:, slot]) * (cut & (after == 0))
        self.alone -= (before - after) * each + gone
        self.sets[:, slot] = after
        self.reason[:, slot] = pick(cut, _TIME, self.reason[:, slot])
        gone_pair = cut & (after == 0) & (self.superset[:, slot] > 0)
        if gone_pair.any():
            number = self.superset[:, slot].copy()
            for other in self.slots:
                self.superset[:, other] = pick(gone_pair & (self.superset[:, other] == number), 0, self.superset[:, other])
        if self.pairs:
            self._pair_savings()


def grow(
    row: NDArray[np.int16],
    sets: NDArray[np.int8],
    most: NDArray[np.int8],
    bounds: NDArray[np.uint64],
    total: NDArray[np.uint64],
    each: NDArray[np.int16],
    spare: NDArray[np.int32],
    table: Movements,
) -> tuple[NDArray[np.int8], NDArray[np.uint64]]:
    """The following week's sets, and their half sets per muscle: one more per slot, in order of importance, wherever all allows it.

    No muscle grows by more than a fifth of its `total` (rounded down to half sets) nor past `bounds` (WORDS, users each); no slot
    passes `most` (days, slots, users); no session takes more than its `spare` seconds (days, users) longer, `each` per set. Paired
    slots grow with their rest.
    """
    days, slots, _ = sets.shape
    room = Room(lesser(grown(total), bounds), total)
    after, left = sets.copy(), spare.copy()
    open_ = (sets > 0) & (sets < most)
    for slot in range(slots):
        for day in range(days):
            cost = each[day, slot]
            may = open_[day, slot] & (cost <= left[day])
            if may.any():
                words = table.muscles.take(row[day, slot], axis=1)
                may &= room.fits(words)
                after[day, slot] += may
                left[day] -= cost * may
                room.take(words, may)
    return after, room.counted()


def start_small(
    row: NDArray[np.int16], role: NDArray[np.int8], sets: NDArray[np.int8], bounds: NDArray[np.uint64], table: Movements
) -> NDArray[np.int8]:
    """At most `sets` (days, slots, users), such that the muscles that an exercise trains directly keep to `bounds` (WORDS, users).

    Fewer exercises with sets that are worth the set-up, rather than all with one: in order of importance an exercise gets
    FEWEST_SETS, a main one MAIN_SETS, or is left out; further sets are dealt out round by round. The first of a session always keeps
    FEWEST_SETS. Indirect work counts, but only an exercise's own muscles hold it back: isolation work gives way to compounds, not
    they to it.
    """
    days, slots, users = sets.shape
    first = np.minimum(sets, np.int8(FEWEST_SETS))
    after, seen = np.zeros_like(sets), np.zeros((days, users), dtype=bool)
    for slot in range(slots):
        after[:, slot] = first[:, slot] * ~seen
        seen |= sets[:, slot] > 0
    room = Room(bounds, half_sets(row, after, table))

    def deal(slot: int, day: int, may: NDArray[np.bool_], words: NDArray[np.uint64], dealt: int) -> None:
        count = (may & room.fits_direct(words, dealt)) * np.int8(dealt)
        after[day, slot] += count
        room.take(words, count)

    for number in range(FEWEST_SETS, int(sets.max(initial=0)) + 1):
        for slot in range(slots):
            for day in range(days):
                now, wanted = after[day, slot], sets[day, slot]
                if number > FEWEST_SETS:
                    may = (now > 0) & (now < np.minimum(wanted, np.int8(number)))
                    if may.any():
                        deal(slot, day, may, table.muscles.take(row[day, slot], axis=1), 1)
                    continue
                words = table.muscles.take(row[day, slot], axis=1)
                may, main = (now == 0) & (wanted > 0), role[day, slot] == MAIN
                if may.any():
                    deal(slot, day, may, words, FEWEST_SETS)
                if main.any():
                    deal(slot, day, main & (now > 0) & (now < np.minimum(wanted, np.int8(MAIN_SETS))), words, 1)
    return after


FEWEST_SETS: Final = 2
MAIN_SETS: Final = 3
"""An exercise is worth its set-up from two sets on, what a session is about gets three first: 2-3 sets per exercise (ACSM 2026)."""


def deload(sets: NDArray[np.int8]) -> NDArray[np.int8]:
    """Sets of a deload week: six tenths to the nearest whole set (halves up), at least one, so that nothing stops altogether."""
    return np.maximum((sets * np.float32(DELOAD_SHARE) + np.float32(0.5 + 1e-4)).astype(np.int8), np.minimum(sets, 1)).astype(np.int8)
