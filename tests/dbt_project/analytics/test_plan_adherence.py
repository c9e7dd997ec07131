"""Planned against done: sessions, exercises, loads."""

import datetime
from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.dbt_project.analytics.conftest import AS_OF
from tests.dbt_project.analytics.oracle import frame
from tests.dbt_project.analytics.plans import add_plan
from tests.dbt_project.population import add_exercises, add_user, add_workout
from tests.dbt_project.support import run_dbt

MONDAY = datetime.date(2025, 6, 23)
BENCH, SQUAT, PULL_UP, ROW = 1, 2, 3, 6


def at(day: datetime.date, hour: int = 12) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(hour), datetime.UTC)


def rows(connection: psycopg.Connection, user: int) -> list[dict[str, Any]]:
    found = frame(connection, f"select * from marts.plan_adherence where user_key = {user} order by session_on, slot")
    return found.astype(object).where(found.notna(), None).to_dict("records")


@pytest.fixture(scope="module")
def built(module_database: Database) -> tuple[Database, int]:
    """One user, two sessions a week (Monday: bench and squat, Thursday: row and pull-up), built on Wednesday of the second week."""
    with module_database.connect() as connection:
        add_exercises(connection)
        user = add_user(connection, "ann")
        connection.execute(
            "insert into app.exercises (exercise_id, user_key, name, primary_muscles) values ('my-secret-move', %s, 'My secret move', '{chest}')",
            [user],
        )
        connection.execute("update app.exercises set exercise_key = 100001 where user_key = %s", [user])
        monday = [(BENCH, 3, 5, 8, 80.0), (SQUAT, 4, 5, 8, 100.0)]
        thursday = [(ROW, 3, 8, 12, 60.0), (PULL_UP, 2, 5, 10, None), (100001, 1, 8, 12, 20.0)]
        add_plan(connection, user, MONDAY, [(0, monday), (3, thursday)])
        # Monday's session on Tuesday, squat left out, bench heavier than asked for, a warm-up that doesn't count.
        sets = [
            (1, BENCH, "warmup", 40, 10, None, None, None),
            (2, BENCH, "normal", 84, 6, None, None, None),
            (3, BENCH, "normal", 80, 5, None, None, None),
        ]
        add_workout(connection, user, at(MONDAY + datetime.timedelta(days=1)), sets)
        # Thursday's session three days late serves nothing; next Monday's is done as planned.
        add_workout(connection, user, at(MONDAY + datetime.timedelta(days=6), 1), [(1, ROW, "normal", 60, 10, None, None, None)])
        # On its own day two of its three exercises were warmed up for, and no more.
        warmups = [(number, exercise, "warmup", 20, 10, None, None, None) for number, exercise in enumerate((ROW, PULL_UP))]
        add_workout(connection, user, at(MONDAY + datetime.timedelta(days=3)), warmups)
        planned = [(n, BENCH, "normal", 80, 8, None, None, None) for n in range(3)] + [
            (n, SQUAT, "normal", 90, 8, None, None, None) for n in range(3, 7)
        ]
        add_workout(connection, user, at(MONDAY + datetime.timedelta(days=7)), planned)
    run_dbt(module_database, "build", "--indirect-selection", "cautious", "--select", "+plan_adherence", as_of=AS_OF)
    return module_database, user


def test_every_prescription_up_to_today_has_a_row(built: tuple[Database, int]) -> None:
    database, user = built
    with database.connect() as connection:
        found = rows(connection, user)
    days = [(row["session_on"], row["exercise_key"]) for row in found]
    first = [(MONDAY, BENCH), (MONDAY, SQUAT)]
    thursday = MONDAY + datetime.timedelta(days=3)
    second = [(MONDAY + datetime.timedelta(days=7), BENCH), (MONDAY + datetime.timedelta(days=7), SQUAT)]
    assert days == [*first, (thursday, ROW), (thursday, PULL_UP), (thursday, 100001), *second]


def test_a_session_moved_by_a_day_is_done_and_a_missing_exercise_of_it_is_not(built: tuple[Database, int]) -> None:
    database, user = built
    with database.connect() as connection:
        bench, squat = rows(connection, user)[:2]
    assert (bench["is_session_done"], bench["days_off"], bench["is_exercise_done"]) == (True, 1, True)
    assert (bench["planned_sets"], bench["done_sets"], bench["done_reps_per_set"]) == (3, 2, 5.5)
    assert (bench["planned_load_kg"], bench["done_load_kg"]) == (80, 84)
    assert bench["load_deviation_pct"] == pytest.approx(5)
    assert (squat["is_session_done"], squat["is_exercise_done"], squat["done_sets"]) == (True, False, 0)
    assert squat["done_load_kg"] is None
    assert squat["load_deviation_pct"] is None


def test_a_session_that_came_too_late_or_was_only_warmed_up_for_was_missed(built: tuple[Database, int]) -> None:
    database, user = built
    with database.connect() as connection:
        thursday = rows(connection, user)[2:5]
    assert not any(row["is_session_done"] or row["is_exercise_done"] for row in thursday)
    assert [row["days_off"] for row in thursday] == [None] * 3
    assert [row["planned_load_kg"] for row in thursday] == [60, None, 20]


def test_an_exercise_of_a_user_is_not_told_by_its_name(built: tuple[Database, int]) -> None:
    database, user = built
    with database.connect() as connection:
        assert [row["exercise_name"] for row in rows(connection, user)[2:5]] == ["Row", "Pull Up", "(custom exercise)"]


def test_loads_below_the_plan_deviate_downwards(built: tuple[Database, int]) -> None:
    database, user = built
    with database.connect() as connection:
        bench, squat = rows(connection, user)[5:]
    assert bench["load_deviation_pct"] == pytest.approx(0)
    assert squat["load_deviation_pct"] == pytest.approx(-10)
    assert (squat["days_off"], squat["done_sets"]) == (0, 4)


def test_rows_say_what_the_summary_says(built: tuple[Database, int]) -> None:
    database, user = built
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", "+user_summary")
    with database.connect() as connection:
        summary = connection.execute(
            "select planned_sessions, completed_sessions from marts.user_summary where range = '30d' and user_key = %s", [user]
        ).fetchone()
        sessions = connection.execute(
            "select count(distinct (plan_id, week, session)), count(distinct (plan_id, week, session)) filter (where is_session_done)"
            " from marts.plan_adherence where user_key = %s",
            [user],
        ).fetchone()
    assert summary == sessions == (3, 2)
