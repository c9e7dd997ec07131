"""The schema that migrations build: change tracking, constraints, and what each role may do."""

import psycopg
import pytest

from database.connection import Role
from database.migrate import migrate
from tests.conftest import Database


def new_user(connection: psycopg.Connection, user_id: str = "ann") -> int:
    row = connection.execute("insert into app.users (user_id) values (%s) returning user_key", [user_id]).fetchone()
    assert row
    return row[0]


def new_workout(connection: psycopg.Connection, user_key: int) -> int:
    row = connection.execute(
        "insert into app.workouts (user_key, started_at) values (%s, '2024-03-01 10:00Z') returning workout_key", [user_key]
    ).fetchone()
    assert row
    return row[0]


def workout_xid(connection: psycopg.Connection, workout_key: int) -> int:
    row = connection.execute("select xid::text::bigint from app.workouts where workout_key = %s", [workout_key]).fetchone()
    assert row
    return row[0]


@pytest.fixture
def exercise(database: Database) -> int:
    with database.connect() as connection:
        connection.execute("insert into app.exercises (exercise_key, exercise_id, name) values (1, 'squat', 'Squat (Barbell)')")
    return 1


def test_migrating_twice_changes_nothing(database: Database) -> None:
    everything = "select (select version_num from alembic_version), array_agg(c.oid || relname order by c.oid) from pg_class c"
    with database.connect() as connection:
        before = connection.execute(everything).fetchone()
        migrate(database.url)
        assert connection.execute(everything).fetchone() == before


@pytest.mark.parametrize(
    "change",
    [
        "insert into app.workout_sets (workout_key, position, exercise_key, reps) values (%(w)s, 2, 1, 5)",
        "update app.workout_sets set reps = 6 where workout_key = %(w)s",
        "delete from app.workout_sets where workout_key = %(w)s",
    ],
)
def test_any_change_of_a_set_stamps_its_workout(database: Database, exercise: int, change: str) -> None:
    with database.connect() as connection:
        workout = new_workout(connection, new_user(connection))
        connection.execute("insert into app.workout_sets (workout_key, position, exercise_key, reps) values (%s, 1, 1, 5)", [workout])
        before = workout_xid(connection, workout)
        connection.execute(change, {"w": workout})
        assert workout_xid(connection, workout) > before


def test_moving_a_set_stamps_both_workouts(database: Database, exercise: int) -> None:
    with database.connect() as connection:
        user = new_user(connection)
        one, other = new_workout(connection, user), new_workout(connection, user)
        connection.execute("insert into app.workout_sets (workout_key, position, exercise_key, reps) values (%s, 1, 1, 5)", [one])
        before = max(workout_xid(connection, one), workout_xid(connection, other))
        connection.execute("update app.workout_sets set workout_key = %s", [other])
        assert workout_xid(connection, one) == workout_xid(connection, other) > before


def test_a_hard_deletion_leaves_its_keys(database: Database) -> None:
    with database.connect() as connection:
        user = new_user(connection)
        workout = new_workout(connection, user)
        connection.execute("delete from app.workouts")
        assert connection.execute("select workout_key, user_key from app.workout_deletions").fetchall() == [(workout, user)]


def test_truncate_is_refused_because_it_would_bypass_change_tracking(database: Database) -> None:
    with database.connect() as connection, pytest.raises(psycopg.errors.RaiseException, match="use delete"):
        connection.execute("truncate app.workouts cascade")


@pytest.mark.parametrize("user_id", ["", "x" * 129, "a\tb", "a\x7fb"])
def test_a_user_id_that_is_no_id_is_refused(database: Database, user_id: str) -> None:
    with database.connect() as connection, pytest.raises(psycopg.errors.CheckViolation):
        new_user(connection, user_id)


def test_an_unknown_time_zone_is_refused(database: Database) -> None:
    with database.connect() as connection, pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute("insert into app.users (user_id, time_zone) values ('ann', 'Mars/Olympus')")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (Role.ANALYST, "select * from app.users"),
        (Role.ANALYST, "create table marts.mine (a int)"),
        (Role.API, "delete from app.onboarding_events"),
        (Role.API, "select * from app.workouts"),
        (Role.API, "update app.users set user_id = 'x'"),
        (Role.PIPELINE, "insert into app.users (user_id) values ('x')"),
    ],
)
def test_a_role_may_touch_only_what_it_needs(database: Database, role: Role, statement: str) -> None:
    with database.connect(role) as connection, pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
        connection.execute(statement)
