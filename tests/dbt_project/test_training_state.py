"""training_state holds what raw rows say, and planning from it gives the plans that planning from raw rows gives."""

import datetime
import math
import random
import struct

import numpy as np
import pandas as pd
import pytest

from benchmarks.planning import STATE_TABLES
from database import planning_inputs
from database.catalogue import publish_catalogue
from database.connection import Role
from database.planning_inputs import STATE_SESSIONS
from database.plans import regenerate
from domain.exercises.catalogue import load_catalogue
from domain.planning import plan_batch
from domain.planning.inputs import SESSIONS_KEPT
from tests.dbt_project import population
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)
CHAIN = ("run", "--select", "+training_state", "+user_days", "user_zones")
EPOCH = datetime.date(2000, 1, 1)


@pytest.fixture(scope="module")
def built(module_database):
    with module_database.connect() as connection:
        publish_catalogue(connection)
        population.add_population(connection, seed=5, users=25, workouts_each=40, as_of=AS_OF)
        for user_key in user_keys(connection)[::2]:
            connection.execute(
                "insert into app.profiles (user_key, goal, experience_level, days_per_week) values (%s, 'strength', 'intermediate', 4)",
                [user_key],
            )
    run_dbt(module_database, *CHAIN, as_of=AS_OF)
    return module_database


def user_keys(connection):
    return [key for (key,) in connection.execute("select user_key from app.users order by 1")]


def from_raw_rows(connection):
    """{(user, exercise): [(started_at, local date, [(kg, repetitions, RPE), …]), …]} newest first, by pandas from the app's tables."""
    rows = pd.DataFrame(
        connection.execute(
            "select w.user_key, w.workout_key, w.started_at, u.time_zone, s.position, s.exercise_key, s.set_type, s.weight_kg, s.reps,"
            " s.duration_seconds, s.distance_m, s.rpe from app.workouts w join app.users u using (user_key)"
            " join app.workout_sets s using (workout_key) where w.deleted_at is null"
        ).fetchall(),
        columns=["user", "workout", "at", "zone", "position", "exercise", "type", "kg", "reps", "seconds", "metres", "rpe"],
    )
    rows = rows[(rows["type"] != "warmup") & ((rows["reps"] > 0) | (rows["seconds"] > 0) | (rows["metres"] > 0))]
    found: dict = {}
    for (user, exercise, at, workout, zone), sets in rows.groupby(["user", "exercise", "at", "workout", "zone"]):
        listed = [
            (np.float32(0 if pd.isna(kg) else kg), 0 if pd.isna(reps) else int(reps), np.float32(rpe))
            for kg, reps, rpe in sets.sort_values("position")[["kg", "reps", "rpe"]].astype(float).itertuples(index=False)
        ]
        on = at.tz_convert(zone).date()
        found.setdefault((user, exercise), []).append((at.to_pydatetime(), workout, on, listed))
    return {
        key: [(at.isoformat(), on, sets) for at, _, on, sets in sorted(sessions, key=lambda each: each[:2], reverse=True)[:STATE_SESSIONS]]
        for key, sessions in found.items()
    }


def from_the_table(connection):
    """The same, unpacked byte by byte as the columns' descriptions say."""
    found = {}
    for user, exercise, sessions, sets in connection.execute(
        "select user_key, exercise_key, sessions, packed_sets from intermediate.training_state"
    ):
        at_set, listed = 0, []
        for at in range(0, len(sessions), 14):
            micros, day, count = struct.unpack(">qih", sessions[at : at + 14])
            numbers = [struct.unpack(">q", sets[8 * n : 8 * n + 8])[0] for n in range(at_set, at_set + count)]
            records = [(n // 2**25 / 10**8, n // 2**10 % 2**15, n % 2**10 / 100 or math.nan) for n in numbers]
            at_set += count
            start = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=micros)
            listed.append(
                (
                    start.isoformat(),
                    EPOCH + datetime.timedelta(days=day),
                    [(np.float32(kg), reps, np.float32(rpe)) for kg, reps, rpe in records],
                )
            )
        assert len(sets) == 8 * at_set
        found[user, exercise] = listed
    return found


def printed(state):
    return {key: repr(sessions) for key, sessions in state.items()}


def plans_from(database, as_of, behind):
    """Every user's plan as bytes: in bulk, where `behind` says who isn't read from the table, then from raw rows."""
    with planning_inputs.bulk_reader(database.urls[Role.PIPELINE]) as read, database.connect(Role.PIPELINE) as connection:
        users = np.array(user_keys(connection))
        states = (
            planning_inputs.read_bulk_state(read, connection, users, as_of, behind(connection)),
            planning_inputs.read_state(connection, users, as_of),
        )
    with_plans = states[1].inputs.history.prescribed_sets > 0
    assert as_of < AS_OF or with_plans.any()
    batches = [plan_batch(state.inputs, load_catalogue(), as_of=as_of) for state in states]
    return [[batch.bytes_of(user) for user in range(len(batch))] for batch in batches]


def test_the_table_holds_what_raw_rows_say_and_nothing_of_deleted_or_empty_workouts(built):
    with built.connect() as connection:
        expected = from_raw_rows(connection)
        assert len(expected) > 100
        assert max(len(sessions) for sessions in expected.values()) == STATE_SESSIONS > SESSIONS_KEPT
        assert printed(from_the_table(connection)) == printed(expected)


def test_bulk_and_single_planning_agree_to_the_byte_after_random_changes_before_and_after_a_build(built):
    dice = random.Random(3)
    as_of = AS_OF
    for number in range(3):
        as_of += datetime.timedelta(days=dice.choice([0, 3, 9]), hours=1)
        regenerate(built.urls[Role.PIPELINE], as_of=as_of)  # deload weeks and prescriptions to be found in the logs that follow
        as_of += datetime.timedelta(days=20)
        with built.connect() as connection:
            users = user_keys(connection)
            asked = connection.execute("select user_key, exercise_key from plans.current_plans where user_key = any(%s)", [users[:12]])
            for user_key, keys in asked.fetchall():
                for _ in range(3):
                    at = as_of - datetime.timedelta(hours=dice.randrange(20 * 24))
                    sets = [(place, key, "normal", 60.0, 5, None, None, 8) for place, key in enumerate(keys[:3])]
                    population.add_workout(connection, user_key, at, sets)
            workouts = [key for (key,) in connection.execute("select workout_key from app.workouts order by 1")]
            moved, edited, removed, deleted = (dice.sample(workouts, 5) for _ in range(4))
            connection.execute("update app.workouts set user_key = %s where workout_key = any(%s)", [dice.choice(users), moved])
            for workout in edited:
                connection.execute("delete from app.workout_sets where workout_key = %s", [workout])
            connection.execute("delete from app.workouts where workout_key = any(%s)", [removed])
            connection.execute("update app.workouts set deleted_at = now() where workout_key = any(%s)", [deleted])
            connection.execute("update app.users set time_zone = 'Pacific/Kiritimati' where user_key = %s", [users[number]])
        for _ in range(2):
            bulk, single = plans_from(built, as_of, planning_inputs.users_behind_state)
            assert bulk == single
            run_dbt(built, *CHAIN, as_of=as_of)
        with built.connect() as connection:
            assert planning_inputs.users_behind_state(connection).size == 0
            assert printed(from_the_table(connection)) == printed(from_raw_rows(connection))
    bulk, single = plans_from(built, AS_OF - datetime.timedelta(days=200), planning_inputs.users_behind_state)
    assert bulk == single, "a replay of the past"


def test_users_behind_the_table_are_those_with_something_written_since(built):
    run_dbt(built, *CHAIN)
    with built.connect() as connection:
        users = user_keys(connection)
        population.add_workout(connection, users[3], AS_OF, [(0, 1, "normal", 100, 5, None, None, None)])
        (workout, owner), *_ = connection.execute(
            "select workout_key, user_key from app.workouts where user_key <> %s", [users[4]]
        ).fetchall()
        connection.execute("update app.workouts set user_key = %s where workout_key = %s", [users[4], workout])
        expected = sorted({users[3], users[4], owner})
    with built.connect(Role.PIPELINE) as connection:
        assert planning_inputs.users_behind_state(connection).tolist() == expected
        bulk, single = plans_from(built, AS_OF + datetime.timedelta(days=100), planning_inputs.users_behind_state)
        assert bulk == single
        blind, single = plans_from(built, AS_OF + datetime.timedelta(days=100), lambda _: np.zeros(0, dtype=np.int64))
        assert blind != single, "without them a plan would miss what was logged since the last build"


def test_the_planning_benchmark_fills_tables_like_these(built):
    copies = STATE_TABLES.replace("intermediate", "copied").replace("staging.", "copied.")
    columns = "select table_name, column_name, data_type from information_schema.columns where table_schema = any(%s)"
    with built.connect(autocommit=False) as connection:
        connection.execute(copies)
        real = set(connection.execute(columns, [["intermediate", "staging"]]).fetchall())
        copied = set(connection.execute(columns, [["copied"]]).fetchall())
        connection.rollback()
    assert {name for name, _, _ in copied} == {"training_state", "change_cursor", "model_state", "changes"}
    assert copied <= real
    assert {row for row in real if row[0] == "training_state"} <= copied
