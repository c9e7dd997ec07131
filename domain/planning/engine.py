"""The engine: gathers what the rules say into four-week plans, for all users at once."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.planning import allocation, layoff, loads, reasons, schemes, splits, volume
from domain.planning.batch import PER_SESSION, PER_SLOT, WEEKS, PlanBatch
from domain.planning.estimates import estimate
from domain.planning.hashing import inputs_hash
from domain.planning.inputs import GOALS, LEVELS, PlanningInputs
from domain.planning.movements import Movements, candidates, movements
from domain.planning.profiles import BEGINNER, Profiles
from domain.planning.selection import choose
from domain.planning.session_time import SHORTEST_SESSION_MINUTES
from domain.planning.splits import ISOLATION, MAIN
from domain.vocabulary import Goal, Muscle

ENGINE_VERSION: Final = "1.0.0"
"""Raised whenever the same inputs would give another plan."""
CHUNK: Final = 4096
"""Users planned together: their arrays fit the processor's cache."""

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
    clean = Profiles.of(inputs)
    order = np.argsort(clean.days, kind="stable")
    is_sorted = bool((order == np.arange(len(order))).all())
    arranged, clean = (inputs, clean) if is_sorted else (inputs.take(order), clean.take(order))
    parts: list[dict[str, NDArray]] = []
    bounds = np.searchsorted(clean.days, np.arange(1, 8))
    for days in range(1, 7):
        for start in range(int(bounds[days - 1]), int(bounds[days]), CHUNK):
            stop = min(start + CHUNK, int(bounds[days]))
            parts.append(_plan_chunk(arranged.of_users(start, stop), clean.of_users(start, stop), days, catalogue, table))
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
    return splits.slot_tables(days)


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    sets, rep_min, rep_max, rest = schemes.tables()
    bounds = np.array([[volume.MOST_SETS[level] * 2] * len(Muscle) for level in LEVELS])
    return {
        "sets": sets,
        "rep_min": rep_min,
        "rep_max": rep_max,
        "rest": rest,
        "reserve": schemes.reserve_table(),
        "bounds": volume.pack(bounds.astype(np.uint8)),
        "weekdays": splits.weekday_table(),
    }


_LAYOFF: Final = np.int8(reasons.number_of("sets.layoff"))
_ADHERENCE: Final = np.int8(reasons.number_of("sets.adherence"))
_SCHEME: Final = np.int8(reasons.number_of("sets.scheme"))


def _plan_chunk(inputs: PlanningInputs, clean: Profiles, days: int, catalogue: Catalogue, table: Movements) -> dict[str, NDArray]:
    """Columns of the plans of users who all train on `days` days."""
    users, empty, tables = len(inputs), len(table), _tables()
    history = inputs.history
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(history.offsets))
    history_row = catalogue.rows_of(history.exercise_key)
    estimates = estimate(history, clean.reference[owner])

    # Exercises
    kinds, kind = _kinds(clean)
    first = np.concatenate([[0], np.flatnonzero(kinds[1:] != kinds[:-1]) + 1]) if len(kinds) else np.zeros(0, np.intp)
    pool = candidates(
        table, **{name: getattr(clean, name)[kind[first]] for name in ("goal", "experience", "equipment", "caution", "avoid")}
    )
    column = np.empty(users, dtype=np.intp)
    column[kind] = np.repeat(np.arange(len(first)), np.diff(np.append(first, users)))
    split = (clean.goal == GOALS.index(Goal.POWERLIFTING)).astype(np.int8)
    index, roles = _slot_tables(days)
    slots = np.ascontiguousarray(np.moveaxis(index[split], 0, -1))
    role = np.ascontiguousarray(np.moveaxis(roles[split], 0, -1))
    choice = choose(slots, inputs, history_row, clean.reference, column, pool, table)
    row = choice.row
    role = np.where(table.is_compound[row], role, ISOLATION).astype(np.int8)

    # Dose
    dose = table.dose[row]
    which = ((clean.goal.astype(np.int16) * len(LEVELS) + clean.experience) * 9 + role * 3 + dose).astype(np.intp)
    sets = np.where(row == empty, 0, tables["sets"][which]).astype(np.int8)
    rep_min, rep_max, rest = tables["rep_min"][which], tables["rep_max"][which], tables["rest"][which]
    sets_reason = np.full(sets.shape, _SCHEME, dtype=np.int8)
    lighter = clean.low_adherence & (role != MAIN) & (sets > 2)
    sets_reason[lighter] = _ADHERENCE
    sets -= lighter
    repetition = table.repetition_seconds[row]
    week = allocation.Week(
        row=row,
        sets=sets,
        role=role,
        work_seconds=np.ceil(rep_max * repetition).astype(np.int32),
        rest_seconds=rest.astype(np.int32),
        warmup_sets=allocation.warmup_counts(row, role, clean.minutes, table),
        repetition_seconds=np.ceil(repetition).astype(np.int32),
        setup_seconds=table.setup_seconds[row],
        superset=np.zeros(row.shape, dtype=np.int8),
        reason=sets_reason,
    )
    bounds = tables["bounds"][:, clean.experience]
    week = allocation.limit_by_muscle(week, bounds, table)
    week = allocation.fit_time(week, clean.minutes, table)
    by_phase = _sets_by_phase(week, clean, bounds, table)
    reason_of_sets = np.where((by_phase[0] < week.sets) & (clean.weeks_off > layoff.FREE_WEEKS), _LAYOFF, week.reason)

    # Effort and loads
    phases = ((clean.phase[None, :] + np.arange(WEEKS)[:, None]) % WEEKS).astype(np.int8)
    reserve_of = tables["reserve"]
    careful = ((table.caution[row] & clean.caution) != 0).astype(np.int8)
    back = layoff.extra_reserve(clean.weeks_off)
    first_reserve = np.minimum(reserve_of[clean.experience, np.where(phases[0] == 3, 0, phases[0])] + careful + back, MOST_RESERVE).astype(
        np.int8
    )
    lists = loads.LoadLists.of(inputs.inventories)
    grid = loads.grid_of(
        row, table, lists, in_pounds=inputs.in_pounds, smallest_plate_kg=inputs.smallest_plate_kg, inventory=inputs.inventory
    )
    sources = loads.find_sources(row, history_row, owner, estimates, table)
    before_break, load, reason, numbers, guess = loads.first_load(
        row=row,
        sets=by_phase[0],
        rep_min=rep_min,
        rep_max=rep_max,
        reserve=first_reserve,
        sources=sources,
        history=history,
        estimates=estimates,
        today=clean.reference,
        experience=clean.experience,
        sex=clean.sex,
        age=clean.age,
        body_weight=clean.body_weight,
        weeks_off=clean.weeks_off,
        grid=grid,
        lists=lists,
        table=table,
    )
    waves = (role == MAIN) & _WAVES[clean.goal] & (clean.experience != BEGINNER)
    weekly, why = loads.weekly_loads(
        first=load,
        before_break=before_break,
        reason=reason,
        phases=phases,
        waves=waves,
        weeks_off=clean.weeks_off,
        age=clean.age,
        grid=grid,
        lists=lists,
    )

    # Weeks of the mesocycle in the order of the plan
    flat_user = np.arange(users)
    weekly_sets = np.stack([by_phase[phases[w], :, :, flat_user].transpose(1, 2, 0) for w in range(WEEKS)])
    reserve = np.empty((WEEKS, *row.shape), dtype=np.int8)
    for w in range(WEEKS):
        ease = careful + (guess + back if w == 0 else (back > 1) * np.int8(w == 1))
        reserve[w] = np.minimum(reserve_of[clean.experience, phases[w]] + ease, MOST_RESERVE)
    building = np.where(phases[:, None, None, :] == 3, 0, reserve).max(axis=0)
    easiest = np.where(building == MOST_RESERVE, MOST_RESERVE + 1, schemes.DELOAD_RESERVE).astype(np.int8)
    for w in range(WEEKS):
        reserve[w] = np.where(phases[w] == 3, easiest, reserve[w])
    return _columns(
        inputs,
        clean,
        split,
        phases,
        week,
        choice.reason,
        reason_of_sets,
        rep_min,
        rep_max,
        numbers,
        weekly_sets,
        weekly,
        reserve,
        why,
        days,
        table,
    )


def _kinds(clean: Profiles) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Codes of the kinds of users (goal, experience, equipment, limitations), sorted, and the users in that order."""
    code = (
        clean.equipment.astype(np.uint64)
        | (clean.caution.astype(np.uint64) << np.uint64(24))
        | (clean.avoid.astype(np.uint64) << np.uint64(34))
        | (clean.goal.astype(np.uint64) << np.uint64(44))
        | (clean.experience.astype(np.uint64) << np.uint64(48))
    )
    order = np.argsort(code, kind="stable")
    return code[order], order


def _sets_by_phase(week: allocation.Week, clean: Profiles, bounds: NDArray[np.uint64], table: Movements) -> NDArray[np.int8]:
    """(4, days, slots, users) sets in each week of a mesocycle, the deload last."""
    out = np.empty((WEEKS, *week.sets.shape), dtype=np.int8)
    base = np.ceil(week.sets * layoff.sets_factor(clean.weeks_off) - np.float32(1e-3)).astype(np.int8)
    out[:3] = base
    growing = np.flatnonzero(
        (_GROWS[clean.goal] & (clean.experience != BEGINNER) & ~clean.low_adherence) | (clean.weeks_off > layoff.FREE_WEEKS)
    )
    if len(growing):
        part = allocation.Week(**{f.name: np.ascontiguousarray(getattr(week, f.name)[:, :, growing]) for f in fields(week)})
        budget = allocation.budget_seconds(clean.minutes[growing])
        volume_goal = _GROWS[clean.goal[growing]] & (clean.experience[growing] != BEGINNER)
        most = np.where(volume_goal, np.minimum(part.sets + 2, schemes.MOST_SETS_OF_AN_EXERCISE), part.sets).astype(np.int8)
        most = np.maximum(most, part.sets)
        current = base[:, :, growing]
        for phase in (1, 2):
            spare = budget - allocation.seconds(replace(part, sets=current))
            current = allocation.grow(part, current, most, bounds[:, growing], spare, table)
            out[phase][:, :, growing] = current
    out[3] = allocation.deload(out[0])
    return out


def _columns(
    inputs: PlanningInputs,
    clean: Profiles,
    split: NDArray[np.int8],
    phases: NDArray[np.int8],
    week: allocation.Week,
    exercise_reason: NDArray[np.int8],
    sets_reason: NDArray[np.int8],
    rep_min: NDArray[np.int16],
    rep_max: NDArray[np.int16],
    numbers: NDArray[np.float32],
    sets: NDArray[np.int8],
    load: NDArray[np.float32],
    reserve: NDArray[np.int8],
    why: NDArray[np.int8],
    days: int,
    table: Movements,
) -> dict[str, NDArray]:
    """Padded arrays (…, days, slots, users) to ragged columns, user by user."""
    minutes = np.stack([_minutes(week, sets[w], clean.minutes) for w in range(WEEKS)])
    budget = clean.minutes
    refusal = np.where(
        clean.no_days, reasons.NO_TRAINING_DAY, np.where(clean.minutes < SHORTEST_SESSION_MINUTES, reasons.SESSION_TOO_SHORT, 0)
    )
    nothing = (week.row == len(table)).all(axis=(0, 1))
    refusal = np.where((refusal == 0) & nothing, reasons.NO_EXERCISE, refusal)
    refusal = np.where((refusal == 0) & (minutes > budget).any(axis=(0, 1)), reasons.SESSION_TOO_SHORT, refusal).astype(np.int8)

    held = (week.sets > 0) & (refusal == 0)
    offset = (_tables()["weekdays"][days - 1, clean.weekday_mask, :days].T - (clean.starts_on + 3) % 7) % 7  # 1970-01-01 was a Thursday
    offset = np.sort(offset, axis=0).astype(np.int8)
    slots_of_session = held.sum(axis=1)
    has_session = slots_of_session > 0
    by_user = np.moveaxis(held, -1, 0)
    taken = np.flatnonzero(by_user.ravel())
    sessions_taken = np.flatnonzero(has_session.T.ravel())

    def slot_column(values: NDArray, dtype: type) -> NDArray:
        return np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(-1)[taken].astype(dtype)

    def slot_matrix(values: NDArray, dtype: type) -> NDArray:
        out: NDArray = np.empty((len(taken), values.shape[0]), dtype=dtype)
        for place in range(values.shape[0]):
            out[:, place] = slot_column(values[place], dtype)
        return out

    session_minutes = np.empty((len(sessions_taken), WEEKS), dtype=np.int16)
    for w in range(WEEKS):
        session_minutes[:, w] = minutes[w].T.ravel()[sessions_taken]
    window = clean.starts_on
    salt = table.fingerprint ^ hash_version(ENGINE_VERSION)
    return {
        "user_key": inputs.user_key.astype(np.int64),
        "inputs_hash": inputs_hash(inputs, derived=(window, clean.mesocycle_started_on, clean.phase, clean.low_adherence), salt=salt),
        "refusal": refusal,
        "goal": clean.goal,
        "in_pounds": inputs.in_pounds,
        "split": split,
        "starts_on": window,
        "mesocycle_started_on": clean.mesocycle_started_on,
        "deload_week": np.argmax(phases == 3, axis=0).astype(np.int8),
        "session_count": has_session.sum(axis=0),
        "slot_count": held.sum(axis=(0, 1)),
        "session_day": offset.T.ravel()[sessions_taken],
        "session_minutes": session_minutes,
        "session_slots": slots_of_session.T.ravel()[sessions_taken].astype(np.int8),
        "exercise_key": slot_column(table.key[week.row], np.int32),
        "rep_min": slot_column(rep_min, np.int16),
        "rep_max": slot_column(rep_max, np.int16),
        "rest_seconds": slot_column(week.rest_seconds, np.int16),
        "superset": slot_column(week.superset, np.int8),
        "warmup_sets": slot_column(week.warmup_sets, np.int8),
        "exercise_reason": slot_column(exercise_reason, np.int8),
        "sets_reason": slot_column(sets_reason, np.int8),
        "numbers": slot_matrix(numbers, np.float32),
        "sets": slot_matrix(sets, np.int8),
        "load_kg": slot_matrix(load, np.float32),
        "reserve": slot_matrix(reserve, np.int8),
        "load_reason": slot_matrix(why, np.int8),
    }


def _minutes(week: allocation.Week, sets: NDArray[np.int8], available: NDArray[np.int16]) -> NDArray[np.int16]:
    """(days, users) minutes of each session with the general warm-up, rounded up."""
    work = allocation.seconds(replace(week, sets=sets))
    whole = available.astype(np.int32) * 60
    return np.where(work > 0, -(-(work + whole - allocation.budget_seconds(available)) // 60), 0).astype(np.int16)


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
    wide = {
        "session_minutes": np.int16,
        "numbers": np.float32,
        "sets": np.int8,
        "load_kg": np.float32,
        "reserve": np.int8,
        "load_reason": np.int8,
    }
    for name in (*PER_SESSION, *PER_SLOT):
        flat[name] = (
            np.zeros((0, WEEKS), dtype=wide[name]) if name in wide else np.zeros(0, dtype=np.int32 if name == "exercise_key" else np.int16)
        )
    return flat
