"""user_summary and personal_records hold what an independent computation from raw rows says, after full and partial builds."""

import datetime
import random
import time

import psycopg
import pytest

from database.catalogue import publish_catalogue
from database.plans import regenerate
from tests.dbt_project import oracle, population
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)
CHAIN = ("run", "--select", "+user_summary", "+personal_records", "+user_payloads")


@pytest.fixture(scope="module")
def built(module_database):
    with module_database.connect() as connection:
        population.add_exercises(connection)
        long_ago = population.add_user(connection, "long-ago")
        for day in (datetime.datetime(2000, 12, 28, 12, tzinfo=datetime.UTC), datetime.datetime(2001, 1, 4, 12, tzinfo=datetime.UTC)):
            population.add_workout(connection, long_ago, day, [(0, 1, "normal", 60, 5, None, None, None)])
        population.add_population(connection, seed=7, users=40, workouts_each=40, as_of=AS_OF)
    run_dbt(module_database, *CHAIN, as_of=AS_OF)
    return module_database


def test_a_first_build_agrees_with_the_independent_computation(built):
    with built.connect() as connection:
        assert connection.execute("select count(*) from marts.personal_records").fetchone()[0] > 200
        assert oracle.differences(connection, AS_OF) == []


def test_weeks_before_2001_are_weeks_too(built):
    with built.connect() as connection:
        found = connection.execute(
            "select longest_streak_weeks, current_streak_weeks from marts.user_summary join app.users using (user_key)"
            " where user_id = 'long-ago' and range = 'all'"
        ).fetchone()
    assert found == (2, 0)


def test_both_are_materialised_views_with_a_unique_index(built):
    with built.connect() as connection:
        found = connection.execute(
            "select c.relname, c.relkind, count(*) filter (where i.indisunique) from pg_class c join pg_index i on i.indrelid = c.oid"
            " where c.oid in ('marts.user_summary'::regclass, 'marts.personal_records'::regclass) group by 1, 2 order by 1"
        ).fetchall()
    assert found == [("personal_records", "m", 1), ("user_summary", "m", 1)]


def test_a_build_looks_only_at_what_a_change_concerns(built):
    with built.connect() as connection:
        user = connection.execute("select min(user_key) from app.users").fetchone()[0]
        population.add_workout(connection, user, AS_OF - datetime.timedelta(hours=2), [(0, 1, "normal", 60, 5, None, None, None)])
        done = {result.node.name: result.message for result in run_dbt(built, *CHAIN, as_of=AS_OF).result.results}
        behind = connection.execute(
            "select count(*) from staging.model_state where consumed_batch < (select batch from staging.change_cursor)"
        ).fetchone()
        assert done["user_zones"] == done["stg_workouts"] == "unchanged" != done["exercise_sessions"]
        assert behind == (0,)
        assert oracle.differences(connection, AS_OF) == []


def rows_read(connection: psycopg.Connection) -> dict[str, int]:
    """By table, since its statistics began."""
    connection.execute("select pg_stat_clear_snapshot()")
    return dict(
        connection.execute(
            "select schemaname || '.' || relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
        ).fetchall()
    )


def test_a_build_after_one_workout_reads_its_users_rows_only(built, monkeypatch):
    """Joins look rows up, as they do where tables are large: what is read in full all the same has no way to be looked up."""
    maintained = ("run", "--select", "+user_payloads", "--exclude", "config.materialized:materialized_view")
    tables = ("intermediate.exercise_sessions", "intermediate.personal_record_events", "marts.user_days", "intermediate.user_range_totals")
    with built.connect() as connection:
        run_dbt(built, *maintained, as_of=AS_OF)
        user = connection.execute("select min(user_key) + 3 from app.users").fetchone()[0]
        population.add_workout(connection, user, AS_OF - datetime.timedelta(hours=3), [(0, 1, "normal", 60, 5, None, None, None)])
        before = rows_read(connection)
        monkeypatch.setenv("PGOPTIONS", " ".join(f"-c enable_{way}=off" for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan")))
        run_dbt(built, *maintained, as_of=AS_OF)
        monkeypatch.delenv("PGOPTIONS")
        time.sleep(0.5)  # sessions that end report what they read
        read = rows_read(connection)
        for table in tables:
            rows, own = connection.execute(f"select count(*), count(*) filter (where user_key = %s) from {table}", [user]).fetchone()
            assert 0 < read[table] - before[table] < 12 * own < rows / 1.5, table


EARLIER_AND_LATER = {
    "an exercise becomes assisted": "update app.exercises set load_type = 'assisted' where exercise_key = 1",
    "and is lifted again": "update app.exercises set load_type = 'external' where exercise_key = 1",
    "last workouts were done two years before": """
        update app.workouts set started_at = started_at - interval '2 years'
        where workout_key in (select distinct on (user_key) workout_key from app.workouts order by user_key, started_at desc)""",
    "first workouts were none": """
        delete from app.workouts
        where workout_key in (select distinct on (user_key) workout_key from app.workouts order by user_key, started_at)""",
    "the heaviest sets were lighter": """
        update app.workout_sets set weight_kg = weight_kg / 2
        where (workout_key, position) in (select workout_key, position from app.workout_sets order by weight_kg desc nulls last limit 30)""",
    "first weights had only been held": """
        update app.workout_sets set weight_kg = null, reps = null, duration_seconds = 30
        where (workout_key, exercise_key) in (
            select distinct on (user_key, exercise_key) workout_key, exercise_key from app.workout_sets join app.workouts using (workout_key)
            order by user_key, exercise_key, started_at)""",
}


def test_records_follow_whatever_changes_between_old_sessions(built):
    """A build reads no session from before the first change: what is stored must say the same."""
    events = "select to_jsonb(e) from intermediate.personal_record_events e order by user_key, exercise_key, workout_key"
    with built.connect() as connection:
        for what, statement in EARLIER_AND_LATER.items():
            before = connection.execute(events).fetchall()
            connection.execute(statement)
            run_dbt(built, *CHAIN, as_of=AS_OF)
            assert oracle.differences(connection, AS_OF) == [], what
            partial = connection.execute(events).fetchall()
            run_dbt(built, *CHAIN, "--full-refresh", as_of=AS_OF)
            assert before != partial == connection.execute(events).fetchall(), what


def test_a_table_is_built_anew_where_most_of_its_keys_changed_and_only_there(built):
    rebuilt = "select model from staging.model_state where rebuilt_at > %s order by model"
    small_tables_too = ("--vars", "{rebuild_from_rows: 0}")
    with built.connect() as connection:
        (before,) = connection.execute("select clock_timestamp()").fetchone()
        user = connection.execute("select min(user_key) from app.users").fetchone()[0]
        population.add_workout(connection, user, AS_OF - datetime.timedelta(hours=1), [(0, 1, "normal", 60, 5, None, None, None)])
        run_dbt(built, *CHAIN, *small_tables_too, as_of=AS_OF)
        assert connection.execute(rebuilt, [before]).fetchall() == []
        run_dbt(built, *CHAIN, *small_tables_too, as_of=AS_OF + datetime.timedelta(days=1))
        models = {model for (model,) in connection.execute(rebuilt, [before])}
        assert models >= {"user_range_totals", "user_range_exercises", "user_payloads"} and not models & {"exercise_sessions", "user_days"}
        assert oracle.differences(connection, AS_OF + datetime.timedelta(days=1)) == []


def test_a_build_that_finds_nothing_opens_fewer_connections_than_it_has_models(built):
    opened = "select sessions from pg_stat_database where datname = current_database()"
    run_dbt(built, *CHAIN, as_of=AS_OF)
    with built.connect() as connection:
        before = connection.execute(opened).fetchone()[0]
        models = [result for result in run_dbt(built, *CHAIN, as_of=AS_OF).result.results if result.node.resource_type == "model"]
        connection.execute("select pg_stat_clear_snapshot()")
        assert connection.execute(opened).fetchone()[0] - before < len(models) > 20
        assert {model.message for model in models if model.node.config.materialized == "maintained_table"} == {"unchanged"}


def test_planned_sessions_are_completed_by_workouts_within_a_day_each_serving_one(database):
    with database.connect() as connection:
        publish_catalogue(connection)
        users = [population.add_user(connection, f"planned-{zone}", zone) for zone in population.ZONES]
        connection.execute("insert into app.profiles (user_key) select user_key from app.users")
    for days in (40, 12):
        regenerate(database.url, as_of=AS_OF - datetime.timedelta(days=days))
    dice = random.Random(3)
    with database.connect() as connection:
        sessions = connection.execute("select user_key, session_on, exercise_keys from plans.planned_sessions").fetchall()
        for user, date, exercises in sessions:
            for _ in range(dice.choice([0, 1, 1, 2])):
                share = dice.choice([0.3, 0.5, 0.7, 1])
                chosen = dice.sample(exercises, max(1, int(len(exercises) * share)))
                start = datetime.datetime.combine(date, datetime.time(12), datetime.UTC) + datetime.timedelta(
                    days=dice.choice([-2, -1, 0, 0, 1, 2])
                )
                population.add_workout(
                    connection, user, start, [(n, key, "normal", 50, 5, None, None, None) for n, key in enumerate(chosen)]
                )
        assert len(users) == 5 and len(sessions) > 40
    run_dbt(database, *CHAIN, as_of=AS_OF)
    with database.connect() as connection:
        assert (
            connection.execute(
                "select sum(completed_sessions), sum(planned_sessions) from marts.user_summary where range = 'all'"
            ).fetchone()[0]
            > 10
        )
        assert oracle.differences(connection, AS_OF) == []
    for later in (AS_OF + datetime.timedelta(days=3), AS_OF - datetime.timedelta(days=9)):
        run_dbt(database, *CHAIN, as_of=later)
        with database.connect() as connection:
            assert oracle.differences(connection, later) == []
    regenerate(database.url, as_of=AS_OF - datetime.timedelta(days=8), only_changed=False)
    run_dbt(database, *CHAIN, as_of=AS_OF)
    with database.connect() as connection:
        assert oracle.differences(connection, AS_OF) == []
