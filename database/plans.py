"""Training plans in Postgres: read what the engine needs in bulk, store plans by binary COPY, and the JSON of a plan.

Who plans: Dagster by bucket (`regenerate`) and the worker on request (`regenerate_for_users`). Both read the same columns and
call the same engine, so they come to the same plan.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from database.connection import connect
from domain.exercises.catalogue import Catalogue, load_catalogue
from domain.planning import PlanBatch, PlanningInputs, changes, engine_version, plan_batch, properties, reasons, splits, warmups
from domain.planning.batch import WEEKS
from domain.planning.inputs import AREAS, EQUIPMENT, GOALS, LEVELS, NO_DATE, SESSIONS_KEPT, SEXES, History, KeyLists, bits
from domain.planning.plates import Inventory, parse_inventory
from domain.planning.sessions import history_of_sets
from domain.vocabulary import Equipment

BUCKETS: Final = 64
"""Users are partitioned by user_key % 64."""
SLICE_USERS: Final = 16384
"""Users that are read, planned and written together: bounds memory whatever the number of users."""
EPOCH: Final = date(1970, 1, 1)
PLAN_COLUMNS: Final = (
    "user_key",
    "as_of",
    "inputs_hash",
    "planned_on",
    "starts_on",
    "mesocycle_started_on",
    "engine_version",
    "goal",
    "in_pounds",
    "split",
    "refusal",
    "deload_week",
    "session_day",
    "session_slots",
    "session_minutes",
    "exercise_key",
    "rep_min",
    "rep_max",
    "rest_seconds",
    "superset",
    "warmup_sets",
    "exercise_reason",
    "sets_reason",
    "numbers",
    "sets",
    "load_kg",
    "reserve",
    "load_reason",
)


@dataclass(frozen=True)
class Refusal:
    """Why there is no plan for a user: a stable code and a sentence."""

    code: str
    sentence: str


@dataclass
class Regeneration:
    """What a regeneration did."""

    users: int = 0
    """Whose inputs were looked at in full."""
    planned: int = 0
    """Whose plan is new."""
    unchanged: int = 0
    """Whose plan stayed, because their inputs turned out to be the same."""
    untouched: int = 0
    """Who weren't looked at, because nothing of theirs was written and no week began."""
    refused: int = 0
    seconds_reading: float = 0.0
    seconds_planning: float = 0.0
    seconds_writing: float = 0.0

    def __add__(self, other: "Regeneration") -> "Regeneration":
        return Regeneration(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


# What the engine reads --------------------------------------------------------------------------------------------------

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
  (l.mesocycle_started_on - date '1970-01-01')::integer as mesocycle_started_on,
  l.goal as previous_goal,
  l.inputs_hash as previous_hash,
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

RAW_SETS_SQL: Final = """
with deloads as (
  select w.user_key, range_agg(daterange(w.from_on, w.until_on, '[]')) as weeks
  from plans.deload_weeks w
  where {users}
  group by w.user_key
),
done as (
  select
    w.user_key,
    w.workout_key,
    (extract(epoch from w.started_at) * 1000000)::bigint as started_at,
    (w.started_at at time zone u.time_zone)::date - date '1970-01-01' as session_on
  from app.workouts w
  join app.users u using (user_key)
  left join deloads using (user_key)
  where {users} and w.deleted_at is null and w.started_at <= %(as_of)s
    and (deloads.weeks is null or not deloads.weeks @> (w.started_at at time zone u.time_zone)::date)
)
select
  string_agg(
    int8send(done.user_key) || int4send(sets.exercise_key) || int8send(done.workout_key) || int8send(done.started_at)
    || int4send(done.session_on) || float4send(coalesce(sets.weight_kg, 0)::real) || int2send(coalesce(sets.reps, 0)::smallint)
    || float4send(coalesce(sets.rpe, 'NaN')::real),
    ''::bytea
  ) as records
from done
join app.workout_sets sets using (workout_key)
where sets.set_type <> 'warmup' and (sets.reps > 0 or sets.duration_seconds > 0 or sets.distance_m > 0)
group by done.user_key
"""
"""Working sets up to an instant, without weeks that were planned as deloads; each user's as one string of records of one length, since
a row per set costs more on its way to Python than all else. `domain.planning.sessions` makes the engine's history of them."""

_SET_RECORD: Final = np.dtype(
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


def read_raw_history(connection: psycopg.Connection, user_keys: NDArray[np.int64], users: str, parameters: Mapping[str, Any]) -> History:
    """The history of users from their raw sets, inside the connection's transaction; `users` is a condition on `w.user_key`."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(RAW_SETS_SQL.replace("{users}", users), parameters).fetchall()
    records = np.frombuffer(b"".join(row[0] for row in rows), dtype=_SET_RECORD)
    columns = {name: records[name].astype(records[name].dtype.newbyteorder("=")) for name in _SET_RECORD.names or ()}
    return history_of_sets(user_keys=user_keys, **columns)


STATE_HISTORY_SQL: Final = """
select
  user_key, exercise_key, session_on, top_load_kg, top_reps, fewest_reps, sets_at_top, rpe, e1rm_kg
from intermediate.training_state
where {users}
order by user_key, exercise_key
"""

_HISTORY: Final = ("session_on", "top_load_kg", "top_reps", "fewest_reps", "sets_at_top", "rpe", "e1rm_kg")
_HISTORY_TYPES: Final[dict[str, Any]] = {
    "session_on": np.int32,
    "top_load_kg": np.float32,
    "top_reps": np.int16,
    "fewest_reps": np.int16,
    "sets_at_top": np.int16,
    "rpe": np.float32,
    "e1rm_kg": np.float32,
}
_HISTORY_EMPTY: Final[dict[str, Any]] = {"session_on": NO_DATE, "rpe": np.nan, "e1rm_kg": np.nan}


@dataclass(frozen=True)
class Columns:
    """A query's result: plain columns as arrays, list columns as (offsets, values)."""

    plain: Mapping[str, NDArray]
    lists: Mapping[str, tuple[NDArray[np.int64], NDArray]]


@contextmanager
def bulk_reader(url: str) -> Iterator[Callable[[str], Columns]]:
    """A function that runs a query through ADBC on one connection: Arrow columns without Python objects per row."""
    import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415  # the API process imports this module and never reads in bulk

    with adbc.connect(url) as connection, connection.cursor() as cursor:

        def read(sql: str) -> Columns:
            cursor.execute(sql)
            return _columns(cursor.fetch_arrow_table())

        yield read


def _columns(arrow: Any) -> Columns:
    """An Arrow table; text columns come factorised, as codes and words."""
    import pyarrow as pa  # noqa: PLC0415

    table = arrow.combine_chunks()
    plain: dict[str, NDArray] = {}
    lists: dict[str, tuple[NDArray[np.int64], NDArray]] = {}
    for name in table.column_names:
        column = table.column(name)
        column = column.chunk(0) if column.num_chunks else pa.array([], type=column.type)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            offsets = column.offsets.to_numpy().astype(np.int64)
            lists[name] = (offsets - offsets[0] if len(offsets) else np.zeros(1, np.int64), column.flatten().to_numpy(zero_copy_only=False))
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            coded = column.dictionary_encode()
            words = np.array(coded.dictionary.to_pylist(), dtype=object)
            plain[name] = words[coded.indices.to_numpy(zero_copy_only=False)] if len(column) else np.zeros(0, dtype=object)
            plain[f"{name}#codes"] = coded.indices.to_numpy(zero_copy_only=False)
            plain[f"{name}#words"] = words
        else:
            plain[name] = column.to_numpy(zero_copy_only=False)
    return Columns(plain, lists)


def read_rows(connection: psycopg.Connection, sql: str, parameters: Mapping[str, Any]) -> Columns:
    """The same through an open connection, inside its transaction, for hundreds of users."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    plain: dict[str, NDArray] = {}
    lists: dict[str, tuple[NDArray[np.int64], NDArray]] = {}
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        if name in _HISTORY_TYPES or name in {"disliked", "preferred"}:
            dtype = _HISTORY_TYPES.get(name, np.int32)
            offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int64)
            lists[name] = (offsets, np.array([item for value in values for item in value], dtype=dtype))
        elif values and isinstance(next((value for value in values if value is not None), None), str):
            words = sorted(set(values))
            plain[f"{name}#words"] = np.array(words, dtype=object)
            place_of = {word: number for number, word in enumerate(words)}
            plain[f"{name}#codes"] = np.array([place_of[value] for value in values], dtype=np.intp)
        else:
            plain[name] = np.array([np.nan if value is None else value for value in values])
    return Columns(plain, lists)


@dataclass(frozen=True)
class State:
    """What was read of some users."""

    inputs: PlanningInputs
    previous_hash: NDArray[np.int64]
    has_plan: NDArray[np.bool_]
    is_replaced: NDArray[np.bool_]
    """Whether the last plan is of this very instant, so that a new one takes its place."""


def to_state(profiles: Columns, history: History) -> State:
    """What was read to the engine's inputs. Words that the platform doesn't know become "unknown", never an error."""
    plain = profiles.plain
    users = len(plain["user_key"])
    user_key = plain["user_key"].astype(np.int64)
    limits = _mapped(plain, "limitations", _limit_bits, users)
    inventory_words = [word for word in plain.get("plates#words", np.zeros(0, object)) if word]
    inventories = [_parse_plates(word) for word in inventory_words]
    inventory = _mapped(plain, "plates", lambda word: inventory_words.index(word) if word else -1, users).astype(np.int32)
    mesocycle = plain["mesocycle_started_on"].astype(np.float64)
    has_plan = ~np.isnan(mesocycle)
    hashes = plain["previous_hash"]
    previous = np.where(has_plan, np.where(has_plan, hashes, 0), 0)
    inputs = PlanningInputs(
        user_key=user_key,
        today=plain["today"].astype(np.int32),
        goal=_mapped(plain, "goal", lambda word: _place(word, GOALS), users).astype(np.int8),
        experience=_mapped(plain, "experience_level", lambda word: _place(word, LEVELS), users).astype(np.int8),
        days_per_week=plain["days_per_week"].astype(np.int8),
        weekdays=_mapped(plain, "weekdays", _weekday_bits, users).astype(np.uint8),
        session_minutes=plain["session_minutes"].astype(np.int16),
        equipment=_mapped(plain, "equipment", _equipment_bits, users).astype(np.uint32),
        limits_caution=(limits & 0xFFFF).astype(np.uint16),
        limits_avoid=(limits >> 16).astype(np.uint16),
        limits_returning=np.zeros(users, dtype=np.uint16),
        limits_eased_on=np.full(users, NO_DATE, dtype=np.int32),
        sex=_mapped(plain, "sex", lambda word: _place(word, SEXES), users).astype(np.int8),
        birth_year=plain["birth_year"].astype(np.int16),
        body_weight_kg=plain["body_weight_kg"].astype(np.float32),
        in_pounds=_mapped(plain, "weight_unit", lambda word: int(word == "lb"), users).astype(bool),
        smallest_plate_kg=plain["smallest_plate_kg"].astype(np.float32),
        inventory=inventory,
        disliked=_key_lists(profiles.lists["disliked"], users),
        preferred=_key_lists(profiles.lists["preferred"], users),
        mesocycle_started_on=np.where(has_plan, np.nan_to_num(mesocycle, nan=float(NO_DATE)), NO_DATE).astype(np.int32),
        previous_goal=np.nan_to_num(plain["previous_goal"].astype(np.float64), nan=-1).astype(np.int8),
        history=history,
        inventories=tuple(inventories),
    )
    return State(inputs, _as_int64(previous), has_plan, plain["is_replaced"].astype(bool))


def _as_int64(column: NDArray) -> NDArray[np.int64]:
    return np.array([int(value) for value in column], dtype=np.int64) if column.dtype == object else column.astype(np.int64)


def _mapped(plain: Mapping[str, NDArray], name: str, parse: Any, users: int) -> NDArray[np.int64]:
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


def _limit_bits(text: str) -> int:
    """Areas to be careful with in the low 16 bits, to avoid in the high ones; what isn't understood is left out."""
    found = 0
    try:
        items = json.loads(text)
    except ValueError:
        return 0
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("area") in AREAS:
            found |= 1 << (AREAS.index(item["area"]) + (16 if item.get("severity") == "avoid" else 0))
    return found


def _parse_plates(text: str) -> Inventory:
    try:
        return parse_inventory(json.loads(text))
    except ValueError:
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


def _history(user_key: NDArray[np.int64], columns: Columns) -> History:
    """Ragged arrays, one list per row, to padded matrices; rows of users who aren't planned are left out."""
    owner_key = columns.plain["user_key"].astype(np.int64)
    if not len(owner_key):
        return History.empty(len(user_key))
    place = np.searchsorted(user_key, owner_key)
    known = (place < len(user_key)) & (user_key[np.minimum(place, len(user_key) - 1)] == owner_key)
    counts = np.bincount(place[known], minlength=len(user_key))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    row_of = np.cumsum(known) - 1
    arrays = {}
    for name in _HISTORY:
        list_offsets, values = columns.lists[name]
        lengths = np.diff(list_offsets)
        row = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(values)) - np.repeat(list_offsets[:-1], lengths)
        keep = known[row] & (position < SESSIONS_KEPT)
        matrix = np.full((int(known.sum()), SESSIONS_KEPT), _HISTORY_EMPTY.get(name, 0), dtype=_HISTORY_TYPES[name])
        matrix[row_of[row[keep]], position[keep]] = values[keep]
        arrays[name] = matrix
    arrays["working_sets"] = arrays["sets_at_top"]
    arrays["prescribed_kg"] = np.full(int(known.sum()), np.nan, dtype=np.float32)
    arrays["prescribed_sets"] = np.zeros(int(known.sum()), dtype=np.int16)
    return History(offsets=offsets, exercise_key=columns.plain["exercise_key"][known].astype(np.int32), **arrays)


# What is written --------------------------------------------------------------------------------------------------------

_SMALL, _INT, _REAL, _BIG, _DATE, _TIMESTAMP = 21, 23, 700, 20, 1082, 1184
_TYPES: Final = {_SMALL: ">i2", _INT: ">i4", _REAL: ">f4"}
_POSTGRES_EPOCH_DAYS: Final = (date(2000, 1, 1) - EPOCH).days
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + (0).to_bytes(4, "big") + (0).to_bytes(4, "big")
_COPY_END: Final = b"\xff\xff"


def copy_bytes(batch: PlanBatch, *, as_of: datetime, planned_on: NDArray[np.int32]) -> list[bytes]:
    """The plans in the format of COPY … (FORMAT BINARY), without per-user work: users with the same shape share one record layout."""
    sessions, slots = np.diff(batch.session_offsets), np.diff(batch.slot_offsets)
    shape = sessions * 1000 + slots
    out = [_COPY_HEADER]
    instant = _microseconds(as_of)
    version = batch.engine_version.encode()
    for code in np.unique(shape):
        users = np.flatnonzero(shape == code)
        out.append(_records(batch, users, int(code) // 1000, int(code) % 1000, instant, planned_on, version))
    out.append(_COPY_END)
    return out


def _records(
    batch: PlanBatch, users: NDArray[np.intp], sessions: int, slots: int, instant: int, planned_on: NDArray[np.int32], version: bytes
) -> bytes:
    per_session = (batch.session_offsets[users][:, None] + np.arange(sessions)).ravel()
    per_slot = (batch.slot_offsets[users][:, None] + np.arange(slots)).ravel()
    shift = np.int32(_POSTGRES_EPOCH_DAYS)
    scalars: list[tuple[str, str, Any]] = [
        ("user_key", ">i8", batch.user_key[users]),
        ("as_of", ">i8", instant),
        ("inputs_hash", ">i8", batch.inputs_hash[users]),
        ("planned_on", ">i4", planned_on[users] - shift),
        ("starts_on", ">i4", batch.starts_on[users] - shift),
        ("mesocycle_started_on", ">i4", batch.mesocycle_started_on[users] - shift),
        ("engine_version", f"S{len(version)}", version),
        ("goal", ">i2", batch.goal[users]),
        ("in_pounds", "?", batch.in_pounds[users]),
        ("split", ">i2", batch.split[users]),
        ("refusal", ">i2", batch.refusal[users]),
        ("deload_week", ">i2", batch.deload_week[users] + 1),
    ]
    arrays: list[tuple[str, int, tuple[int, ...], NDArray]] = [
        ("session_day", _SMALL, (sessions,), batch.session_day[per_session]),
        ("session_slots", _SMALL, (sessions,), batch.session_slots[per_session]),
        ("session_minutes", _SMALL, (sessions, WEEKS), batch.session_minutes[per_session]),
        ("exercise_key", _INT, (slots,), batch.exercise_key[per_slot]),
        ("rep_min", _SMALL, (slots,), batch.rep_min[per_slot]),
        ("rep_max", _SMALL, (slots,), batch.rep_max[per_slot]),
        ("rest_seconds", _SMALL, (slots,), batch.rest_seconds[per_slot]),
        ("superset", _SMALL, (slots,), batch.superset[per_slot]),
        ("warmup_sets", _SMALL, (slots,), batch.warmup_sets[per_slot]),
        ("exercise_reason", _SMALL, (slots,), batch.exercise_reason[per_slot]),
        ("sets_reason", _SMALL, (slots,), batch.sets_reason[per_slot]),
        ("numbers", _REAL, (slots, 4), batch.numbers[per_slot]),
        ("sets", _SMALL, (slots, WEEKS), batch.sets[per_slot]),
        ("load_kg", _REAL, (slots, WEEKS), batch.load_kg[per_slot]),
        ("reserve", _SMALL, (slots, WEEKS), batch.reserve[per_slot]),
        ("load_reason", _SMALL, (slots, WEEKS), batch.load_reason[per_slot]),
    ]
    template, constants = _layout(
        tuple((name, kind) for name, kind, _ in scalars), tuple((name, oid, dims) for name, oid, dims, _ in arrays)
    )
    records = np.empty(len(users), dtype=template)
    records[:] = constants
    for name, _, value in scalars:
        records[name] = value
    for name, _, dims, values in arrays:
        if values.size:
            records[name]["v"] = values.reshape(len(users), math.prod(dims))
    return records.tobytes()


@lru_cache(maxsize=512)
def _layout(scalars: tuple[tuple[str, str], ...], arrays: tuple[tuple[str, int, tuple[int, ...]], ...]) -> tuple[np.dtype, NDArray]:
    """Record type of COPY for plans of one shape, and one record with everything that is the same for all of them."""
    fields: list[Any] = [("fields", ">i2")]
    values: dict[str, Any] = {"fields": len(scalars) + len(arrays)}
    for name, kind in scalars:
        fields += [(f"{name}#length", ">i4"), (name, kind)]
        values[f"{name}#length"] = np.dtype(kind).itemsize
    for name, oid, dims in arrays:
        item = np.dtype([("l", ">i4"), ("v", _TYPES[oid])])
        count = math.prod(dims)
        head = [("dimensions", ">i4"), ("has_null", ">i4"), ("oid", ">i4")]
        values[f"{name}#head"] = (len(dims) if count else 0, 0, oid)
        fields += [(f"{name}#length", ">i4"), (f"{name}#head", head)]
        length = 12
        if count:
            bounds = [(f"{part}{number}", ">i4") for number in range(len(dims)) for part in ("size", "lower")]
            fields += [(f"{name}#bounds", bounds), (name, item, (count,))]
            values[f"{name}#bounds"] = tuple(part for size in dims for part in (size, 1))
            length += 8 * len(dims) + count * item.itemsize
        values[f"{name}#length"] = length
    template = np.dtype(fields)
    record = np.zeros((), dtype=template)
    for name, value in values.items():
        record[name] = value
    for name, oid, dims in arrays:
        if math.prod(dims):
            record[name]["l"] = np.dtype(_TYPES[oid]).itemsize
    return template, record


def _microseconds(instant: datetime) -> int:
    return (instant.astimezone(UTC) - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def store(
    connection: psycopg.Connection, batch: PlanBatch, *, as_of: datetime, planned_on: NDArray[np.int32], replaced: NDArray[np.bool_]
) -> None:
    """Write plans in the caller's transaction, in place of plans of the same users and instant (`replaced` says who has one).

    Others stay: history is kept, and a plan from older data sorts behind a newer one.
    """
    if not len(batch):
        return
    if replaced.any():
        keys = batch.user_key[replaced].tolist()
        connection.execute("delete from plans.plans where as_of = %s and user_key = any(%s)", [as_of, keys])
    with (
        connection.cursor() as cursor,
        cursor.copy(f"copy plans.plans ({', '.join(PLAN_COLUMNS)}) from stdin (format binary)") as copy,
    ):
        for part in copy_bytes(batch, as_of=as_of, planned_on=planned_on):
            copy.write(part)


def regenerate_for_users(
    connection: psycopg.Connection, user_keys: Sequence[int], *, as_of: datetime, catalogue: Catalogue | None = None
) -> dict[int, Refusal]:
    """Plan these users from their raw rows and store what changed, in the caller's transaction. Returns refusals by user_key.

    A user whose inputs are the same as the last plan's keeps that plan. Users who don't exist are passed over.
    """
    if not user_keys:
        return {}
    parameters = {"as_of": as_of, "users": list(user_keys)}
    profiles = read_rows(connection, PROFILES_SQL.replace("{users}", "u.user_key = any(%(users)s)"), parameters)
    if not len(profiles.plain["user_key"]):
        return {}
    known = profiles.plain["user_key"].astype(np.int64)
    state = to_state(profiles, read_raw_history(connection, known, "w.user_key = any(%(users)s)", parameters))
    batch = plan_batch(state.inputs, catalogue or load_catalogue(), as_of=as_of)
    changed = ~(state.has_plan & (batch.inputs_hash == state.previous_hash))
    chosen = np.flatnonzero(changed)
    store(connection, batch.take(chosen), as_of=as_of, planned_on=state.inputs.today[chosen], replaced=state.is_replaced[chosen])
    refused = np.flatnonzero(batch.refusal > 0)
    return {int(batch.user_key[user]): Refusal(*reasons.refusal(int(batch.refusal[user]))) for user in refused}


# Regeneration by bucket -------------------------------------------------------------------------------------------------

TOUCHED_SQL: Final = """
with marks as (
  select b.bucket, e.xid, e.as_of, e.bucket is null or e.engine_version <> %(version)s or e.as_of > %(as_of)s as is_stale
  from unnest(%(buckets)s::smallint[]) as b (bucket)
  left join plans.examined e using (bucket)
),
since as (select min(xid) as xid, min(as_of) as as_of from marks where not is_stale),
new_days as (
  select zones.time_zone, (%(as_of)s::timestamptz at time zone zones.time_zone)::date as today
  from (select distinct time_zone from app.users) as zones, since
  where (%(as_of)s::timestamptz at time zone zones.time_zone)::date <> (since.as_of at time zone zones.time_zone)::date
),
touched as (
  select user_key from app.users where (user_key %% 64)::smallint in (select bucket from marks where is_stale)
  union
  select user_key from app.workouts, since where workouts.xid >= since.xid
  union
  select user_key from app.workout_deletions, since where workout_deletions.xid >= since.xid
  union
  select user_key from app.profiles, since where profiles.xid >= since.xid
  union
  select user_key from app.users, since where users.xid >= since.xid
  union
  select u.user_key
  from new_days
  join app.users u using (time_zone)
  cross join lateral (
    select starts_on from plans.plans p where p.user_key = u.user_key and p.as_of <= %(as_of)s order by p.as_of desc limit 1
  ) l
  where (select count(*) from new_days) > 0 and new_days.today >= l.starts_on + 7
)
select user_key
from touched
where (%(all)s or user_key %% 64 = any(%(buckets)s)) and exists (select from app.users where users.user_key = touched.user_key)
order by user_key
"""
"""Users whose plan could differ from their last one: with something written since the last complete look at their bucket, with a new
local day on which a week of training begins, or all of a bucket that another engine (or no one yet, or a later instant) looked at."""


EVERYBODY_SQL: Final = "select count(*) from app.users where %(all)s or user_key %% 64 = any(%(buckets)s)"


def regenerate(
    url: str, *, as_of: datetime, buckets: Iterable[int] | None = None, only_changed: bool = True, catalogue: Catalogue | None = None
) -> Regeneration:
    """Bring the plans of some buckets (default all) up to date at `as_of`, slice by slice, each in one transaction.

    Only users who could have changed are read (`only_changed=False`: all), and only plans whose inputs' hash differs are
    written, so a run that was interrupted goes on where it stopped.
    """
    chosen = sorted(set(range(BUCKETS) if buckets is None else buckets))
    catalogue = catalogue or load_catalogue()
    total = Regeneration()
    started = time.perf_counter()
    with psycopg.connect(url, application_name="mesocycle plans") as connection:
        connection.execute("set time zone 'UTC'")
        horizon = _scalar(connection, "select pg_snapshot_xmin(pg_current_snapshot())::text")
        users = _touched(connection, as_of, chosen, catalogue) if only_changed else _all_users(connection, chosen)
        everybody = _scalar(connection, EVERYBODY_SQL, {"buckets": chosen, "all": len(chosen) == BUCKETS})
        has_state = len(users) > 0 and _has_training_state(connection)
        connection.commit()
        total.untouched = int(everybody) - len(users)
        total.seconds_reading += time.perf_counter() - started
        if len(users):
            total += _regenerate_slices(connection, url, users, as_of, catalogue, has_state=has_state)
        connection.execute(
            "insert into plans.examined select unnest(%s::smallint[]), %s::xid8, %s, %s on conflict (bucket) do update "
            "set xid = excluded.xid, as_of = excluded.as_of, engine_version = excluded.engine_version",
            [chosen, horizon, as_of, engine_version(catalogue)],
        )
        connection.commit()
    return total


def _regenerate_slices(
    connection: psycopg.Connection, url: str, users: NDArray[np.int64], as_of: datetime, catalogue: Catalogue, *, has_state: bool
) -> Regeneration:
    """Slice by slice; while Postgres takes in one slice's plans, the next one is read and planned. At most two are in memory."""
    total = Regeneration()
    writing: Future[float] | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="plans") as writer, bulk_reader(url) as read:
        for start in range(0, len(users), SLICE_USERS):
            began = time.perf_counter()
            state = read_state(read, url, users[start : start + SLICE_USERS], as_of, has_state=has_state)
            was_read = time.perf_counter()
            batch = plan_batch(state.inputs, catalogue, as_of=as_of)
            changed = np.flatnonzero(~(state.has_plan & (batch.inputs_hash == state.previous_hash)))
            part = batch if len(changed) == len(batch) else batch.take(changed)
            total += Regeneration(
                users=len(batch),
                planned=len(changed),
                unchanged=len(batch) - len(changed),
                refused=int((batch.refusal > 0).sum()),
                seconds_reading=was_read - began,
                seconds_planning=time.perf_counter() - was_read,
            )
            if writing is not None:
                total.seconds_writing += writing.result()
            writing = writer.submit(_store_slice, connection, part, as_of, state.inputs.today[changed], state.is_replaced[changed])
        if writing is not None:
            total.seconds_writing += writing.result()
    return total


def _store_slice(
    connection: psycopg.Connection, batch: PlanBatch, as_of: datetime, planned_on: NDArray[np.int32], replaced: NDArray[np.bool_]
) -> float:
    """Store in one transaction; seconds that it took."""
    began = time.perf_counter()
    with connection.transaction():
        store(connection, batch, as_of=as_of, planned_on=planned_on, replaced=replaced)
    return time.perf_counter() - began


def read_state(read: Callable[[str], Columns], url: str, users: NDArray[np.int64], as_of: datetime, *, has_state: bool = False) -> State:
    """Read what the engine needs of these users (ascending keys) in bulk; from `intermediate.training_state` where it is built."""
    literal = f"'{as_of.astimezone(UTC).isoformat()}'"
    profiles = read(_inlined(PROFILES_SQL.replace("{users}", _key_condition(users, "u.user_key")), literal))
    known = profiles.plain["user_key"].astype(np.int64)
    if has_state:
        history = _history(known, read(STATE_HISTORY_SQL.format(users=_key_condition(users, "user_key"))))
    else:
        with connect(url, application_name="mesocycle plans") as connection:
            history = read_raw_history(connection, known, _key_condition(users, "w.user_key"), {"as_of": as_of})
    return to_state(profiles, history)


def _inlined(sql: str, as_of: str) -> str:
    """ADBC takes no named parameters; an instant of ours is safe to write out."""
    return sql.replace("%(as_of)s", as_of)


def _key_condition(users: NDArray[np.int64], column: str) -> str:
    """A condition on `column` for these keys: their range where they're dense in it, else the list."""
    if not len(users):
        return "false"
    low, high = int(users[0]), int(users[-1])
    if high - low + 1 == len(users):
        return f"{column} between {low} and {high}"
    listed = ",".join(map(str, users.tolist()))
    return f"{column} between {low} and {high} and {column} = any(string_to_array('{listed}', ',')::bigint[])"


def _touched(connection: psycopg.Connection, as_of: datetime, buckets: Sequence[int], catalogue: Catalogue) -> NDArray[np.int64]:
    parameters = {"as_of": as_of, "buckets": list(buckets), "all": len(buckets) == BUCKETS, "version": engine_version(catalogue)}
    rows = connection.execute(TOUCHED_SQL, parameters).fetchall()
    return np.array([row[0] for row in rows], dtype=np.int64)


def _all_users(connection: psycopg.Connection, buckets: Sequence[int]) -> NDArray[np.int64]:
    rows = connection.execute("select user_key from app.users where user_key %% 64 = any(%s) order by user_key", [list(buckets)]).fetchall()
    return np.array([row[0] for row in rows], dtype=np.int64)


def _has_training_state(connection: psycopg.Connection) -> bool:
    return bool(
        _scalar(
            connection,
            "select count(*) = %s from information_schema.columns where table_schema = 'intermediate' and table_name = 'training_state' "
            "and column_name = any(%s)",
            [len(_HISTORY), list(_HISTORY)],
        )
    )


def _scalar(connection: psycopg.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    row = connection.execute(sql, parameters or None).fetchone()
    assert row is not None
    return row[0]


# What the API serves ----------------------------------------------------------------------------------------------------

CURRENT_PLAN_SQL: Final = "select * from plans.plans where user_key = {user_key} order by as_of desc limit 1"
"""One user's current plan by one probe of the primary key; format with a placeholder of the caller's driver."""


def current_plan(connection: psycopg.Connection, user_key: int) -> dict[str, Any] | None:
    """The row of a user's current plan, or None."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(CURRENT_PLAN_SQL.format(user_key="%s"), [user_key]).fetchone()


def read_batch(rows: Sequence[Mapping[str, Any]]) -> PlanBatch:
    """Rows of `plans.plans` as the engine returned them."""

    def stacked(name: str, dtype: Any, width: int = 0) -> NDArray:
        parts = [np.array(row[name], dtype=dtype).reshape((-1, width) if width else -1) for row in rows]
        return np.concatenate(parts) if parts else np.zeros((0, width) if width else 0, dtype=dtype)

    def days(name: str) -> NDArray[np.int32]:
        return np.array([(row[name] - EPOCH).days for row in rows], dtype=np.int32)

    def plain(name: str, dtype: Any) -> NDArray:
        return np.array([row[name] for row in rows], dtype=dtype)

    return PlanBatch(
        engine_version=rows[0]["engine_version"] if rows else "",
        as_of=rows[0]["as_of"].astimezone(UTC).isoformat() if rows else "",
        user_key=plain("user_key", np.int64),
        inputs_hash=plain("inputs_hash", np.int64),
        refusal=plain("refusal", np.int8),
        goal=plain("goal", np.int8),
        in_pounds=plain("in_pounds", np.bool_),
        split=plain("split", np.int8),
        starts_on=days("starts_on"),
        mesocycle_started_on=days("mesocycle_started_on"),
        deload_week=plain("deload_week", np.int8) - np.int8(1),
        session_offsets=np.concatenate([[0], np.cumsum([len(row["session_day"]) for row in rows])]).astype(np.int64),
        session_day=stacked("session_day", np.int8),
        session_minutes=stacked("session_minutes", np.int16, WEEKS),
        session_slots=stacked("session_slots", np.int8),
        slot_offsets=np.concatenate([[0], np.cumsum([len(row["exercise_key"]) for row in rows])]).astype(np.int64),
        exercise_key=stacked("exercise_key", np.int32),
        rep_min=stacked("rep_min", np.int16),
        rep_max=stacked("rep_max", np.int16),
        rest_seconds=stacked("rest_seconds", np.int16),
        superset=stacked("superset", np.int8),
        warmup_sets=stacked("warmup_sets", np.int8),
        exercise_reason=stacked("exercise_reason", np.int8),
        sets_reason=stacked("sets_reason", np.int8),
        numbers=stacked("numbers", np.float32, 4),
        sets=stacked("sets", np.int8, WEEKS),
        load_kg=stacked("load_kg", np.float32, WEEKS),
        reserve=stacked("reserve", np.int8, WEEKS),
        load_reason=stacked("load_reason", np.int8, WEEKS),
    )


@dataclass(frozen=True)
class Verification:
    """What a look at stored plans found."""

    plans: int
    broken: dict[str, list[int]]
    """user_keys by property that their plan breaks."""
    differing: list[int]
    """user_keys whose plan, made again from the same inputs, isn't the stored one."""


def verify_stored(connection: psycopg.Connection, *, sample: int = 500, catalogue: Catalogue | None = None) -> Verification:
    """Check a sample of current plans against the properties of every plan, with the profiles that they were made from.

    Users whose profile or log changed since their plan are passed over: the hash of today's inputs tells. The sample is spread over
    the users by a hash of their key, another one each day.
    """
    catalogue = catalogue or load_catalogue()
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute(
            """
            select p.* from (
              select user_key from app.users order by hashint8extended(user_key, current_date - date '2020-01-01') limit %s
            ) u
            cross join lateral (select * from plans.plans where plans.user_key = u.user_key order by as_of desc limit 1) p
            """,
            [sample],
        ).fetchall()
    broken: dict[str, list[int]] = {name: [] for name in properties.CHECKS}
    differing: list[int] = []
    checked = 0
    for as_of in sorted({row["as_of"] for row in rows}):
        group = sorted((row for row in rows if row["as_of"] == as_of), key=lambda row: row["user_key"])
        parameters = {"as_of": as_of, "users": [row["user_key"] for row in group]}
        profiles = read_rows(connection, PROFILES_SQL.replace("{users}", "u.user_key = any(%(users)s)"), parameters)
        known = profiles.plain["user_key"].astype(np.int64)
        inputs = to_state(profiles, read_raw_history(connection, known, "w.user_key = any(%(users)s)", parameters)).inputs
        stored, again = read_batch(group), plan_batch(inputs, catalogue, as_of=as_of)
        same = np.flatnonzero((stored.inputs_hash == again.inputs_hash) & (inputs.user_key == stored.user_key))
        checked += len(same)
        stored, again, inputs = stored.take(same), again.take(same), inputs.take(same)
        for name, users in properties.violations(stored, inputs, catalogue).items():
            broken[name] += users.tolist()
        differing += [int(stored.user_key[user]) for user in range(len(stored)) if stored.bytes_of(user) != again.bytes_of(user)]
    return Verification(checked, {name: users for name, users in broken.items() if users}, differing)


def count_unplanned(connection: psycopg.Connection) -> tuple[int, int]:
    """(users who should have a plan and have none, users who should have one): everybody with a profile."""
    row = connection.execute(
        "select count(*) filter (where not exists (select from plans.plans where plans.user_key = profiles.user_key)), count(*) from app.profiles"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def plan_changes(connection: psycopg.Connection, user_key: int) -> list[dict[str, Any]]:
    """What changed from a user's last plan to the current one and why; empty with fewer than two plans."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute("select * from plans.plans where user_key = %s order by as_of desc limit 2", [user_key]).fetchall()
    if len(rows) < 2:
        return []
    after, before = (read_batch([row]) for row in rows)
    return [
        {
            "kind": change.kind,
            "exerciseId": None if change.exercise_key is None else _exercises().get(change.exercise_key, (str(change.exercise_key),))[0],
            "before": change.before,
            "after": change.after,
            "reason": change.reason,
        }
        for change in changes.changes(before, after)
    ]


@lru_cache(maxsize=1)
def _exercises() -> dict[int, tuple[str, str, str]]:
    """exercise_key -> (id, name, what it is measured in), of the project's catalogue."""
    frame = load_catalogue().frame
    return {
        int(key): (str(identity), str(name), str(unit))
        for key, identity, name, unit in zip(frame["exercise_key"], frame["exercise_id"], frame["name"], frame["measured_in"], strict=True)
    }


def plan_payload(row: Mapping[str, Any], *, locale: str = "en") -> dict[str, Any]:
    """The JSON that the API serves for a row of `plans.plans`: no query, no arithmetic beyond dates and the warm-up ramp.

    Deterministic: the same row gives the same document. Loads in kg, rounded to the gram; sentences in `locale`.
    """
    refusal = None
    if row["refusal"]:
        code, sentence = reasons.refusal(row["refusal"], locale)
        refusal = {"code": code, "sentence": sentence}
    unit = "lb" if row["in_pounds"] else "kg"
    weeks = [_week(row, week, locale, unit) for week in range(WEEKS)] if refusal is None else []
    return {
        "planId": str(row["plan_id"]),
        "asOf": row["as_of"].astimezone(UTC).isoformat(),
        "generatedAt": row["generated_at"].astimezone(UTC).isoformat(),
        "engineVersion": row["engine_version"],
        "inputsHash": f"{row['inputs_hash'] & (2**64 - 1):016x}",
        "goal": GOALS[row["goal"]].value,
        "startsOn": row["starts_on"].isoformat(),
        "weightUnit": unit,
        "refusal": refusal,
        "weeks": weeks,
    }


def _week(row: Mapping[str, Any], week: int, locale: str, unit: str) -> dict[str, Any]:
    days = len(row["session_day"])
    first = 0
    sessions = []
    for number, (day, slots) in enumerate(zip(row["session_day"], row["session_slots"], strict=True)):
        on = row["starts_on"] + timedelta(days=7 * week + day)
        sessions.append(
            {
                "day": on.isoweekday(),
                "date": on.isoformat(),
                "name": splits.session_name(row["split"], days, number) if days <= 6 else f"Session {number + 1}",
                "minutes": row["session_minutes"][number][week],
                "exercises": [_exercise(row, slot, week, locale, unit) for slot in range(first, first + slots)],
            }
        )
        first += slots
    return {"week": week + 1, "isDeload": week + 1 == row["deload_week"], "sessions": sessions}


def _exercise(row: Mapping[str, Any], slot: int, week: int, locale: str, unit: str) -> dict[str, Any]:
    identity, name, measured_in = _exercises().get(row["exercise_key"][slot], (str(row["exercise_key"][slot]), "", "reps"))
    load = row["load_kg"][slot][week]
    load = None if load is None or math.isnan(load) else round(float(load), 3)
    rep_min, rep_max, reserve = row["rep_min"][slot], row["rep_max"][slot], row["reserve"][slot][week]
    why = row["load_reason"][slot][week]
    reason = reasons.BY_NUMBER[why]
    if why == row["load_reason"][slot][0] and not (reason.code.startswith("week.")):
        numbers = dict(zip(reason.numbers, (float(f"{value:.6g}") for value in row["numbers"][slot]), strict=False))
    else:
        before = row["load_kg"][slot][max(week - 1, 0)]
        numbers = {"reserve": reserve, "fewest_reps": rep_min, "most_reps": rep_max}
        if before is not None and not math.isnan(before):
            numbers["load_kg"] = round(float(before), 3)
    numbers = {name: value for name, value in numbers.items() if not (isinstance(value, float) and math.isnan(value))}
    ramp = _warmups(row, slot, load, rep_max, unit)
    return {
        "exerciseId": identity,
        "name": name,
        "measuredIn": measured_in,
        "sets": row["sets"][slot][week],
        "repsMin": rep_min,
        "repsMax": rep_max,
        "loadKg": load,
        "rir": reserve,
        "restSeconds": row["rest_seconds"][slot],
        "supersetGroup": row["superset"][slot] or None,
        "warmupSets": ramp,
        "reason": {
            "code": reason.code,
            "numbers": {_camel(name): value for name, value in numbers.items()},
            "sentence": reasons.sentence(why, numbers, locale, unit),
        },
        "exerciseReason": _plain_reason(row["exercise_reason"][slot], locale),
        "setsReason": _plain_reason(row["sets_reason"][slot], locale),
    }


def _warmups(row: Mapping[str, Any], slot: int, load: float | None, reps: int, unit: str) -> list[dict[str, Any]]:
    count = row["warmup_sets"][slot]
    if load is None or not count:
        return []
    lightest, step = _warmup_grid(row["exercise_key"][slot], unit)
    return [{"loadKg": round(kg, 3), "reps": done} for kg, done in warmups.ramp(load, reps, step=step, lightest=lightest, sets=count)]


@lru_cache(maxsize=2048)
def _warmup_grid(exercise_key: int, unit: str) -> tuple[float, float]:
    from domain.planning.movements import movements  # noqa: PLC0415
    from domain.vocabulary import KG_PER_LB  # noqa: PLC0415

    table, row = movements(load_catalogue()), int(load_catalogue().rows_of([exercise_key])[0])
    if unit == "lb":
        return float(table.lightest_lb[row]) * KG_PER_LB, float(table.step_lb[row]) * KG_PER_LB
    return float(table.lightest_kg[row]), float(table.step_kg[row])


def _plain_reason(number: int, locale: str) -> dict[str, str]:
    reason = reasons.BY_NUMBER[number]
    return {"code": reason.code, "sentence": reason.sentences.get(locale, reason.sentences["en"])}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
