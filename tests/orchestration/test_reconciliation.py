"""The second implementation agrees with the marts, and finds what was made wrong."""

import datetime

import pytest

from database.connection import Role
from orchestration.defs.dbt.reconciliation import (
    user_days_totals_agree_with_raw_rows,
    user_summary_agrees_with_raw_rows,
    user_weeks_agree_with_raw_rows,
)
from orchestration.reconciliation import (
    compare,
    compare_totals,
    read_marts,
    read_raw,
    reconcile,
    reconcile_weeks,
    sample,
    summarise,
)
from orchestration.resources import Warehouse
from tests.dbt_project import population
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def built(module_database):
    with module_database.connect() as connection:
        population.add_population(connection, seed=21, users=25, workouts_each=25, as_of=AS_OF)
    run_dbt(module_database, "run", "--select", "+user_summary", "+user_weeks", as_of=AS_OF)
    return module_database


def test_it_agrees_with_the_marts(built):
    with built.connect() as connection:
        result = reconcile(connection, rotation=1)
        assert result.users == 25 and result.rows == 125
        assert result.agrees, result.examples
        assert all(raw == mart for raw, mart in compare_totals(connection).values())


def test_each_rotation_takes_other_users(built):
    with built.connect() as connection:
        samples = {tuple(sample(connection, rotation, 5)) for rotation in range(6)}
    assert len(samples) > 3


def test_a_wrong_number_is_found_and_named_by_column(built):
    with built.connect() as connection:
        keys = sample(connection, 0, 25)
        actual = read_marts(connection, keys)
        expected = summarise(*read_raw(connection, keys), keys)
    actual.loc[(keys[3], "30d"), "sets"] += 1
    result = compare(expected, actual.drop((keys[4], "7d")), len(keys))
    assert result.differences["sets"] == 2 and result.differences["reps"] == 1
    assert any(f"user_key {keys[3]}, 30d, sets" in example for example in result.examples)


def test_the_weeks_agree_and_a_wrong_one_is_found(built):
    with built.connect(autocommit=False) as connection:
        result = reconcile_weeks(connection, rotation=1)
        assert result.agrees and result.rows > 100, result.examples
        connection.execute(
            "update marts.user_weeks set volume_kg = volume_kg + 1 where (user_key, week_on) = (select user_key, min(week_on) from marts.user_weeks group by 1 limit 1)"
        )
        assert reconcile_weeks(connection, rotation=1).differences["volume_kg"] == 1
        connection.rollback()


def test_a_user_with_unseen_changes_is_left_out(built):
    with built.connect() as connection:
        (key,) = connection.execute("select max(user_key) from app.users").fetchone()
        population.add_workout(connection, key, AS_OF, [(0, 1, "normal", 100, 5, None, None, None)])
        assert key not in sample(connection, 0, 100)
        assert reconcile(connection, rotation=0).agrees


@pytest.mark.parametrize(
    "change",
    [
        "delete from app.workout_sets where (workout_key, position) = (select workout_key, min(position) from app.workout_sets group by 1 limit 1)",
        "delete from app.workouts where workout_key = (select min(workout_key) from intermediate.exercise_sessions)",
        "update app.workouts set user_key = (select max(user_key) from app.users) where user_key = (select min(user_key) from app.users)",
        "delete from app.users where user_key = (select min(user_key) from app.users)",
    ],
)
def test_an_edit_since_the_last_build_is_no_difference(built, change):
    with built.connect(autocommit=False) as connection:
        before = compare_totals(connection)
        connection.execute(change)
        after = compare_totals(connection)
        assert all(raw == mart > 0 for raw, mart in after.values()) and after != before
        assert reconcile(connection, rotation=1).agrees
        connection.rollback()


def test_the_asset_checks_pass_and_say_how_much_they_compared(built):
    warehouse = Warehouse(owner_url=built.url, pipeline_url=built.urls[Role.PIPELINE])
    summary = user_summary_agrees_with_raw_rows(warehouse)
    days = user_days_totals_agree_with_raw_rows(warehouse)
    weeks = user_weeks_agree_with_raw_rows(warehouse)
    assert summary.passed and days.passed and weeks.passed
    assert summary.metadata["rows"].value >= 5
