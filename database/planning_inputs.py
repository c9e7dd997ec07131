"""What the planning engine reads, from Postgres to its columns: profiles, logs, and what earlier plans asked for.

In bulk the log comes from `intermediate.training_state`; for single users, and for everybody whom that table doesn't hold as they
are now, from the raw sets. Both are sets in the end, and everything else is the same code, so both give the same plan.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from database.freshness import unseen
from domain.planning import PlanningInputs
from domain.planning.batch import WEEKS
from domain.planning.inputs import AREAS, EQUIPMENT, GOALS, LEVELS, NO_DATE, SESSIONS_KEPT, SEXES, History, KeyLists, bits, take_ragged
from domain.planning.plates import Inventory, parse_inventory
from domain.planning.sessions import history_of_sets
from domain.vocabulary import Equipment

STATE_SESSIONS: Final = 8
"""Sessions of an exercise in `intermediate.training_state`: more than the engine looks at, because some may not count."""
POSTGRES_EPOCH_DAYS: Final = (date(2000, 1, 1) - date(1970, 1, 1)).days
"""Postgres counts days and microseconds from 2000, the engine days from 1970."""
POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

PROFILES_SQL: Final = """
select
  u.user_key,
  ((%(as_of)s::timestamptz at time zone u.time_zone)::date - date '1970-01-01')::integer as today,
  coalesce(p.goal, '') as goal,
  coalesce(p.experience_level, '') as experience_level,
  coalesce(p.days_per_week, 3)::smallint as days_per_week,
  coalesce(p.weekdays::text, '') as weekdays,
  coalesce(p.session_minutes, 60)::smallint as session_minutes,
  case when coalesce(p.place, 'gym') = 'home' then coalesce(p.equipment::text, '{}') else coalesce(p.gym_equipment::text, 'gym') end
    as equipment,
  coalesce(p.limitations::text, '[]') as limitations,
  coalesce(p.sex, '') as sex,
  coalesce(p.birth_year, 0)::smallint as birth_year,
  coalesce(p.body_weight_kg, 'NaN')::real as body_weight_kg,
  coalesce(p.weight_unit, 'kg') as weight_unit,
  coalesce(p.smallest_plate_kg, 'NaN')::real as smallest_plate_kg,
  coalesce(p.plates::text, '') as plates,
  coalesce(p.disliked_exercise_keys, '{}') as disliked,
  coalesce(p.preferred_exercise_keys, '{}') as preferred,
  coalesce(l.mesocycle_started_on - date '1970-01-01', -1000000)::integer as mesocycle_started_on,
  coalesce(l.goal, -1)::smallint as previous_goal,
  coalesce(l.inputs_hash, 0) as previous_hash,
  coalesce(l.as_of = %(as_of)s, false) as is_replaced
from app.users u
left join app.profiles p using (user_key)
left join lateral (
  select plans.as_of, plans.mesocycle_started_on, plans.goal, plans.inputs_hash
  from plans.plans
  where plans.user_key = u.user_key and plans.as_of <= %(as_of)s
  order by plans.as_of desc
  limit 1
) l on true
where {users}
order by u.user_key
"""

PLAN_TIMES_SQL: Final = """
select
  user_key,
  (extract(epoch from as_of - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint as as_of,
  planned_on - date '1970-01-01' as planned_on,
  starts_on - date '1970-01-01' as starts_on,
  deload_week,
  refusal
from plans.plans
where {users} and as_of < %(as_of)s
order by user_key, plans.as_of
"""
"""When each earlier plan was made and when its deload is, by the primary key alone. Not one of this very instant: a replay of a plan
doesn't read that plan."""

PRESCRIPTIONS_SQL: Final = """
select
  coalesce(plans.session_day, '{}') as session_day,
  coalesce(plans.session_slots, '{}') as session_slots,
  coalesce(plans.exercise_key, '{}') as exercise_key,
  coalesce(plans.sets, '{}') as sets,
  coalesce(plans.load_kg, '{}') as load_kg
from
  unnest(string_to_array(%(user_keys)s, ',')::bigint[], string_to_array(%(instants)s, ',')::bigint[])
  with ordinality as wanted (user_key, instant, place)
left join plans.plans
  on plans.user_key = wanted.user_key
  and plans.as_of = timestamptz '2000-01-01 00:00:00+00' + wanted.instant * interval '1 microsecond'
order by wanted.place
"""
"""One row per plan that is asked for, in this order, empty where somebody was forgotten meanwhile."""

RAW_SETS_SQL: Final = """
select
  string_agg(
    int8send(w.user_key) || int4send(sets.exercise_key) || int8send(w.workout_key) || timestamptz_send(w.started_at)
    || date_send((w.started_at at time zone u.time_zone)::date) || float4send((round(coalesce(sets.weight_kg, 0) * 1e8) / 1e8)::real)
    || int2send(coalesce(sets.reps, 0)::smallint) || float4send((round(coalesce(sets.rpe, 'NaN')::float8 * 100) / 100)::real),
    ''::bytea
  ) as records
from app.workouts w
join app.users u using (user_key)
join app.workout_sets sets using (workout_key)
where {users} and w.deleted_at is null and w.started_at <= %(as_of)s
  and sets.set_type <> 'warmup' and (sets.reps > 0 or sets.duration_seconds > 0 or sets.distance_m > 0)
group by w.user_key
"""
"""Working sets up to an instant; each user's as one string of records of one length, since a row per set costs more on its way to
Python than all else. Rounded as `pack_sets` rounds, so that both ways of reading give the same plan."""

_RAW_SET: Final = np.dtype(
    [
        ("user_key", ">i8"),
        ("exercise_key", ">i4"),
        ("workout_key", ">i8"),
        ("started_at", ">i8"),
        ("session_on", ">i4"),
        ("load_kg", ">f4"),
        ("reps", ">i2"),
        ("rpe", ">f4"),
    ]
)

STATE_SQL: Final = (
    "select user_key, exercise_key, sessions, packed_sets from intermediate.training_state where {users} order by user_key, exercise_key"
)
STATE_SESSION: Final = np.dtype([("started_at", ">i8"), ("session_on", ">i4"), ("sets", ">i2")])
STATE_SET: Final = np.dtype(">i8")
"""The records of `sessions` and `packed_sets` in `intermediate.training_state`, newest session first; `pack_sets` says what a set's number is."""

BEHIND_STATE_SQL: Final = f"""
select workouts.user_key from app.workouts where {unseen("workouts")}
union
select workout_deletions.user_key from app.workout_deletions where {unseen("workout_deletions")}
union
select users.user_key from app.users where {unseen("users")}
union
select user_key from staging.changes where batch > %(consumed_batch)s and kind in ('workout', 'user') and user_key is not null
"""  # noqa: S608 - our own names
"""Users whom `intermediate.training_state` doesn't hold as they are now: something was written that its last build couldn't see."""

STATE_IS_THERE_SQL: Final = """
select count(*) = 4 and to_regclass('staging.change_cursor') is not null and to_regclass('staging.model_state') is not null
from information_schema.columns
where table_schema = 'intermediate' and table_name = 'training_state' and column_name in ('user_key', 'exercise_key', 'sessions', 'packed_sets')
"""
STATE_CLOCK_SQL: Final = """
select c.snapshot::text, s.consumed_batch
from staging.change_cursor c
join staging.model_state s on s.model = 'training_state'
where pg_snapshot_xmin(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
"""
"""What its last build saw; nothing where it was never built, or on another cluster, whose transaction ids say nothing here."""


@dataclass(frozen=True)
class Columns:
    """A query's result: plain columns as arrays; list columns, and strings of bytes, as (offsets, values)."""

    plain: Mapping[str, NDArray]
    lists: Mapping[str, tuple[NDArray[np.int64], NDArray]]


Read = Callable[..., Columns]
"""Runs a query with named parameters."""


@contextmanager
def bulk_reader(url: str) -> Iterator[Read]:
    """A function that runs a query through ADBC on one connection: Arrow columns without Python objects per row."""
    import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415  # the API process imports this module and never reads in bulk

    # Autocommit, so that no lock outlives its query: a rebuild of the training state swaps its table meanwhile.
    with adbc.connect(url, autocommit=True) as connection, connection.cursor() as cursor:

        def read(sql: str, **parameters: datetime | str) -> Columns:
            cursor.execute(_written_out(sql, parameters))
            return _columns(cursor.fetch_arrow_table())

        yield read


def reader(connection: psycopg.Connection) -> Read:
    """The same through an open connection, inside its transaction, for hundreds of users."""

    def read(sql: str, **parameters: datetime | str) -> Columns:
        with connection.cursor(binary=True) as cursor:
            cursor.execute(sql, parameters)
            names = [(column.name, column.type_code) for column in cursor.description or ()]
            rows = cursor.fetchall()
        return _columns_of_rows(names, rows)

    return read


def _written_out(sql: str, parameters: Mapping[str, datetime | str]) -> str:
    """ADBC takes no named parameters. Instants, and texts of our own making (digits and commas), are safe to write out."""
    for name, value in parameters.items():
        text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        if "'" in text:
            raise ValueError(f"{name} would end its quotes.")
        sql = sql.replace(f"%({name})s", f"'{text}'")
    return sql


def _columns(arrow: Any) -> Columns:
    """An Arrow table; text columns come factorised, as codes and words."""
    import pyarrow as pa  # noqa: PLC0415

    table = arrow.combine_chunks()
    plain: dict[str, NDArray] = {}
    lists: dict[str, tuple[NDArray[np.int64], NDArray]] = {}
    for name in table.column_names:
        column = table.column(name)
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            offsets = column.offsets.to_numpy().astype(np.int64)
            lists[name] = (offsets - offsets[0] if len(offsets) else np.zeros(1, np.int64), column.flatten().to_numpy(zero_copy_only=False))
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            lists[name] = _octets(column.cast(pa.large_binary()))
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            coded = column.dictionary_encode()
            plain[f"{name}#codes"] = coded.indices.to_numpy(zero_copy_only=False)
            plain[f"{name}#words"] = np.array(coded.dictionary.to_pylist(), dtype=object)
        else:
            plain[name] = column.to_numpy(zero_copy_only=False)
    return Columns(plain, lists)


def _octets(column: Any) -> tuple[NDArray[np.int64], NDArray]:
    """Offsets and bytes of a large binary column, as they lie."""
    if not len(column):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, bounds, content = column.buffers()
    offsets = np.frombuffer(bounds, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    return offsets - offsets[0], np.frombuffer(content, dtype=np.uint8)[offsets[0] : offsets[-1]]


_ARRAY_TYPES: Final[Mapping[int, Any]] = {1005: np.int16, 1007: np.int32, 1016: np.int64, 1021: np.float32}
"""Postgres' types of arrays (smallint[], integer[], bigint[], real[]) as numpy's."""


def _columns_of_rows(names: Sequence[tuple[str, int]], rows: Sequence[Sequence[Any]]) -> Columns:
    plain: dict[str, NDArray] = {}
    lists: dict[str, tuple[NDArray[np.int64], NDArray]] = {}
    for place, (name, oid) in enumerate(names):
        values = [row[place] for row in rows]
        if oid in _ARRAY_TYPES:
            flat = [np.asarray(value, dtype=_ARRAY_TYPES[oid]).reshape(-1) for value in values]
            offsets = np.concatenate([[0], np.cumsum([len(value) for value in flat])]).astype(np.int64)
            lists[name] = (offsets, np.concatenate(flat) if flat else np.zeros(0, dtype=_ARRAY_TYPES[oid]))
        elif values and isinstance(next((value for value in values if value is not None), None), str):
            words = sorted(set(values))
            plain[f"{name}#words"] = np.array(words, dtype=object)
            place_of = {word: number for number, word in enumerate(words)}
            plain[f"{name}#codes"] = np.array([place_of[value] for value in values], dtype=np.intp)
        elif any(value is None for value in values):
            plain[name] = np.array(values, dtype=object)
        else:
            plain[name] = np.array(values)
    return Columns(plain, lists)


# Sets -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sets:
    """Working sets, one entry each; instants in microseconds since 2000, dates in days since 1970."""

    user_key: NDArray[np.int64]
    exercise_key: NDArray[np.int32]
    workout_key: NDArray[np.int64]
    """Tells sessions of an exercise apart, and which of two that began together is the newer."""
    started_at: NDArray[np.int64]
    session_on: NDArray[np.int32]
    load_kg: NDArray[np.float32]
    reps: NDArray[np.int16]
    rpe: NDArray[np.float32]
    is_sorted: bool = False
    """By user, exercise and session, newest first."""

    def where(self, chosen: NDArray[np.bool_]) -> "Sets":
        if chosen.all():
            return self
        columns: dict[str, Any] = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "is_sorted"}
        return Sets(**columns, is_sorted=self.is_sorted)


def read_raw_sets(connection: psycopg.Connection, users: NDArray[np.int64], as_of: datetime) -> Sets:
    """The raw sets of these users, inside the connection's transaction."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(RAW_SETS_SQL.replace("{users}", key_condition(users, "w.user_key")), {"as_of": as_of}).fetchall()
    records = np.frombuffer(b"".join(row[0] for row in rows), dtype=_RAW_SET)
    columns: dict[str, Any] = {name: records[name].astype(records[name].dtype.newbyteorder("=")) for name in _RAW_SET.names or ()}
    columns["session_on"] += np.int32(POSTGRES_EPOCH_DAYS)
    return Sets(**columns)


def pack_sets(load_kg: NDArray, reps: NDArray, rpe: NDArray) -> NDArray[np.int64]:
    """Sets as one number each, as `intermediate.exercise_sessions` packs them.

    From the upper end: load in units of 1e-8 kg (0 where none), 15 bits of repetitions, 10 bits of RPE in hundredths (0 where it's NaN).
    """
    load = np.rint(np.asarray(load_kg, dtype=np.float64) * 1e8).astype(np.int64)
    hundredths = np.rint(np.nan_to_num(np.asarray(rpe, dtype=np.float64)) * 100).astype(np.int64)
    packed: NDArray[np.int64] = load << 25 | np.asarray(reps).astype(np.int64) << 10 | hundredths
    return packed


def unpack_sets(packed: NDArray) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float32]]:
    """(load in kg, repetitions, RPE or NaN) of sets that `pack_sets` packed."""
    packed = packed.astype(np.int64)
    load_kg = ((packed >> 25) / 1e8).astype(np.float32)
    rpe = ((packed & 1023) / 100).astype(np.float32)
    rpe[rpe == 0] = np.nan
    return load_kg, (packed >> 10 & 32767).astype(np.int16), rpe


def _state_sets(state: Columns, deloads: "Deloads", as_of: datetime) -> tuple[Sets, NDArray[np.int64]]:
    """Sets of the sessions that count, and the users of whom the state holds too few of them to say which are the last ones."""
    user_key = state.plain["user_key"].astype(np.int64)
    offsets, octets = state.lists["sessions"]
    sessions = np.frombuffer(octets.tobytes(), dtype=STATE_SESSION)
    row = np.repeat(np.arange(len(user_key)), np.diff(offsets) // STATE_SESSION.itemsize)
    started_at, counts = sessions["started_at"].astype(np.int64), sessions["sets"].astype(np.int64)
    session_on = sessions["session_on"].astype(np.int32) + np.int32(POSTGRES_EPOCH_DAYS)
    counted = (started_at <= microseconds(as_of)) & ~deloads.cover(user_key[row], session_on)
    held, good = np.bincount(row, minlength=len(user_key)), np.bincount(row[counted], minlength=len(user_key))
    short = np.unique(user_key[(held >= STATE_SESSIONS) & (good < SESSIONS_KEPT)])

    before: NDArray[np.int64] = np.cumsum(counted) - counted
    first = np.concatenate([[0], np.cumsum(held)[:-1]])[: len(held)]
    recency: NDArray[np.int64] = before - before[first[row]] if len(row) else before
    kept = counted & (recency < SESSIONS_KEPT) & ~np.isin(user_key[row], short)
    of_set = np.repeat(np.arange(len(sessions)), counts)
    chosen = kept[of_set]
    of_set = of_set[chosen]
    load_kg, reps, rpe = unpack_sets(np.frombuffer(state.lists["packed_sets"][1].tobytes(), dtype=STATE_SET)[chosen])
    sets = Sets(
        user_key=user_key[row][of_set],
        exercise_key=state.plain["exercise_key"].astype(np.int32)[row][of_set],
        workout_key=len(sessions) - of_set,
        started_at=started_at[of_set],
        session_on=session_on[of_set],
        load_kg=load_kg,
        reps=reps,
        rpe=rpe,
        is_sorted=True,
    )
    return sets, short


def _history(users: NDArray[np.int64], sets: Sets) -> tuple[History, NDArray[np.int64]]:
    """The history of users from their sets, and when each row's newest session began."""
    history = history_of_sets(user_keys=users, **{f.name: getattr(sets, f.name) for f in fields(sets)})
    if not len(history):
        return history, np.zeros(0, dtype=np.int64)
    code = np.searchsorted(users, sets.user_key) << 32 | sets.exercise_key.astype(np.int64)
    owner = np.repeat(np.arange(len(users), dtype=np.int64), np.diff(history.offsets))
    newest = np.full(len(history), np.iinfo(np.int64).min)
    np.maximum.at(newest, np.searchsorted(owner << 32 | history.exercise_key.astype(np.int64), code), sets.started_at)
    return history, newest


# Earlier plans ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deloads:
    """Weeks that were planned as deloads while their plan was current, by user and first day; all are seven days long."""

    user_key: NDArray[np.int64]
    from_on: NDArray[np.int32]

    def cover(self, user_key: NDArray[np.int64], on: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each date is in a deload week of its user."""
        if not len(self.user_key):
            return np.zeros(len(on), dtype=bool)
        starts = _of_user(self.user_key, self.from_on)
        place = np.searchsorted(starts, _of_user(user_key, on), side="right") - 1
        found = np.maximum(place, 0)
        covered: NDArray[np.bool_] = (place >= 0) & (self.user_key[found] == user_key) & (on - self.from_on[found] < 7)
        return covered


def _of_user(user_key: NDArray[np.int64], on: NDArray[np.int32]) -> NDArray[np.int64]:
    """User and date as one number, in the order of both."""
    return user_key << 24 | (on.astype(np.int64) + (1 << 23))


def deloads_of(plans: Columns) -> Deloads:
    """Deload weeks among plans in the order of user and instant: weeks in which their plan was the current one on some day."""
    plain = plans.plain
    user_key, planned_on = plain["user_key"].astype(np.int64), plain["planned_on"].astype(np.int32)
    from_on = plain["starts_on"].astype(np.int32) + 7 * (plain["deload_week"].astype(np.int32) - 1)
    is_last = np.ones(len(user_key), dtype=bool)
    is_last[:-1] = user_key[1:] != user_key[:-1]
    until = np.where(is_last, np.iinfo(np.int32).max, np.roll(planned_on, -1))
    held = (plain["refusal"] == 0) & (planned_on <= from_on + 6) & (until > from_on)
    user_key, from_on = user_key[held], from_on[held]
    order = np.argsort(_of_user(user_key, from_on), kind="stable")
    return Deloads(user_key[order], from_on[order])


def with_prescriptions(
    history: History, newest: NDArray[np.int64], users: NDArray[np.int64], plans: Columns, fetch: Callable[[str, str], Columns]
) -> History:
    """The history with what the plan in force asked for at each row's newest session.

    In force is the user's newest plan from before the workout; of its week that holds the date, the slot planned nearest to the
    date counts, the earlier of two. `fetch` returns plans by lists of user_keys and of instants.
    """
    owner = users[np.repeat(np.arange(len(users)), np.diff(history.offsets))]
    plain = plans.plain
    planner, instant, starts_on = plain["user_key"].astype(np.int64), plain["as_of"].astype(np.int64), plain["starts_on"].astype(np.int64)
    if not len(planner) or not len(owner):
        return history
    # Plans and sessions in one order of time, a session before a plan of its own instant; each session's plan is the last one before.
    who, when = np.concatenate([planner, owner]), np.concatenate([instant, newest])
    is_session = np.concatenate([np.zeros(len(planner), dtype=np.int8), np.ones(len(owner), dtype=np.int8)])
    order = np.lexsort((1 - is_session, when, who))
    last_plan = np.maximum.accumulate(np.where(is_session[order] == 0, np.arange(len(order)), -1))
    plan_of = np.empty(len(order), dtype=np.int64)
    plan_of[order] = np.where(last_plan >= 0, order[np.maximum(last_plan, 0)], -1)
    plan = plan_of[len(planner) :]
    on = history.session_on[:, 0].astype(np.int64)
    found = np.maximum(plan, 0)
    week = (on - starts_on[found]) // 7
    held = (plan >= 0) & (planner[found] == owner) & (plain["refusal"][found] == 0) & (week >= 0) & (week < WEEKS)
    rows = np.flatnonzero(held)
    if not len(rows):
        return history
    wanted, which = np.unique(plan[rows], return_inverse=True)
    slots = fetch(",".join(map(str, planner[wanted].tolist())), ",".join(map(str, instant[wanted].tolist()))).lists
    pairs = _slots_of_rows(slots, which, history.exercise_key[rows])
    if pairs is None:
        return history
    row, slot, day, loads, sets = pairs
    chosen = rows[row]
    planned_on = starts_on[plan[chosen]] + 7 * week[chosen] + day
    nearest = np.lexsort((planned_on, np.abs(planned_on - on[chosen]), chosen))
    nearest = nearest[np.concatenate([[True], np.diff(chosen[nearest]) != 0])]
    chosen, slot = chosen[nearest], slot[nearest]
    prescribed_kg, prescribed_sets = history.prescribed_kg.copy(), history.prescribed_sets.copy()
    prescribed_kg[chosen] = loads[slot, week[chosen]]
    prescribed_sets[chosen] = sets[slot, week[chosen]]
    return replace(history, prescribed_kg=prescribed_kg, prescribed_sets=prescribed_sets)


def _slots_of_rows(
    slots: Mapping[str, tuple[NDArray[np.int64], NDArray]], which: NDArray[np.intp], exercise_key: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int16]] | None:
    """Pairs of a row and a slot of its plan with its exercise: row, slot, the slot's day; then all slots' loads and sets by week."""
    offsets, key = slots["exercise_key"]
    plan = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    day = np.repeat(slots["session_day"][1], slots["session_slots"][1]).astype(np.int64)
    code = plan << 32 | key.astype(np.int64)
    order = np.argsort(code, kind="stable")
    asked = which.astype(np.int64) << 32 | exercise_key.astype(np.int64)
    first, last = np.searchsorted(code[order], asked, side="left"), np.searchsorted(code[order], asked, side="right")
    if not (last > first).any():
        return None
    row = np.repeat(np.arange(len(asked), dtype=np.int64), last - first)
    within = np.arange(len(row)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    slot = order[first[row] + within]
    return row, slot, day[slot], slots["load_kg"][1].reshape(-1, WEEKS), slots["sets"][1].reshape(-1, WEEKS)


# State ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What was read of some users."""

    inputs: PlanningInputs
    previous_hash: NDArray[np.int64]
    has_plan: NDArray[np.bool_]
    is_replaced: NDArray[np.bool_]
    """Whether the last plan is of this very instant, so that a new one takes its place."""


def read_state(connection: psycopg.Connection, users: NDArray[np.int64], as_of: datetime) -> State:
    """What the engine needs of single users (ascending keys), from their raw rows, inside the connection's transaction."""
    return _state(reader(connection), users, as_of, lambda known, deloads: [read_raw_sets_that_count(connection, known, as_of, deloads)])


def read_raw_sets_that_count(connection: psycopg.Connection, users: NDArray[np.int64], as_of: datetime, deloads: Deloads) -> Sets:
    """Raw sets of these users without those of deload weeks."""
    sets = read_raw_sets(connection, users, as_of)
    return sets.where(~deloads.cover(sets.user_key, sets.session_on))


def read_bulk_state(
    read: Read, connection: psycopg.Connection, users: NDArray[np.int64], as_of: datetime, behind: NDArray[np.int64] | None
) -> State:
    """The same for thousands of users, from `intermediate.training_state`; raw rows of those in `behind` (None: of all).

    Users of whom the state holds too little for this instant (many sessions in deload weeks, or in the future of a replay) are
    read from raw rows too, so the result never differs from `read_state`.
    """

    def sets_of(known: NDArray[np.int64], deloads: Deloads) -> list[Sets]:
        if behind is None:
            return [read_raw_sets_that_count(connection, known, as_of, deloads)]
        from_state = np.setdiff1d(known, behind, assume_unique=True)
        state = read(STATE_SQL.replace("{users}", key_condition(from_state, "user_key")))
        sets, short = _state_sets(state, deloads, as_of)
        raw = np.union1d(short, np.intersect1d(known, behind))
        return [sets, read_raw_sets_that_count(connection, raw, as_of, deloads)] if len(raw) else [sets]

    return _state(read, users, as_of, sets_of)


def users_behind_state(connection: psycopg.Connection) -> NDArray[np.int64] | None:
    """Users whose training state isn't what their rows say now (ascending); None where there is no usable state at all."""
    if connection.execute(STATE_IS_THERE_SQL).fetchone() != (True,):
        return None
    clock = connection.execute(STATE_CLOCK_SQL).fetchone()
    if clock is None:
        return None
    return read_keys(connection, BEHIND_STATE_SQL, {"snapshot": clock[0], "consumed_batch": clock[1]})


KEYS_SQL: Final = """
select string_agg(int8send(user_key), ''::bytea order by user_key)
from (select distinct user_key from ({found}) found) keys
"""


def read_keys(connection: psycopg.Connection, sql: str, parameters: Mapping[str, Any]) -> NDArray[np.int64]:
    """The user_keys that a query returns, ascending, each once: a million of them are eight megabytes and no objects."""
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(KEYS_SQL.replace("{found}", sql), parameters or None).fetchone()
    return np.frombuffer(row[0] if row and row[0] else b"", dtype=">i8").astype(np.int64)


def _state(read: Read, users: NDArray[np.int64], as_of: datetime, sets_of: Callable[[NDArray[np.int64], Deloads], list[Sets]]) -> State:
    profiles = read(PROFILES_SQL.replace("{users}", key_condition(users, "u.user_key")), as_of=as_of)
    known = profiles.plain["user_key"].astype(np.int64)
    plans = read(PLAN_TIMES_SQL.replace("{users}", key_condition(known, "user_key")), as_of=as_of)
    parts = [_history(known, sets) for sets in sets_of(known, deloads_of(plans))]
    history, newest = parts[0] if len(parts) == 1 else _merged(parts)
    history = with_prescriptions(
        history, newest, known, plans, lambda keys, instants: read(PRESCRIPTIONS_SQL, user_keys=keys, instants=instants)
    )
    return to_state(profiles, history)


def _merged(parts: Sequence[tuple[History, NDArray[np.int64]]]) -> tuple[History, NDArray[np.int64]]:
    """Histories of the same users in one; each user's rows come from one of them."""
    counts = [np.diff(history.offsets) for history, _ in parts]
    owner = np.concatenate([np.repeat(np.arange(len(count)), count) for count in counts])
    order = np.argsort(owner, kind="stable")
    columns = {
        f.name: np.concatenate([getattr(history, f.name) for history, _ in parts])[order] for f in fields(History) if f.name != "offsets"
    }
    offsets = np.concatenate([[0], np.cumsum(np.sum(counts, axis=0))]).astype(np.int64)
    return History(offsets=offsets, **columns), np.concatenate([newest for _, newest in parts])[order]


def microseconds(instant: datetime) -> int:
    """As Postgres counts them, since 2000."""
    return (instant.astimezone(UTC) - POSTGRES_EPOCH) // timedelta(microseconds=1)


def key_condition(users: NDArray[np.int64], column: str) -> str:
    """A condition on `column` for these ascending keys: their range where they're dense in it, else the list."""
    if not len(users):
        return "false"
    low, high = int(users[0]), int(users[-1])
    if high - low + 1 == len(users):
        return f"{column} between {low} and {high}"
    listed = ",".join(map(str, users.tolist()))
    return f"{column} between {low} and {high} and {column} = any(string_to_array('{listed}', ',')::bigint[])"


# Profiles ---------------------------------------------------------------------------------------------------------------

RETURNING_DAYS: Final = 28
"""For so long after its end a limitation is eased out of (see `PlanningInputs.limits_returning`)."""


def to_state(profiles: Columns, history: History) -> State:
    """What was read to the engine's inputs. Words that the platform doesn't know become "unknown", never an error."""
    plain = profiles.plain
    users = len(plain["user_key"])
    today = plain["today"].astype(np.int32)
    inventory_words = [word for word in plain.get("plates#words", np.zeros(0, object)) if word]
    inventories = [_parse_plates(word) for word in inventory_words]
    place = {word: number for number, word in enumerate(inventory_words)}
    inventory = _mapped(plain, "plates", lambda word: place.get(word, -1), users).astype(np.int32)
    mesocycle = plain["mesocycle_started_on"].astype(np.int32)
    inputs = PlanningInputs(
        user_key=plain["user_key"].astype(np.int64),
        today=today,
        goal=_mapped(plain, "goal", lambda word: _place(word, GOALS), users).astype(np.int8),
        experience=_mapped(plain, "experience_level", lambda word: _place(word, LEVELS), users).astype(np.int8),
        days_per_week=plain["days_per_week"].astype(np.int8),
        weekdays=_mapped(plain, "weekdays", _weekday_bits, users).astype(np.uint8),
        session_minutes=plain["session_minutes"].astype(np.int16),
        equipment=_mapped(plain, "equipment", _equipment_bits, users).astype(np.uint32),
        **_limits(plain, today),
        sex=_mapped(plain, "sex", lambda word: _place(word, SEXES), users).astype(np.int8),
        birth_year=plain["birth_year"].astype(np.int16),
        body_weight_kg=plain["body_weight_kg"].astype(np.float32),
        in_pounds=_mapped(plain, "weight_unit", lambda word: int(word == "lb"), users).astype(bool),
        smallest_plate_kg=plain["smallest_plate_kg"].astype(np.float32),
        inventory=inventory,
        disliked=_key_lists(profiles.lists["disliked"], users),
        preferred=_key_lists(profiles.lists["preferred"], users),
        mesocycle_started_on=mesocycle,
        previous_goal=plain["previous_goal"].astype(np.int8),
        history=history,
        inventories=tuple(inventories),
    )
    return State(inputs, plain["previous_hash"].astype(np.int64), mesocycle != NO_DATE, plain["is_replaced"].astype(bool))


def _mapped(plain: Mapping[str, NDArray], name: str, parse: Callable[[str], int], users: int) -> NDArray[np.int64]:
    """A factorised text column through `parse`, which sees each different text once."""
    if not users:
        return np.zeros(0, dtype=np.int64)
    parsed = np.array([parse(word) for word in plain[f"{name}#words"]], dtype=np.int64)
    return parsed[plain[f"{name}#codes"]]


def _place(word: str, universe: Sequence[str]) -> int:
    return universe.index(word) if word in universe else -1


def _array_words(text: str) -> list[str]:
    """Items of a Postgres array literal of plain words or numbers."""
    return [item.strip().strip('"') for item in text.strip("{}").split(",") if item.strip()]


def _weekday_bits(text: str) -> int:
    return sum(1 << (int(item) - 1) for item in set(_array_words(text)) if item.isdigit() and 1 <= int(item) <= 7)


GYM_EQUIPMENT: Final = frozenset(Equipment) - {Equipment.SLED, Equipment.MEDICINE_BALL, Equipment.SUSPENSION, Equipment.BAND}
"""What a gym has that nobody described."""


def _equipment_bits(text: str) -> int:
    return bits(sorted(GYM_EQUIPMENT), EQUIPMENT) if text == "gym" else bits(_array_words(text), EQUIPMENT)


_FOR_EVER: Final = np.iinfo(np.int32).max // 2


def _limits(plain: Mapping[str, NDArray], today: NDArray[np.int32]) -> dict[str, NDArray]:
    """Limitations as bits of areas: those that hold today, and those that ended in the last four weeks with the latest end."""
    caution, avoid, returning = (np.zeros(len(today), dtype=np.uint16) for _ in range(3))
    eased_on = np.full(len(today), NO_DATE, dtype=np.int32)
    if len(today):
        entries = [_limit_entries(text) for text in plain["limitations#words"]]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in entries])]).astype(np.int64)
        of_user, entry = take_ragged(offsets, plain["limitations#codes"].astype(np.intp))
        user = np.repeat(np.arange(len(today)), np.diff(of_user))
        flat = np.array([item for each in entries for item in each], dtype=np.int64).reshape(-1, 3)[entry]
        bit, is_avoid, until = (np.uint16(1) << flat[:, 0].astype(np.uint16)), flat[:, 1] == 1, flat[:, 2]
        holds = today[user] <= until
        eases = ~holds & (today[user] - until <= RETURNING_DAYS)
        for held, chosen in ((caution, holds & ~is_avoid), (avoid, holds & is_avoid), (returning, eases)):
            np.bitwise_or.at(held, user[chosen], bit[chosen])
        np.maximum.at(eased_on, user[eases], until[eases].astype(np.int32))
    return {"limits_caution": caution, "limits_avoid": avoid, "limits_returning": returning, "limits_eased_on": eased_on}


def _limit_entries(text: str) -> list[tuple[int, int, int]]:
    """(area, whether to avoid it, last day on which that holds) of each limitation; what isn't understood is left out."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [
        (AREAS.index(item["area"]), int(item.get("severity") == "avoid"), _last_day(item.get("until")))
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and item.get("area") in AREAS
    ]


def _last_day(text: object) -> int:
    """Days since 1970 of an ISO date; for ever where it isn't one."""
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days if isinstance(text, str) else _FOR_EVER
    except ValueError:
        return _FOR_EVER


def _parse_plates(text: str) -> Inventory:
    try:
        return parse_inventory(json.loads(text))
    except (ValueError, RecursionError):
        return Inventory()


def _key_lists(column: tuple[NDArray[np.int64], NDArray], users: int) -> KeyLists:
    """Sorted, each key once."""
    offsets, keys = column
    if not len(keys):
        return KeyLists.empty(users)
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(offsets))
    code = np.unique((owner << 32) | keys.astype(np.int64))
    counts = np.bincount(code >> 32, minlength=users)
    return KeyLists(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (code & 0xFFFFFFFF).astype(np.int32))
