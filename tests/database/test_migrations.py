"""The schema that migrations build: change tracking, constraints, and what each role may do."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import psycopg
import pytest
from alembic import command

from database.bootstrap import bootstrap
from database.connection import Role, connect
from database.migrate import alembic_config, migrate
from stack.embedded_postgres import EmbeddedPostgres
from tests.conftest import PASSWORDS, Database


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


@pytest.mark.parametrize("zone", ["Mars/Olympus", "PST", "UTC+3", "<mine>-5", "posix/Europe/Berlin", "localtime", ""])
def test_what_is_no_iana_name_of_a_time_zone_is_refused(database: Database, zone: str) -> None:
    with database.connect() as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match="is no IANA name of a time zone"):
            connection.execute("insert into app.users (user_id, time_zone) values ('ann', %s)", [zone])
        new_user(connection)
        with pytest.raises(psycopg.errors.CheckViolation, match="is no IANA name of a time zone"):
            connection.execute("update app.users set time_zone = %s", [zone])


@pytest.mark.parametrize(("given", "stored"), [("europe/berlin", "Europe/Berlin"), ("utc", "UTC"), ("Asia/Kolkata", "Asia/Kolkata")])
def test_a_time_zone_is_spelled_as_iana_does(database: Database, given: str, stored: str) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id, time_zone) values ('ann', %s)", [given])
        assert connection.execute("select time_zone from app.users").fetchall() == [(stored,)]
        connection.execute("update app.users set time_zone = 'America/New_York'")
        connection.execute("update app.users set time_zone = %s", [given])
        assert connection.execute("select time_zone from app.users").fetchall() == [(stored,)]


def test_imports_know_every_time_zone_that_a_user_may_have(database: Database) -> None:
    with database.connect() as connection:
        names = [row[0] for row in connection.execute("select name from app.time_zones")]
    assert len(names) > 400
    for name in names:
        ZoneInfo(name)


def test_a_time_zone_that_the_machine_learns_may_be_used_after_the_next_start(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("delete from app.time_zones where name = 'Europe/Kyiv'")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("insert into app.users (user_id, time_zone) values ('ann', 'Europe/Kyiv')")
        migrate(database.url)
        connection.execute("insert into app.users (user_id, time_zone) values ('ann', 'Europe/Kyiv')")


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


@pytest.fixture
def before_0011(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's URL of a database as the release before named time zones left it."""
    admin_url = postgres.url("test-superuser")
    url = bootstrap(admin_url, database="before_0011", passwords=PASSWORDS)[Role.OWNER]
    command.upgrade(alembic_config(url), "0010")
    yield url
    with connect(admin_url, autocommit=True) as admin:
        admin.execute("drop database before_0011 with (force)")


def test_zones_and_days_of_earlier_versions_are_put_right(before_0011: str) -> None:
    with connect(before_0011, autocommit=True) as connection:
        connection.execute("insert into app.users (user_id, time_zone) values ('ann', 'europe/berlin'), ('ben', 'PST'), ('cleo', 'UTC')")
        connection.execute(
            """
            insert into app.imports (user_key, file_name, file_sha256, source, variant, time_zone, report)
            select user_key, 'f.csv', '\\x00', 'fitnotes', 'FitNotes', 'Pacific/Auckland', '{}' from app.users
            """
        )
        connection.execute(
            """
            insert into app.workouts (user_key, started_at, has_start_time, import_key)
            select user_key, timestamp '2024-01-10 12:00' at time zone zone, false, import_key
            from app.users u join app.imports using (user_key) cross join lateral (values ('Pacific/Auckland'), (u.time_zone)) as noons (zone)
            """
        )
    migrate(before_0011)
    with connect(before_0011, autocommit=True) as connection:
        zones = connection.execute("select time_zone from app.users order by user_id").fetchall()
        assert zones == [("Europe/Berlin",), ("PST",), ("UTC",)]
        days = connection.execute(
            "select distinct (started_at at time zone u.time_zone)::text from app.workouts join app.users u using (user_key)"
        ).fetchall()
        assert days == [("2024-01-10 12:00:00",)]
