"""How many sets each slot gets: muscle limits first, then the minutes of the session, then growth from week to week."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import reasons
from domain.planning.movements import Movements
from domain.planning.session_time import (
    SHORT_COMPOUND_REST,
    SHORT_ISOLATION_REST,
    budget_seconds,
    exercise_seconds,
    superset_saving,
)
from domain.planning.splits import ISOLATION, MAIN, SECONDARY
from domain.planning.volume import DELOAD_SHARE, WORDS, fits, grown

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
    work_seconds: NDArray[np.int32]
    """Of one set, both sides, at the top of the range."""
    rest_seconds: NDArray[np.int32]
    warmup_sets: NDArray[np.int8]
    repetition_seconds: NDArray[np.int32]
    setup_seconds: NDArray[np.int32]
    superset: NDArray[np.int8]
    """Number of the pair within its session, 0 alone."""
    reason: NDArray[np.int8]


def warmup_counts(row: NDArray[np.int16], role: NDArray[np.int8], minutes: NDArray[np.int16], table: Movements) -> NDArray[np.int8]:
    """Warm-up sets per slot: three for the session's first heavy main movement, two for later ones, one for secondary ones;
    one fewer each in short sessions. Light, isolated and unloaded work warms up by itself."""
    heavy = table.is_heavy[row]
    count = np.where(heavy & (role == MAIN), 2, np.where(heavy & (role == SECONDARY), 1, 0)).astype(np.int8)
    seen = np.zeros((row.shape[0], row.shape[2]), dtype=bool)
    for slot in range(row.shape[1]):
        first = (count[:, slot] == 2) & ~seen
        seen |= first
        count[:, slot] += first
    return np.maximum(count - (minutes < SHORT_SESSION_MINUTES), 0).astype(np.int8)


def limit_by_muscle(week: Week, bounds: NDArray[np.uint64], table: Movements) -> Week:
    """Take sets off, or a slot out, wherever a muscle would pass its weekly bound ((WORDS, users), half sets, packed).

    Slots are filled in order of importance: the first of every session, then the second …; each keeps as many sets as fit.
    """
    over = np.flatnonzero(~fits(_half_sets(week, week.sets, table), bounds))
    if not len(over):
        return week
    sets, reason = week.sets.copy(), week.reason.copy()
    limited, limited_reason = _limit(_users(week, over), bounds[:, over], table)
    sets[:, :, over], reason[:, :, over] = limited, limited_reason
    return replace(week, sets=sets, reason=reason)


def _half_sets(week: Week, sets: NDArray[np.int8], table: Movements) -> NDArray[np.uint64]:
    """(WORDS, users) half sets per muscle of a week, packed."""
    days, slots, users = sets.shape
    total = np.zeros((WORDS, users), dtype=np.uint64)
    for day in range(days):
        for slot in range(slots):
            total += table.muscles[:, week.row[day, slot]] * sets[day, slot].astype(np.uint64)
    return total


def _limit(week: Week, bounds: NDArray[np.uint64], table: Movements) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    sets, reason = week.sets.copy(), week.reason.copy()
    days, slots, users = sets.shape
    total = np.zeros((WORDS, users), dtype=np.uint64)
    for slot in range(slots):
        for day in range(days):
            words = table.muscles[:, week.row[day, slot]]
            count = sets[day, slot].copy()
            trial = total + words * count.astype(np.uint64)
            ok = fits(trial, bounds)
            while not ok.all():
                count = np.where(ok, count, count - 1).astype(np.int8)
                trial = np.where(ok, trial, trial - words)
                ok |= fits(trial, bounds) | (count <= 0)
            changed = count != sets[day, slot]
            sets[day, slot] = count
            reason[day, slot][changed] = _MUSCLE_LIMIT
            total = trial
    return sets, reason


def fit_time(week: Week, minutes: NDArray[np.int16], table: Movements) -> Week:
    """Apply the cut order (`session_time.CUT_ORDER`) as far as each session needs it to keep within `minutes` (users,).

    Even one set of one exercise may be too long; then the session is left with it, and the caller refuses.
    """
    budget = budget_seconds(minutes)
    over = np.flatnonzero((seconds(week) > budget).any(axis=0))
    if not len(over):
        return week
    part = _Fitting(_users(week, over), budget[over], table)
    fitted = part.run()
    merged = {}
    for name in ("sets", "rest_seconds", "superset", "reason"):
        whole = getattr(week, name).copy()
        whole[:, :, over] = getattr(fitted, name)
        merged[name] = whole
    return replace(week, **merged)


def seconds(week: Week) -> NDArray[np.int32]:
    """(days, users) length of each session without the general warm-up."""
    alone = exercise_seconds(
        sets=week.sets.astype(np.int32),
        work_seconds=week.work_seconds,
        rest_seconds=week.rest_seconds,
        setup_seconds=week.setup_seconds,
        warmup_sets=week.warmup_sets.astype(np.int32),
        repetition_seconds=week.repetition_seconds,
    ).sum(axis=1, dtype=np.int32)
    if not week.superset.any():
        return alone
    return alone - _savings(week.sets, week.rest_seconds, week.superset)


def _savings(sets: NDArray[np.int8], rest: NDArray[np.int32], superset: NDArray[np.int8]) -> NDArray[np.int32]:
    slots = sets.shape[1]
    saved = np.zeros((sets.shape[0], sets.shape[2]), dtype=np.int32)
    for one in range(slots):
        for other in range(one + 1, slots):
            paired = (superset[:, one] > 0) & (superset[:, one] == superset[:, other])
            if paired.any():
                saving = superset_saving(
                    sets_one=sets[:, one].astype(np.int32),
                    sets_other=sets[:, other].astype(np.int32),
                    rest_one=rest[:, one],
                    rest_other=rest[:, other],
                )
                saved += np.where(paired, saving, 0)
    return saved


def _users(week: Week, users: NDArray[np.intp]) -> Week:
    return Week(**{name: np.ascontiguousarray(getattr(week, name)[:, :, users]) for name in Week.__dataclass_fields__})


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
        self.alone = np.where(self.sets > 0, self.fixed + self.sets * (self.week.work_seconds + self.rest) - self.rest, 0).sum(
            axis=1, dtype=np.int32
        )
        self._pair_savings()

    def _pair_savings(self) -> None:
        self.saved = np.zeros_like(self.alone)
        for one, other in self.pairs:
            paired = (self.superset[:, one] > 0) & (self.superset[:, one] == self.superset[:, other])
            saving = superset_saving(
                sets_one=self.sets[:, one].astype(np.int32),
                sets_other=self.sets[:, other].astype(np.int32),
                rest_one=self.rest[:, one],
                rest_other=self.rest[:, other],
            )
            self.saved += np.where(paired, saving, 0)

    def _too_long(self) -> NDArray[np.bool_]:
        return self.alone - self.saved > self.budget

    def _shorten_rest(self, role: int, rest: int) -> None:
        too_long = self._too_long()
        if not too_long.any():
            return
        shorter = too_long[:, None, :] & (self.week.role == role) & (self.rest > rest)
        self.rest = np.where(shorter, np.int32(rest), self.rest)
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
                self.superset[:, one] = np.where(fit, number, self.superset[:, one])
                self.superset[:, other] = np.where(fit, number, self.superset[:, other])
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
        after = np.where(cut, to, self.sets[:, slot]).astype(np.int8)
        before = self.sets[:, slot]
        each = self.week.work_seconds[:, slot] + self.rest[:, slot]
        gone = np.where(cut & (after == 0), self.fixed[:, slot] - self.rest[:, slot], 0)
        self.alone -= (before - after) * each + gone
        self.sets[:, slot] = after
        self.reason[:, slot] = np.where(cut, _TIME, self.reason[:, slot])
        gone_pair = cut & (after == 0) & (self.superset[:, slot] > 0)
        if gone_pair.any():
            number = self.superset[:, slot].copy()
            for other in self.slots:
                self.superset[:, other] = np.where(gone_pair & (self.superset[:, other] == number), 0, self.superset[:, other])
        if self.pairs:
            self._pair_savings()


def grow(
    week: Week, sets: NDArray[np.int8], most: NDArray[np.int8], bounds: NDArray[np.uint64], spare: NDArray[np.int32], table: Movements
) -> NDArray[np.int8]:
    """The following week's sets: one more per slot, in order of importance, wherever everything allows it.

    No muscle grows by more than a fifth (rounded down to half sets) nor past `bounds` (WORDS, users); no slot passes `most`
    (days, slots, users); no session takes longer than its `spare` seconds (days, users) more. Paired slots grow with their rest.
    """
    days, slots, _ = sets.shape
    total = _half_sets(week, sets, table)
    limit = grown(total)
    after, left = sets.copy(), spare.copy()
    for slot in range(slots):
        for day in range(days):
            words = table.muscles[:, week.row[day, slot]]
            trial = total + words
            cost = week.work_seconds[day, slot] + week.rest_seconds[day, slot]
            add = (after[day, slot] > 0) & (after[day, slot] < most[day, slot]) & (cost <= left[day])
            add &= fits(trial, limit) & fits(trial, bounds)
            after[day, slot] += add
            left[day] -= np.where(add, cost, 0)
            total = np.where(add, trial, total)
    return after


def deload(sets: NDArray[np.int8]) -> NDArray[np.int8]:
    """Sets of a deload week: six tenths to the nearest whole set (halves up), at least one, so that nothing stops altogether."""
    return np.maximum((sets * np.float32(DELOAD_SHARE) + np.float32(0.5 + 1e-4)).astype(np.int8), np.minimum(sets, 1)).astype(np.int8)
