"""The engine: gathers what the rules say into four-week plans, for all users at once."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.planning import allocation, layoff, limits, loads, reasons, recent, schemes, splits, volume
from domain.planning.batch import PER_SESSION, PER_SLOT, WEEKS, PlanBatch
from domain.planning.estimates import estimate, forget
from domain.planning.hashing import inputs_hash, inventory_words
from domain.planning.inputs import EQUIPMENT, GOALS, LEVELS, PlanningInputs
from domain.planning.movements import Candidates, Movements, candidates, movements
from domain.planning.pick import pick
from domain.planning.profiles import BEGINNER, Profiles
from domain.planning.selection import choose
from domain.planning.session_time import SHORTEST_SESSION_MINUTES
from domain.planning.splits import ISOLATION, MAIN
from domain.vocabulary import Goal, Muscle

ENGINE_VERSION: Final = "1.3.4"
"""Raised whenever the same inputs would give another plan."""
KINDS_TOGETHER: Final = 512
CHUNK: Final = 6144
"""At most so many users are planned together: their arrays fit the processor's cache, and the interpreter's share stays small.
Measured: 3,072 a tenth slower, 4,096 and 12,288 a little."""

MOST_RESERVE: Final = 4
"""More repetitions in reserve than four can't be judged; only a deload may ask for five."""
_WAVES: Final = np.array([goal in (Goal.STRENGTH, Goal.POWERLIFTING) for goal in GOALS])
_GROWS: Final = np.array([goal is Goal.HYPERTROPHY for goal in GOALS])


def engine_version(catalogue: Catalogue) -> str:
    """What a stored plan names: the engine's version and the catalogue's fingerprint. Another one makes every plan anew."""
    return f"{ENGINE_VERSION}+{movements(catalogue).fingerprint & 0xFFFFFFFF:08x}"


def plan_batch(inputs: PlanningInputs, catalogue: Catalogue, *, as_of: datetime | None = None) -> PlanBatch:
    """Plan four weeks for every user of `inputs`.

    Pure: no clock (dates come from `inputs.today`; `as_of` is recorded only), no randomness, no order among users. A profile that
    can't be planned for yields a refusal in its place, never an exception.
    """
    table = movements(catalogue)
    if len(table) >= 1023:
        raise ValueError(f"The engine packs exercise rows into ten bits: {len(table)} exercises are too many.")
    inputs = replace(inputs, equipment=inputs.equipment & np.uint32((1 << len(EQUIPMENT)) - 1))
    clean = Profiles.of(inputs)
    inputs = replace(inputs, history=forget(inputs.history, clean.reference))
    is_sorted = bool((clean.days[1:] >= clean.days[:-1]).all())
    order = np.argsort(clean.days, kind="stable")
    arranged, clean = (inputs, clean) if is_sorted else (inputs.take(order), clean.take(order))
    kind, pool = _kinds(arranged, clean, table)
    inventories = loads.LoadLists.of(inputs.inventories), inventory_words(inputs.inventories)
    parts: list[dict[str, NDArray]] = []
    bounds = np.searchsorted(clean.days, np.arange(1, 8))
    for days in range(1, 7):
        first, last = int(bounds[days - 1]), int(bounds[days])
        edges = np.linspace(first, last, -(-(last - first) // CHUNK) + 1).astype(np.int64)
        for start, stop in pairwise(edges.tolist()):
            chunk = arranged.of_users(start, stop), clean.of_users(start, stop), kind[start:stop]
            parts.append(_plan_chunk(*chunk, *inventories, pool, days, catalogue, table))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else _no_columns()
    sessions, slots = columns.pop("session_count"), columns.pop("slot_count")
    batch = PlanBatch(
        engine_version=engine_version(catalogue),
        as_of="" if as_of is None else as_of.astimezone(UTC).isoformat(),
        session_offsets=np.concatenate([[0], np.cumsum(sessions)]).astype(np.int64),
        slot_offsets=np.concatenate([[0], np.cumsum(slots)]).astype(np.int64),
        **columns,
    )
    if is_sorted:
        return batch
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return batch.take(place)


@lru_cache(maxsize=6)
def _slot_tables(days: int) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    index, roles = splits.slot_tables(days)
    return np.ascontiguousarray(np.moveaxis(index, 0, -1)), np.ascontiguousarray(np.moveaxis(roles, 0, -1))


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    sets, rep_min, rep_max, rest = schemes.tables()
    bounds = np.array([[volume.MOST_SETS[level] * 2] * len(Muscle) for level in LEVELS])
    return {
        "sets": sets,
        "rep_min": rep_min,
        "rep_max": rep_max,
        "rest": rest,
        "reserve_of_weeks": schemes.reserve_table()[:, (np.arange(WEEKS)[:, None] + np.arange(WEEKS)) % WEEKS],
        "bounds": volume.pack(bounds.astype(np.uint8)),
        "weekdays": splits.weekday_table(),
    }


_LAYOFF: Final = np.int8(reasons.number_of("sets.layoff"))
_ADHERENCE: Final = np.int8(reasons.number_of("sets.adherence"))
_SPARED: Final = np.int8(reasons.number_of("sets.spared"))
_RECENT: Final = np.int8(reasons.number_of("sets.recent_volume"))
_SCHEME: Final = np.int8(reasons.number_of("sets.scheme"))


def _plan_chunk(
    inputs: PlanningInputs,
    clean: Profiles,
    kind: NDArray[np.intp],
    lists: loads.LoadLists,
    inventories: NDArray[np.uint64],
    pool: Candidates,
    days: int,
    catalogue: Catalogue,
    table: Movements,
) -> dict[str, NDArray]:
    """Columns of the plans of users who all train on `days` days."""
    users, empty, tables = len(inputs), len(table), _tables()
    history = inputs.history
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(history.offsets))
    history_row = catalogue.rows_of(history.exercise_key)
    estimates = estimate(history, clean.reference[owner])

    # Exercises
    split = (clean.goal == GOALS.index(Goal.POWERLIFTING)).astype(np.int8)
    index, roles = _slot_tables(days)
    slots, role = index.take(split, axis=2), roles.take(split, axis=2)
    choice = choose(slots, inputs, history_row, clean.reference, kind, pool, table)
    row = choice.row
    role = pick(table.is_compound.take(row), role, ISOLATION)

    # Dose
    dose = table.dose.take(row)
    heavy = _WAVES[clean.goal] & (clean.experience != BEGINNER)
    who = (clean.goal.astype(np.int16) * np.int16(len(LEVELS)) + clean.experience) * np.int16(9)
    lighter = heavy & (role == MAIN) & (dose == schemes.LOADED) & ~table.takes_few_reps.take(row)
    which = (who + ((role + lighter) * np.int8(3) + dose)).astype(np.intp)
    sets = tables["sets"].take(which) * (row != empty)
    rep_min, rep_max, rest = tables["rep_min"].take(which), tables["rep_max"].take(which), tables["rest"].take(which)
    lighter = clean.low_adherence & (role != MAIN) & (sets > 2)
    sets_reason = pick(lighter, np.full(sets.shape, _ADHERENCE), _SCHEME)
    sets -= lighter
    _spare(row, sets, sets_reason, clean, table)
    repetition = table.repetition_seconds.take(row)
    week = allocation.Week(
        row=row,
        sets=sets,
        role=role,
        work_seconds=np.ceil(rep_max * repetition).astype(np.int16),
        rest_seconds=rest,
        warmup_sets=allocation.warmup_counts(row, role, clean.minutes, table),
        repetition_seconds=np.ceil(repetition).astype(np.int16),
        setup_seconds=table.setup_seconds.take(row).astype(np.int16),
        superset=np.zeros(row.shape, dtype=np.int8),
        reason=sets_reason,
    )
    bounds = tables["bounds"][:, clean.experience]
    week, total = allocation.limit_by_muscle(week, bounds, table)
    supported = recent.half_sets_supported(history, history_row, owner, clean.starts_on, clean.experience, table)
    week, base, small = _first_week(week, total, clean, supported, table)
    week = allocation.fit_time(week, clean.minutes, table)
    clock, base = allocation.Clock(week), np.minimum(base, week.sets)
    by_phase = _sets_by_phase(week, base, clock, small, clean, bounds, supported, table)
    few = np.where(clean.weeks_off > layoff.FREE_WEEKS, _LAYOFF, _RECENT)
    reason_of_sets = pick(by_phase[0] < week.sets, few, week.reason)

    refusal, minutes = _refusals(clean, week, clock, by_phase)

    # From here on one entry per slot that is really there, user by user
    held = ((week.sets > 0) & (refusal == 0)).transpose(2, 0, 1)
    taken = np.flatnonzero(held)
    user = taken // (days * row.shape[1])

    place = (taken - user * (days * row.shape[1])) * users + user

    def flat(values: NDArray) -> NDArray:
        return values.ravel().take(place)

    phase = clean.phase[user]
    # Four weeks' sets in one word, turned to begin with the plan's first week
    weekly_sets = flat(sum(by_phase[number].astype(np.uint32) << np.uint32(8 * number) for number in range(WEEKS)))
    turn = (phase * 8).astype(np.uint32)
    weekly_sets = weekly_sets >> turn | weekly_sets << (np.uint32(32) - turn)
    row, role, rep_min, rep_max = flat(row), flat(role), flat(rep_min), flat(rep_max)
    careful = limits.is_careful(row, clean.caution.take(user), table).view(np.int8)
    weeks_back = pick(limits.is_returning(row, clean.returning.take(user), table), clean.weeks_back.take(user), -1)
    back = layoff.extra_reserve(clean.weeks_off)[user]
    planned_reserve = tables["reserve_of_weeks"][clean.experience, clean.phase].take(user, axis=0)
    building = pick(phase == 3, planned_reserve[:, 1], planned_reserve[:, 0])
    first_reserve = np.minimum(building + careful + back + (weeks_back >= 0), MOST_RESERVE).astype(np.int8)
    slots_of = loads.Slots(
        user=user, row=row, sets=flat(week.sets), rep_min=rep_min, rep_max=rep_max, reserve=first_reserve, weeks_back=weeks_back
    )
    person = _people(inputs, clean)
    grid = loads.grid_of(row, user, person, table, lists)
    log = loads.Log.of(history, history_row, owner, person, estimates, table)
    first = loads.first_load(slots_of, person, log, grid, lists, table)
    waves = (role == MAIN) & heavy[user] & table.takes_few_reps.take(row)
    weekly, why = loads.weekly_loads(first, waves, phase, grid, lists)

    # Weeks of the mesocycle in the order of the plan
    ease = np.zeros((len(user), WEEKS), dtype=np.int8)
    ease += careful[:, None]
    ease[:, 0] += first.guess + back
    ease[:, 1] += back > 1
    returns = np.flatnonzero(weeks_back >= 0)
    ease[returns] += weeks_back[returns, None] + np.arange(WEEKS) < limits.RETURN_WEEKS
    reserve = np.minimum(planned_reserve + ease, np.int8(MOST_RESERVE))
    deload = (3 - phase).astype(np.intp)
    at_deload = np.arange(0, WEEKS * len(user), WEEKS) + deload
    reserve.ravel()[at_deload] = 0
    most = np.maximum(np.maximum(reserve[:, 0], reserve[:, 1]), np.maximum(reserve[:, 2], reserve[:, 3]))
    reserve.ravel()[at_deload] = np.int8(schemes.DELOAD_RESERVE) + (most == MOST_RESERVE) * np.int8(
        MOST_RESERVE + 1 - schemes.DELOAD_RESERVE
    )

    slots_of_session = held.sum(axis=2)
    sessions_taken = np.flatnonzero(slots_of_session)
    offset = (
        tables["weekdays"][days - 1, clean.weekday_mask, :days] - ((clean.starts_on + 3) % 7)[:, None]
    ) % 7  # 1970 began on a Thursday
    offset = np.sort(offset, axis=1).astype(np.int8)
    weeks = (clean.phase[:, None] + np.arange(WEEKS)) % WEEKS
    weekly_minutes = minutes.transpose(2, 1, 0)[np.arange(users)[:, None, None], np.arange(days)[None, :, None], weeks[:, None, :]]
    derived = (clean.starts_on, clean.mesocycle_started_on, clean.phase, clean.low_adherence, clean.returning, clean.weeks_back)
    return {
        "user_key": inputs.user_key.astype(np.int64),
        "inputs_hash": inputs_hash(inputs, inventories=inventories, derived=derived, salt=table.fingerprint ^ hash_version(ENGINE_VERSION)),
        "refusal": refusal,
        "goal": clean.goal,
        "in_pounds": inputs.in_pounds,
        "split": split,
        "starts_on": clean.starts_on,
        "mesocycle_started_on": clean.mesocycle_started_on,
        "deload_week": (3 - clean.phase).astype(np.int8),
        "session_count": (slots_of_session > 0).sum(axis=1),
        "slot_count": slots_of_session.sum(axis=1),
        "session_day": offset.ravel()[sessions_taken],
        "session_minutes": weekly_minutes.reshape(-1, WEEKS)[sessions_taken],
        "session_slots": slots_of_session.ravel()[sessions_taken].astype(np.int8),
        "exercise_key": table.key[row],
        "rep_min": rep_min,
        "rep_max": rep_max,
        "rest_seconds": flat(week.rest_seconds),
        "superset": flat(week.superset),
        "warmup_sets": flat(week.warmup_sets),
        "exercise_reason": flat(choice.reason),
        "sets_reason": flat(reason_of_sets),
        "numbers": first.numbers,
        "sets": weekly_sets.astype("<u4").view(np.int8).reshape(-1, WEEKS),
        "load_kg": weekly,
        "reserve": reserve,
        "load_reason": why,
    }


def _people(inputs: PlanningInputs, clean: Profiles) -> loads.People:
    return loads.People(
        reference=clean.reference,
        experience=clean.experience,
        sex=clean.sex,
        age=clean.age,
        body_weight=clean.body_weight,
        weeks_off=clean.weeks_off,
        days_eased=np.where(clean.weeks_back >= 0, np.maximum(clean.reference - inputs.limits_eased_on, 0), -1).astype(np.int32),
        in_pounds=inputs.in_pounds,
        smallest_plate_kg=inputs.smallest_plate_kg,
        inventory=inputs.inventory,
    )


def _refusals(
    clean: Profiles, week: allocation.Week, clock: allocation.Clock, by_phase: NDArray[np.int8]
) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Why a user can't be planned for (0 where they can), and (phases, days, users) the minutes of each session."""
    minutes = np.stack([_minutes(clock, by_phase[phase], clean.minutes) for phase in range(WEEKS)])
    refusal = np.where(clean.minutes < SHORTEST_SESSION_MINUTES, reasons.SESSION_TOO_SHORT, 0)
    refusal = np.where(clean.no_days, reasons.NO_TRAINING_DAY, refusal)
    refusal = np.where((refusal == 0) & (week.sets == 0).all(axis=(0, 1)), reasons.NO_EXERCISE, refusal)
    too_long = (minutes > clean.minutes).any(axis=(0, 1))
    return np.where((refusal == 0) & too_long, reasons.SESSION_TOO_SHORT, refusal).astype(np.int8), minutes


START_CLASS_KG: Final = 12.5
START_CLASSES: Final = 8
"""Users are classed by what they could start with, to keep the kinds of users few; a class counts by its middle."""


_WIDTHS: Final = {"equipment": 20, "caution": 9, "avoid": 9, "goal": 3, "experience": 2, "sex": 2, "start_class": 3}
"""Bits of each part of a kind's code, the first part highest."""
MOST_KINDS_KEPT: Final = 16_384
"""Kinds that a process remembers: about 30 MB. Populations have a few thousand."""


def _kinds(inputs: PlanningInputs, clean: Profiles, table: Movements) -> tuple[NDArray[np.intp], Candidates]:
    """Each user's kind (goal, experience, equipment, limitations, sex, class of starting strength), and the kinds' best exercises."""
    start = loads.cold_start_kg(_people(inputs, clean))
    start_class = np.clip(start / np.float32(START_CLASS_KG), 0, START_CLASSES - 1).astype(np.uint64)
    parts = (clean.equipment, clean.caution, clean.avoid, clean.goal, clean.experience, clean.sex + 1, start_class)
    code = np.zeros(len(start), dtype=np.uint64)
    for part, width in zip(parts, _WIDTHS.values(), strict=True):
        code = (code << np.uint64(width)) | (part.astype(np.uint64) & np.uint64((1 << width) - 1))
    return _known_kinds(table).columns_of(code)


class _KnownKinds:
    """The best exercises of the kinds of users that were met so far: ranking them is the same work for every user of a kind."""

    def __init__(self, table: Movements) -> None:
        self.table = table
        self.known: tuple[NDArray[np.uint64], NDArray[np.intp], Candidates] | None = None
        """Codes ascending, the column of each, and the columns; replaced as a whole, so that threads may read."""

    def columns_of(self, code: NDArray[np.uint64]) -> tuple[NDArray[np.intp], Candidates]:
        """The column of each code, and the columns."""
        known = self.known
        if known is not None:
            place = np.searchsorted(known[0], code)
            place[place == len(known[0])] = 0
            missing = code[known[0][place] != code]
            if not len(missing):
                return known[1][place], known[2]
            new = np.unique(missing)
            if len(known[0]) + len(new) > MOST_KINDS_KEPT:
                known, new = None, np.unique(code)
        else:
            new = np.unique(code)
        found = _candidates(new, self.table)
        if known is None:
            self.known = new, np.arange(len(new), dtype=np.intp), found
        else:
            codes = np.concatenate([known[0], new])
            column = np.concatenate([known[1], np.arange(len(known[0]), len(codes))])
            order = np.argsort(codes)
            self.known = codes[order], column[order], _joined([known[2], found])
        codes, column, pool = self.known
        return column[np.searchsorted(codes, code)], pool


def kinds_known(catalogue: Catalogue) -> int:
    """How many kinds of users this process has met and remembers."""
    known = _known_kinds(movements(catalogue)).known
    return 0 if known is None else len(known[0])


@lru_cache(maxsize=4)
def _known_kinds(table: Movements) -> _KnownKinds:
    return _KnownKinds(table)


def _candidates(codes: NDArray[np.uint64], table: Movements) -> Candidates:
    """The best exercises of the kinds with these codes."""
    columns: dict[str, NDArray] = {}
    types = (np.uint32, np.uint16, np.uint16, np.int8, np.int8, np.int8, np.int8)
    for (name, width), dtype in zip(reversed(_WIDTHS.items()), reversed(types), strict=True):
        columns[name] = (codes & np.uint64((1 << width) - 1)).astype(dtype)
        codes = codes >> np.uint64(width)
    columns["sex"] -= np.int8(1)
    columns["start_kg"] = (columns.pop("start_class") + np.float32(0.5)).astype(np.float32) * np.float32(START_CLASS_KG)
    return _joined(
        [
            candidates(table, **{name: column[start : start + KINDS_TOGETHER] for name, column in columns.items()})
            for start in range(0, max(len(codes), 1), KINDS_TOGETHER)
        ]
    )


def _joined(blocks: Sequence[Candidates]) -> Candidates:
    return Candidates(**{f.name: np.concatenate([getattr(block, f.name) for block in blocks], axis=-1) for f in fields(Candidates)})


def _spare(row: NDArray[np.int16], sets: NDArray[np.int8], reason: NDArray[np.int8], clean: Profiles, table: Movements) -> None:
    """A set less, in place, for exercises of an area that wants care or comes back."""
    users = np.flatnonzero(clean.caution | clean.returning)
    rows, count = row.take(users, axis=2), sets.take(users, axis=2)
    fewer = limits.is_careful(rows, clean.caution[users], table) | limits.is_returning(rows, clean.returning[users], table)
    fewer &= count > limits.FEWEST_SETS_LEFT
    sets[:, :, users] = count - fewer
    reason[:, :, users] = pick(fewer, _SPARED, reason.take(users, axis=2))


def _first_week(
    week: allocation.Week, total: NDArray[np.uint64], clean: Profiles, supported: NDArray[np.uint64], table: Movements
) -> tuple[allocation.Week, NDArray[np.int8], NDArray[np.bool_]]:
    """The exercises that are worth their place, their sets in the first building week (days, slots, users), and who starts smaller.

    No muscle passes what is `supported` by the last four weeks; `total` is what it would get.
    """
    base = week.sets
    away = clean.weeks_off > layoff.FREE_WEEKS
    if away.any():
        base = np.ceil(base * layoff.sets_factor(clean.weeks_off) - np.float32(1e-3)).astype(np.int8)
        users = np.flatnonzero(away)
        total[:, users] = allocation.half_sets(week.row.take(users, axis=2), base.take(users, axis=2), table)
    much = ~volume.fits(total, supported)
    many = np.flatnonzero(much)
    if len(many):
        row, role = week.row.take(many, axis=2), week.role.take(many, axis=2)
        small = allocation.start_small(row, role, base.take(many, axis=2), supported.take(many, axis=1), table)
        base = base.copy()
        base[:, :, many] = small
        week = replace(week, sets=week.sets * (base > 0))
    return week, base, much | away


def _sets_by_phase(
    week: allocation.Week,
    base: NDArray[np.int8],
    clock: allocation.Clock,
    small: NDArray[np.bool_],
    clean: Profiles,
    bounds: NDArray[np.uint64],
    supported: NDArray[np.uint64],
    table: Movements,
) -> NDArray[np.int8]:
    """(4, days, slots, users) sets in each week of a mesocycle from the first one's (`base`), the deload last.

    Who starts `small` grows back to the week's sets, who trains for size beyond them; up to the plan's first building week no
    muscle passes what is `supported`.
    """
    out = np.empty((WEEKS, *base.shape), dtype=np.int8)
    out[:3] = base
    builds = _GROWS[clean.goal] & (clean.experience != BEGINNER) & ~clean.low_adherence
    growing = np.flatnonzero(builds | small)
    if len(growing):
        row, current, sets = week.row.take(growing, axis=2), base.take(growing, axis=2), week.sets.take(growing, axis=2)
        further = pick(week.role == MAIN, np.int8(schemes.MAIN_SETS_ADDED), np.full_like(base, schemes.OTHER_SETS_ADDED))
        most = sets + further.take(growing, axis=2) * builds[growing]
        most = np.maximum(np.minimum(most, np.int8(schemes.MOST_SETS_OF_AN_EXERCISE)), sets)
        limit, part = bounds.take(growing, axis=1), clock.of_users(growing)
        careful_limit = volume.lesser(limit, supported.take(growing, axis=1))
        budget, phase = allocation.budget_seconds(clean.minutes[growing]), clean.phase[growing]
        total = allocation.half_sets(row, current, table)
        for number in (1, 2):
            bound = pick((phase >= number) & (phase < 3), careful_limit, limit)
            spare = budget - part.seconds(current)
            current, total = allocation.grow(row, current, most, bound, total, part.each, spare, table)
            out[number][:, :, growing] = current
    out[3] = allocation.deload(out[0])
    return out


def _minutes(clock: allocation.Clock, sets: NDArray[np.int8], available: NDArray[np.int16]) -> NDArray[np.int16]:
    """(days, users) minutes of each session with the general warm-up, rounded up."""
    work = clock.seconds(sets)
    whole = available.astype(np.int32) * 60
    return (-(-(work + whole - allocation.budget_seconds(available)) // 60) * (work > 0)).astype(np.int16)


def hash_version(version: str) -> int:
    """A version as a number below 2^63, the same on every machine."""
    number = 1469598103934665603  # FNV-1a
    for byte in version.encode():
        number = ((number ^ byte) * 1099511628211) & (2**63 - 1)
    return number


def _no_columns() -> dict[str, NDArray]:
    """The columns of a batch without users."""
    flat: dict[str, NDArray] = {
        name: np.zeros(0, dtype=dtype)
        for name, dtype in (
            ("user_key", np.int64),
            ("inputs_hash", np.int64),
            ("refusal", np.int8),
            ("goal", np.int8),
            ("in_pounds", np.bool_),
            ("split", np.int8),
            ("starts_on", np.int32),
            ("mesocycle_started_on", np.int32),
            ("deload_week", np.int8),
            ("session_count", np.int64),
            ("slot_count", np.int64),
        )
    }
    flat.update({name: np.zeros(0, dtype=dtype) for name, dtype in (PER_SESSION | PER_SLOT).items()})
    return flat
