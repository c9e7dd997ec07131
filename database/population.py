"""A simulated population into `app.*`: block by block, each in a transaction of its own, by binary COPY."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from database.catalogue import publish_catalogue
from database.connection import connect
from database.copying import copy_columns
from domain.simulation import Population, simulate
from domain.simulation.columns import Columns, rows_of, take

SAMPLE_USERS: Final = 2000
SAMPLE_MONTHS: Final = 6
SAMPLE_SEED: Final = 1


@dataclass(frozen=True)
class PopulationReport:
    """Rows that were added, by table; `skipped_users` were there before, and nothing of theirs was touched."""

    users: int = 0
    skipped_users: int = 0
    profiles: int = 0
    workouts: int = 0
    sets: int = 0
    custom_exercises: int = 0
    onboarding_events: int = 0
    usage_events: int = 0
    seconds: float = 0.0

    def __add__(self, other: "PopulationReport") -> "PopulationReport":
        return PopulationReport(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        text = f"{self.users:,} users, {self.workouts:,} workouts, {self.sets:,} sets added in {self.seconds:.1f} s"
        return f"{text}; {self.skipped_users:,} users were there already" if self.skipped_users else text


Progress = Callable[[PopulationReport], object]


def load_sample(owner_url: str, until: datetime, progress: Progress | None = None, *, users: int = SAMPLE_USERS) -> PopulationReport:
    """The sample that `mesocycle up` starts with: `users` people over six months, `test_user` and `test` among them."""
    blocks = simulate(users, SAMPLE_MONTHS, SAMPLE_SEED, until, block_users=500)
    return load_population(owner_url, blocks, progress)


def load_population(owner_url: str, blocks: Iterable[Population], progress: Progress | None = None) -> PopulationReport:
    """Add the blocks' users with all that is theirs; `progress` is called after each block with what is done so far.

    Publishes the exercise catalogue first. A user whose id exists is left as it is, with nothing added, so that loading a population
    twice changes nothing. The next block is simulated while one is written.

    Where there are no workouts yet, all blocks go in as one transaction that locks the tables of workouts and checks foreign keys
    at its end, in one pass (measured: twice as fast); an interrupted load leaves nothing. Where there are some, or somebody is
    using the tables, each block is a transaction that disturbs nobody, and an interrupted load goes on where it stopped.
    """
    start = time.monotonic()
    done = PopulationReport()
    with connect(owner_url, application_name="mesocycle population") as connection:
        publish_catalogue(connection)
        connection.commit()
        keys = _begin_bulk(connection)
        for block in _ahead(blocks):
            done = replace(done + _load_block(connection, block), seconds=time.monotonic() - start)
            if keys is None:
                connection.commit()
            if progress is not None:
                progress(done)
        if keys is not None:
            _end_bulk(connection, keys)
        connection.commit()
        if done.users:
            connection.autocommit = True
            # Plans for queries that run before autovacuum comes by would otherwise be made for empty tables.
            connection.execute(
                "analyze app.users, app.profiles, app.exercises, app.workouts, app.workout_sets, app.identity_links,"
                " app.onboarding_events, app.usage_events"
            )
    return replace(done, seconds=time.monotonic() - start)


def _begin_bulk(connection: psycopg.Connection) -> list[tuple[str, str]] | None:
    """Where there are no workouts: lock the tables, set aside what is checked set by set, return the foreign keys to restore.

    Stamping of new sets is switched off too: they come in one transaction with their workouts, which stamps these anyway.
    """
    try:
        connection.execute("set local lock_timeout = '1s'")
        connection.execute("lock table app.workout_sets, app.workouts, app.exercises in access exclusive mode")
        connection.execute("set local lock_timeout to default")
    except psycopg.errors.LockNotAvailable:
        connection.rollback()
        return None
    row = connection.execute("select exists (select from app.workouts)").fetchone()
    if row is None or row[0]:
        connection.rollback()
        return None
    keys: list[tuple[str, str]] = connection.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'app.workout_sets'::regclass and contype = 'f'"
    ).fetchall()
    for name, _ in keys:
        connection.execute(sql.SQL("alter table app.workout_sets drop constraint {}").format(sql.Identifier(name)))
    connection.execute("alter table app.workout_sets disable trigger stamp_workout_on_insert")
    return keys


def _end_bulk(connection: psycopg.Connection, keys: list[tuple[str, str]]) -> None:
    connection.execute("alter table app.workout_sets enable trigger stamp_workout_on_insert")
    for name, definition in keys:
        connection.execute(sql.SQL("alter table app.workout_sets add constraint {} ").format(sql.Identifier(name)) + sql.SQL(definition))


def _ahead(blocks: Iterable[Population]) -> Iterator[Population]:
    """The same blocks, each made in a second thread while the one before is in use."""
    source = iter(blocks)
    with ThreadPoolExecutor(1, thread_name_prefix="simulation") as pool:
        following = pool.submit(next, source, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, source, None)
            yield block


def _load_block(connection: psycopg.Connection, block: Population) -> PopulationReport:
    user_key, is_new = _add_users(connection, block)
    if not is_new.any():
        return PopulationReport(skipped_users=len(block))

    profiles = _of_new_users(block.profiles, user_key, is_new)
    _insert_profiles(connection, profiles)
    custom = _of_new_users(block.custom_exercises, user_key, is_new)
    custom_keys = np.full(rows_of(block.custom_exercises), -1, dtype=np.int32)
    custom_keys[is_new[block.custom_exercises["user"]]] = _add_custom_exercises(connection, custom)

    kept = is_new[block.workouts["user"]]
    workouts = _of_new_users(block.workouts, user_key, is_new)
    workout_key = np.full(len(kept), -1, dtype=np.int64)
    workout_key[kept] = _new_workout_keys(connection, rows_of(workouts))
    copy_columns(
        connection,
        "app.workouts",
        {"workout_key": workout_key[kept], **workouts},
        nullable=("duration_seconds", "name", "notes"),
    )
    sets = block.sets if kept.all() else take(block.sets, kept[block.sets["workout"]])
    exercise_key = sets["exercise_key"]
    own = exercise_key < 0
    if own.any():
        exercise_key = exercise_key.copy()
        exercise_key[own] = custom_keys[-1 - exercise_key[own]]
    others = {name: column for name, column in sets.items() if name not in {"workout", "exercise_key"}}
    copy_columns(
        connection,
        "app.workout_sets",
        {"workout_key": workout_key[sets["workout"]], "exercise_key": exercise_key, **others},
        nullable=("reps", "superset", "notes"),
    )

    links = _of_new_users(block.identity_links, user_key, is_new)
    copy_columns(connection, "app.identity_links", links)
    events = _events_to_add(connection, block.onboarding_events, user_key, is_new, block.identity_links)
    copy_columns(
        connection,
        "app.onboarding_events",
        events,
        nullable=(
            "user_key",
            "anonymous_id",
            "session_id",
            "duration_ms",
            "error_code",
            "platform",
            "app_version",
            "acquisition_channel",
            "traceparent",
        ),
    )
    usage = _of_new_users(block.usage_events, user_key, is_new)
    copy_columns(connection, "app.usage_events", usage)
    return PopulationReport(
        users=int(is_new.sum()),
        skipped_users=int((~is_new).sum()),
        profiles=rows_of(profiles),
        workouts=rows_of(workouts),
        sets=len(exercise_key),
        custom_exercises=rows_of(custom),
        onboarding_events=rows_of(events),
        usage_events=rows_of(usage),
    )


def _add_users(connection: psycopg.Connection, block: Population) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Keys of the block's users that weren't there (-1: was there), and which those are."""
    ids = [value.decode() for value in block.users["user_id"]]
    rows = connection.execute(
        """
        insert into app.users (user_id, time_zone, created_at)
        select * from unnest(%s::text[], %s::text[], %s::timestamptz[])
        on conflict (user_id) do nothing
        returning user_id, user_key
        """,
        [ids, [value.decode() for value in block.users["time_zone"]], _instants(block.users["created_at"])],
    ).fetchall()
    keys: dict[str, int] = dict(rows)
    user_key = np.array([keys.get(user_id, -1) for user_id in ids], dtype=np.int64)
    return user_key, user_key >= 0


def _of_new_users(table: Columns, user_key: NDArray[np.int64], is_new: NDArray[np.bool_]) -> Columns:
    """The new users' rows, with `user_key` for the position in the block."""
    chosen = is_new[table["user"]]
    rows = table if chosen.all() else take(table, chosen)
    return {("user_key" if name == "user" else name): (user_key[column] if name == "user" else column) for name, column in rows.items()}


def _insert_profiles(connection: psycopg.Connection, profiles: Columns) -> None:
    """Lists and JSON go as text, for Postgres to read: profiles are few."""
    casts = {
        "weekdays": "smallint[]",
        "equipment": "text[]",
        "gym_equipment": "text[]",
        "limitations": "jsonb",
        "disliked_exercise_keys": "integer[]",
        "preferred_exercise_keys": "integer[]",
        "plates": "jsonb",
        "updated_at": "timestamptz",
    }
    values = {name: _values(column) for name, column in profiles.items()}
    types = {name: _array_type(column) for name, column in profiles.items()}
    names = ", ".join(profiles)
    chosen = ", ".join(f"{name}::{casts[name]}" if name in casts else name for name in profiles)
    arrays = ", ".join(f"%s::{types[name]}" for name in profiles)
    connection.execute(
        f"insert into app.profiles ({names}) select {chosen} from unnest({arrays}) as p ({names})",  # noqa: S608 (names are ours)
        list(values.values()),
    )


def _array_type(column: NDArray[Any]) -> str:
    return {"S": "text[]", "M": "timestamptz[]", "f": "double precision[]"}.get(column.dtype.kind, "bigint[]")


def _values(column: NDArray[Any]) -> list[Any]:
    """A column as Python values, its nulls as None."""
    kind = column.dtype.kind
    if kind == "S":
        return [value.decode() if value else None for value in column]
    if kind == "M":
        return _instants(column)
    if kind == "f":
        return [None if math.isnan(value) else value for value in column.tolist()]
    return [None if value < 0 else value for value in column.tolist()]


def _instants(column: NDArray[np.datetime64]) -> list[str]:
    return [f"{value}Z" for value in np.datetime_as_string(column)]


def _add_custom_exercises(connection: psycopg.Connection, custom: Columns) -> NDArray[np.int32]:
    """The new keys, in the order of the rows (a user has one custom exercise)."""
    names = [value.decode() for value in custom["name"]]
    rows = connection.execute(
        """
        insert into app.exercises (exercise_id, user_key, name)
        select trim(both '-' from regexp_replace(lower(name), '[^a-z0-9]+', '-', 'g')), user_key, name
        from unnest(%s::bigint[], %s::text[]) as c (user_key, name)
        returning user_key, exercise_key
        """,
        [custom["user_key"].tolist(), names],
    ).fetchall()
    keys: dict[int, int] = dict(rows)
    return np.array([keys[user_key] for user_key in custom["user_key"].tolist()], dtype=np.int32)


def _new_workout_keys(connection: psycopg.Connection, count: int) -> NDArray[np.int64]:
    """Keys from the table's own sequence, so that whoever writes at the same time gets others."""
    rows = connection.execute(
        "select nextval(pg_get_serial_sequence('app.workouts', 'workout_key')) from generate_series(1, %s)", [count]
    ).fetchall()
    return np.array(rows, dtype=np.int64).reshape(-1)


def _events_to_add(
    connection: psycopg.Connection, events: Columns, user_key: NDArray[np.int64], is_new: NDArray[np.bool_], links: Columns
) -> Columns:
    """Onboarding events of new users, also from before they had an account, and of visitors whose events aren't there yet."""
    user = events["user"]
    nameless = user < 0
    owner = np.where(nameless, -1, user)
    if nameless.any():
        # Before the account an event carries the anonymous id only; the link says whose it is.
        order = np.argsort(links["anonymous_id"])
        known = links["anonymous_id"][order]
        ids = events["anonymous_id"][nameless]
        if len(known):
            place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            owner[nameless] = np.where(known[place] == ids, links["user"][order][place], -1)
    keep = np.where(owner >= 0, is_new[owner], True)
    if not is_new.all():
        anonymous = np.flatnonzero(owner < 0)
        rows = connection.execute(
            "select distinct anonymous_id from app.onboarding_events where anonymous_id = any(%s)",
            [[value.decode() for value in np.unique(events["anonymous_id"][anonymous])]],
        ).fetchall()
        there = np.array([row[0].encode() for row in rows], dtype="S")
        keep[anonymous] = ~np.isin(events["anonymous_id"][anonymous], there)
    chosen = events if keep.all() else take(events, keep)
    keys = np.where(chosen["user"] >= 0, user_key[chosen["user"]], -1)
    return {("user_key" if name == "user" else name): (keys if name == "user" else column) for name, column in chosen.items()}
