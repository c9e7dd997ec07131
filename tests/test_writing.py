"""The guide for the app's servers: each of its statements runs, as the role that it names, and does what it says."""

import itertools
import re

import psycopg
import pytest

from database.catalogue import publish_catalogue
from database.connection import Role
from tests.conftest import PROJECT, Database

STATEMENTS = re.findall(r"```sql\n(.+?)```", (PROJECT / "docs/writing.md").read_text(), flags=re.DOTALL)


def run_guide(database: Database) -> list[list[tuple[float | None, int]]]:
    """Every block of the guide as the app's role; after each, the working sets that count."""
    with database.connect() as owner:
        publish_catalogue(owner)
        counted = []
        for block in STATEMENTS:
            with database.connect(Role.APP) as app:
                app.execute(block)
            counted.append(
                owner.execute(
                    """
                    select weight_kg, reps from app.workouts join app.workout_sets using (workout_key)
                    where deleted_at is null and set_type <> 'warmup' order by position
                    """
                ).fetchall()
            )
    return counted


def test_the_guide_writes_what_it_says(database: Database) -> None:
    counted = run_guide(database)
    logged = [225 * 0.45359237] * 2
    assert [sets for before, sets in itertools.pairwise(counted) if sets != before] == [
        list(zip(logged, (5, 5), strict=True)),
        [],
    ]
    with database.connect() as owner:
        for table in ("users", "profiles", "usage_events", "identity_links", "erasures"):
            assert owner.execute(f"select count(*) from app.{table}").fetchone() == (1,), table
        assert owner.execute("select name from app.exercises where user_key is not null").fetchall() == [("Sandbag carry",)]


def test_what_is_sent_twice_is_there_once(database: Database) -> None:
    run_guide(database)
    workout = next(block for block in STATEMENTS if "'w-1001', '2024" in block)
    with database.connect(Role.APP) as app:
        for block in (*STATEMENTS[:3], workout, workout):
            app.execute(block)
        assert app.execute(
            "select count(distinct workout_key), count(*) from app.workouts join app.workout_sets using (workout_key)"
        ).fetchone() == (1, 3)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from plans.plans",
        "create table app.mine (a int)",
        "delete from app.onboarding_events",
        "update app.imports set source = 'app'",
        "delete from app.erasures",
        "insert into app.time_zones values ('Mars/Olympus')",
    ],
)
def test_the_apps_role_may_touch_nothing_else(database: Database, statement: str) -> None:
    with database.connect(Role.APP) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
