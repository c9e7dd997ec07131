"""An idle platform is known to be idle; every kind of change, also a late commit, wakes it."""

import datetime

import pytest

from database.connection import Role
from database.freshness import anything_changed, plans_moved
from database.planning_inputs import users_behind_state
from database.plans import regenerate
from orchestration.reconciliation import sample
from tests.dbt_project import population
from tests.dbt_project.support import run_dbt

CHAIN = ("run", "--select", "+user_summary", "+personal_records", "+user_payloads")


def now():
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def sources(module_database):
    with module_database.connect() as connection:
        assert anything_changed(connection)
        population.add_exercises(connection)
        user = population.add_user(connection, "somebody", "UTC")
        population.add_workout(connection, user, now() - datetime.timedelta(days=2), [(0, 1, "normal", 100, 5, None, None, None)])
        connection.execute(
            "insert into app.onboarding_events (event_id, anonymous_id, step, event_type, occurred_at)"
            " values (gen_random_uuid(), 'a', 'welcome', 'started', now())"
        )
    run_dbt(module_database, *CHAIN, as_of=now())
    return module_database


@pytest.fixture
def built(sources):
    """A platform with nothing to do: a run of these tests over midnight finds that a day passed, and builds."""
    if asked(sources):
        run_dbt(sources, *CHAIN, as_of=now())
    return sources


def asked(database, role=Role.PIPELINE):
    with database.connect(role) as connection:
        return anything_changed(connection)


def test_nothing_changed_after_a_build(built):
    assert not asked(built)


@pytest.mark.parametrize(
    "change",
    [
        "insert into app.users (user_id) values ('new')",
        "update app.users set time_zone = 'Asia/Tokyo' where user_id = 'somebody'",
        "update app.workout_sets set reps = reps + 1",
        "delete from app.workout_sets",
        "update app.workouts set deleted_at = now()",
        "delete from app.workouts",
        "update app.exercises set load_type = 'assisted' where exercise_key = 1",
    ],
)
def test_every_kind_of_change_is_seen_until_the_next_build(built, change):
    assert not asked(built)
    with built.connect() as connection:
        connection.execute(change)
    assert asked(built)
    run_dbt(built, *CHAIN, as_of=now())
    assert not asked(built)


def test_an_onboarding_event_that_was_removed_is_seen(built):
    with built.connect() as connection, connection.transaction(force_rollback=True):
        assert not anything_changed(connection)
        connection.execute("delete from app.onboarding_events")
        assert anything_changed(connection)


def test_a_transaction_that_commits_after_a_later_one_is_seen(built):
    early, late = built.connect(autocommit=False), built.connect()
    with early, late:
        early.execute("insert into app.users (user_id) values ('slow')")
        late.execute("insert into app.users (user_id) values ('quick')")
        run_dbt(built, *CHAIN, as_of=now())
        assert not asked(built)
        early.commit()
        assert asked(built)
    run_dbt(built, *CHAIN, as_of=now())
    with built.connect() as connection:
        assert connection.execute(
            "select count(*) from marts.user_summary join app.users using (user_key) where user_id = 'slow'"
        ).fetchone() == (5,)


def test_a_passing_day_is_seen(built):
    run_dbt(built, *CHAIN, as_of=now() - datetime.timedelta(days=1))
    assert asked(built)


def test_a_day_that_passes_in_one_zone_of_many_is_seen(built):
    this_hour = now().replace(minute=0, second=0, microsecond=0)

    def zone_at(hour):
        ahead = (hour - this_hour.hour) % 24
        return f"Etc/GMT-{ahead}" if ahead <= 12 else f"Etc/GMT+{24 - ahead}"

    with built.connect() as connection:
        connection.execute("update app.users set time_zone = %s", [zone_at(9)])
        for hour in (6, 12, 15, 18):
            connection.execute("insert into app.users (user_id, time_zone) values (%s, %s)", [f"at {hour}", zone_at(hour)])
        before_midnight = this_hour - datetime.timedelta(seconds=1)
        run_dbt(built, *CHAIN, as_of=before_midnight)
        assert not asked(built)
        connection.execute("insert into app.users (user_id, time_zone) values ('at midnight', %s)", [zone_at(0)])
        run_dbt(built, *CHAIN, as_of=before_midnight)
        assert asked(built)


def test_a_journey_whose_window_ends_is_seen_until_a_build_has_judged_it(built):
    onboarding = ("run", "--select", "+onboarding_funnel", *CHAIN[2:])
    with built.connect() as connection:
        connection.execute(
            "insert into app.onboarding_events (event_id, anonymous_id, step, event_type, occurred_at)"
            " values (gen_random_uuid(), 'b', 'welcome', 'started', now() - make_interval(secs => 1209600 + 30))"
        )
        status = "select status from marts.onboarding_journeys where matured_at < now()"
        run_dbt(built, "seed")
        run_dbt(built, *onboarding, as_of=now() - datetime.timedelta(seconds=60))
        assert connection.execute(status).fetchall() == [("in_progress",)]
        assert asked(built)
        run_dbt(built, *onboarding, as_of=now())
        assert connection.execute(status).fetchall() == [("dropped",)]
        assert not asked(built)


def test_a_build_that_failed_half_way_leaves_work(built):
    with built.connect() as connection:
        run_dbt(built, *CHAIN, as_of=now())
        assert not asked(built)
        connection.execute("update staging.model_state set consumed_batch = consumed_batch - 1 where model = 'user_payloads'")
    assert asked(built)


def test_plans_that_came_after_the_last_search_for_changes_are_seen(built):
    with built.connect(Role.PIPELINE) as connection:
        assert not plans_moved(connection)
        regenerate(built.urls[Role.PIPELINE], as_of=now())
        assert plans_moved(connection)


def test_questions_about_changes_read_no_large_table_whole(built):
    with built.connect() as connection:
        connection.execute("insert into app.users (user_id) select 'many-' || n from generate_series(1, 30000) n")
        connection.execute("insert into app.workouts (user_key, started_at) select user_key, now() - interval '3 days' from app.users")
        run_dbt(built, "seed")
        run_dbt(built, *CHAIN, "+training_state", "+onboarding_funnel", as_of=now())
        connection.execute("analyze app.users, app.workouts, intermediate.user_zones")
    with built.connect(Role.PIPELINE, autocommit=False) as connection:
        assert not anything_changed(connection)
        assert users_behind_state(connection).tolist() == []
        assert len(sample(connection, rotation=1, users=200)) == 200
        whole = "select relname from pg_stat_xact_user_tables where seq_tup_read > 5000"
        assert connection.execute(whole).fetchall() == [("changes",)], "the queue holds the last batch, which is everybody here"
