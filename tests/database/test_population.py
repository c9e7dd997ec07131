"""A simulated population in a real database: every value as simulated, once, and with nothing of the schema switched off for good."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pandas as pd
import psycopg
import pytest

from database.connection import connect
from database.copying import copy_columns
from database.population import PopulationReport, load_population, load_sample
from domain.simulation import Population, simulate
from tests.conftest import Database

UNTIL = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
TABLES = ("users", "profiles", "exercises", "workouts", "workout_sets", "identity_links", "onboarding_events", "usage_events")


def some_blocks(users: int, **arguments: object) -> Iterator[Population]:
    return simulate(users, 4, 9, UNTIL, **({"block_users": 40} | arguments))  # type: ignore[arg-type]


def rows(database: Database, query: str) -> list[tuple]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()


def counts(database: Database) -> dict[str, int]:
    return {table: rows(database, f"select count(*) from app.{table}")[0][0] for table in TABLES}


def schema_of_sets(database: Database) -> list[tuple]:
    """Foreign keys, their state, and triggers of the tables that a first load locks."""
    return rows(
        database,
        """
        select conname, pg_get_constraintdef(oid), convalidated::text from pg_constraint
        where conrelid in ('app.workout_sets'::regclass, 'app.workouts'::regclass)
        union all
        select tgname, tgrelid::regclass::text, tgenabled::text from pg_trigger
        where tgrelid in ('app.workout_sets'::regclass, 'app.workouts'::regclass) and not tgisinternal
        order by 1, 2
        """,
    )


def test_every_row_arrives_as_it_was_simulated(database: Database) -> None:
    (block,) = some_blocks(60, block_users=60)
    report = load_population(database.url, [block])
    assert report.users == 60
    assert counts(database) == {
        "users": 60,
        "profiles": len(block.profiles["user"]),
        "exercises": rows(database, "select count(*) from app.exercises where user_key is null")[0][0] + report.custom_exercises,
        "workouts": len(block.workouts["user"]),
        "workout_sets": len(block.sets["workout"]),
        "identity_links": len(block.identity_links["user"]),
        "onboarding_events": len(block.onboarding_events["step"]),
        "usage_events": len(block.usage_events["user"]),
    }
    users = block.frame("users")["user_id"]

    stored = pd.DataFrame(
        rows(
            database,
            """
            select u.user_id, w.started_at, w.duration_seconds, w.name, w.notes, w.source, w.deleted_at, s.position, e.name, e.user_key is null,
              s.set_type, s.weight_kg, s.reps, s.duration_seconds, s.distance_m, s.rpe, s.superset, s.notes
            from app.workouts w join app.users u using (user_key)
            left join app.workout_sets s using (workout_key) left join app.exercises e on e.exercise_key = s.exercise_key
            order by u.user_key, w.started_at, s.position
            """,
        )
    )
    names = dict(rows(database, "select exercise_key, name from app.exercises where user_key is null"))
    custom = block.frame("custom_exercises")["name"]
    sets = block.frame("sets")
    expected = block.frame("workouts").merge(sets, left_index=True, right_on="workout", how="left", suffixes=("", "_of_set"))
    expected = expected.sort_values(["user", "started_at", "position"], ignore_index=True)

    def same(column: int, values: pd.Series) -> None:
        left, right = stored[column], values.reset_index(drop=True)
        assert (left.isna() == right.isna()).all()
        assert (left[left.notna()].to_numpy() == right[right.notna()].to_numpy()).all()

    def or_null(values: pd.Series) -> pd.Series:
        return values.astype(float).where(values >= 0)

    key = expected["exercise_key"]
    same(0, expected["user"].map(users))
    same(1, expected["started_at"])
    same(2, or_null(expected["duration_seconds"]))
    same(3, expected["name"])
    same(4, expected["notes"])
    same(5, expected["source"])
    same(6, expected["deleted_at"])
    same(7, expected["position"])
    same(8, key.map(names).astype(object).where(key > 0, (-1 - key).map(custom).astype(object)))
    same(9, pd.Series(np.where(key.isna(), True, key > 0)))
    same(10, expected["set_type"])
    same(11, expected["weight_kg"])
    same(12, or_null(expected["reps"]))
    same(13, expected["duration_seconds_of_set"].astype(float))
    same(14, expected["distance_m"])
    same(15, expected["rpe"].astype(float))
    same(16, or_null(expected["superset"]))
    same(17, expected["notes_of_set"])

    events = block.frame("onboarding_events").set_index("event_id")
    user_of = dict(rows(database, "select user_key, user_id from app.users"))
    with database.connect() as connection:
        cursor = connection.execute("select * from app.onboarding_events")
        found = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
    found["event_id"] = found["event_id"].astype(str)
    found = found.set_index("event_id").loc[events.index]
    for column in ("step", "event_type", "error_code", "anonymous_id", "session_id", "platform", "app_version", "traceparent", "flow"):
        assert found[column].fillna("").tolist() == events[column].fillna("").tolist(), column
    for column in ("occurred_at", "received_at"):
        assert (found[column] == events[column]).all(), column
    assert found["user_key"].map(user_of).fillna("").tolist() == events["user"].map(users).fillna("").tolist()
    assert found["duration_ms"].fillna(-1).tolist() == events["duration_ms"].tolist()


def test_profiles_keep_their_lists_and_nulls(database: Database) -> None:
    load_population(database.url, some_blocks(80))
    (first,) = rows(
        database, "select p.place, p.equipment, p.gym_equipment, p.limitations from app.profiles p join app.users using (user_key) limit 1"
    )
    assert "barbell" in first[1]
    assert isinstance(first[3], list)
    assert rows(database, "select count(*) from app.profiles where weekdays is null")[0][0] > 5
    assert rows(database, "select count(*) from app.profiles where plates->>'unit' = 'kg'")[0][0] > 0
    assert rows(database, "select count(*) from app.profiles where 7 = any(weekdays) or 0 = any(weekdays)")[0][0] < 80
    assert rows(database, "select count(*) from app.profiles where not weekdays <@ '{1,2,3,4,5,6,7}'")[0][0] == 0


def test_loading_twice_adds_nothing_and_says_so(database: Database) -> None:
    first = load_population(database.url, some_blocks(80))
    before = (
        counts(database),
        rows(database, "select sum(xid::text::bigint) from app.workouts"),
        rows(database, "table app.workout_deletions"),
    )
    again = load_population(database.url, some_blocks(80))
    assert (again.users, again.workouts, again.sets, again.onboarding_events, again.skipped_users) == (0, 0, 0, 0, 80)
    assert "80 users were there already" in str(again)
    assert "there already" not in str(first)
    after = (
        counts(database),
        rows(database, "select sum(xid::text::bigint) from app.workouts"),
        rows(database, "table app.workout_deletions"),
    )
    assert after == before


def test_a_bigger_population_adds_only_the_users_that_are_new(database: Database) -> None:
    load_population(database.url, some_blocks(50))
    more = load_population(database.url, some_blocks(120, block_users=60))
    assert (more.users, more.skipped_users) == (70, 50)
    in_parts = counts(database)
    with connect(database.url, autocommit=True) as connection:
        connection.execute("delete from app.workouts")
        connection.execute("delete from app.users")
        connection.execute("delete from app.onboarding_events")
    load_population(database.url, some_blocks(120))
    assert counts(database) == in_parts


def test_a_user_that_the_app_made_is_left_alone(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id, time_zone) values ('test_user', 'Asia/Tokyo')")
    report = load_population(database.url, some_blocks(40))
    assert report.skipped_users == 1
    query = "select u.time_zone, (select count(*) from app.workouts w where w.user_key = u.user_key) from app.users u where u.user_id = 'test_user'"
    assert rows(database, query) == [("Asia/Tokyo", 0)]
    assert rows(
        database, "select count(*) from app.onboarding_events e join app.users u using (user_key) where u.user_id = 'test_user'"
    ) == [(0,)]


def test_a_first_load_leaves_the_schema_as_it_was(database: Database) -> None:
    before = schema_of_sets(database)
    load_population(database.url, some_blocks(40))
    assert schema_of_sets(database) == before
    with database.connect() as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("insert into app.workout_sets (workout_key, position, exercise_key, reps) values (-5, 0, 1, 5)")
    with database.connect() as connection:
        connection.execute("update app.workouts set xid = xid")  # stamped by another transaction from now on
        (key,) = connection.execute("select min(workout_key) from app.workouts").fetchone() or (None,)
        old = connection.execute("select xid::text from app.workouts where workout_key = %s", [key]).fetchone()
        connection.execute("insert into app.workout_sets (workout_key, position, exercise_key, reps) values (%s, 900, 1, 5)", [key])
        assert connection.execute("select xid::text from app.workouts where workout_key = %s", [key]).fetchone() != old


def test_a_first_load_that_fails_leaves_nothing_and_the_schema_whole(database: Database) -> None:
    before = schema_of_sets(database)

    def broken() -> Iterator[Population]:
        yield from some_blocks(40)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        load_population(database.url, broken())
    assert counts(database)["users"] == 0
    assert counts(database)["workout_sets"] == 0
    assert schema_of_sets(database) == before


def test_impossible_sets_are_refused_although_keys_are_checked_late(database: Database) -> None:
    (block,) = some_blocks(40)
    block.sets["exercise_key"][:] = 99_999
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        load_population(database.url, [block])
    assert counts(database)["users"] == 0


def test_a_later_load_that_fails_keeps_the_blocks_before_it_and_goes_on_next_time(database: Database) -> None:
    load_population(database.url, some_blocks(10))

    def broken() -> Iterator[Population]:
        for number, block in enumerate(some_blocks(120)):
            if number == 2:
                raise OSError("the disk is gone")
            yield block

    with pytest.raises(OSError, match="the disk is gone"):
        load_population(database.url, broken())
    assert counts(database)["users"] == 80
    assert load_population(database.url, some_blocks(120)).users == 40


def test_a_load_goes_around_somebody_who_reads_the_tables(database: Database) -> None:
    before = schema_of_sets(database)
    with database.connect(autocommit=False) as reader:
        assert reader.execute("select count(*) from app.workout_sets").fetchone() == (0,)  # holds its lock until the end
        report: list[PopulationReport] = []
        loader = threading.Thread(target=lambda: report.append(load_population(database.url, some_blocks(40))))
        loader.start()
        loader.join(60)
        assert not loader.is_alive()
    assert report[0].users == 40
    assert counts(database)["workout_sets"] == report[0].sets > 0
    assert schema_of_sets(database) == before


def test_keys_given_to_others_meanwhile_do_not_collide(database: Database) -> None:
    load_population(database.url, some_blocks(20))
    with database.connect() as connection:
        user_key = connection.execute("insert into app.users (user_id) values ('ann') returning user_key").fetchone()
        connection.execute("insert into app.workouts (user_key, started_at) values (%s, '2024-03-01 10:00Z')", user_key)
    assert load_population(database.url, some_blocks(60)).users == 40


def test_the_sample_contains_the_documented_users_and_reports_its_progress(database: Database) -> None:
    seen: list[int] = []
    report = load_sample(database.url, UNTIL, lambda done: seen.append(done.users), users=600)
    assert seen == [500, 600]
    assert report.users == 600
    active = rows(
        database,
        "select user_id, count(*) > 20 from app.users join app.workouts using (user_key) where user_id in ('test', 'test_user') group by 1 order by 1",
    )
    assert active == [("test", True), ("test_user", True)]
    assert rows(database, "select count(distinct time_zone) > 10 from app.users") == [(True,)]


def test_columns_of_every_kind_survive_the_binary_copy(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "create table app.kinds (a smallint, b integer, c bigint, d real, e double precision, f text, g timestamptz, h uuid, i boolean)"
        )
        identifier = UUID("0190c2f0-0000-7000-8000-00000000ff00")
        columns = {
            "a": np.array([-5, 7, 32767], dtype=np.int16),
            "b": np.array([-1, 0, 2**31 - 1], dtype=np.int32),
            "c": np.array([-(2**62), 1, 2**62]),
            "d": np.array([np.nan, 0.5, -2.25], dtype=np.float32),
            "e": np.array([0.1, np.nan, 1e300]),
            "f": np.array(["", "grüße\n\t\\.".encode(), b"x"], dtype="S"),
            "g": np.array(["NaT", "1969-12-31T23:59:59.000001", "2026-11-23T18:30:00"], dtype="datetime64[us]"),
            "h": np.array([identifier.bytes] * 3, dtype="V16"),
            "i": np.array([True, False, True]),
        }
        assert copy_columns(connection, "app.kinds", columns, nullable=("b", "f")) == 3
        found = connection.execute("select * from app.kinds order by c").fetchall()
    assert found == [
        (-5, None, -(2**62), None, 0.1, None, None, identifier, True),
        (7, 0, 1, 0.5, None, "grüße\n\t\\.", datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), identifier, False),
        (32767, 2**31 - 1, 2**62, -2.25, 1e300, "x", datetime(2026, 11, 23, 18, 30, tzinfo=UTC), identifier, True),
    ]


def test_copying_no_row_or_very_many_works(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("create table app.numbers (n bigint, word text)")
        assert copy_columns(connection, "app.numbers", {"n": np.zeros(0, dtype=np.int64), "word": np.zeros(0, dtype="S3")}) == 0
        many = np.arange(120_001)
        copy_columns(connection, "app.numbers", {"n": many, "word": many.astype("S")})
        query = "select count(*), sum(n)::bigint, bool_and(word = n::text) from app.numbers"
        assert connection.execute(query).fetchone() == (120_001, int(many.sum()), True)
