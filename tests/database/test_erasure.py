"""Who is forgotten is gone from every schema at once, others stay as they are, and the marts are right afterwards."""

import datetime
import json

import pytest

from database.catalogue import publish_catalogue
from database.connection import Role
from database.erasure import ErasureIncomplete, forget, forget_requested, traces
from database.plans import regenerate
from tests.dbt_project import oracle, population
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def built(module_database):
    with module_database.connect() as connection:
        publish_catalogue(connection)
        population.add_population(connection, seed=5, users=8, workouts_each=15, as_of=AS_OF)
        connection.execute("insert into app.profiles (user_key) select user_key from app.users")
        connection.execute("insert into app.identity_links (anonymous_id, user_key) select 'device-' || user_key, user_key from app.users")
        connection.execute(
            "insert into app.onboarding_events (event_id, anonymous_id, step, event_type, occurred_at)"
            " select gen_random_uuid(), anonymous_id, 'welcome', 'started', %s from app.identity_links",
            [AS_OF],
        )
        connection.execute(
            "insert into app.usage_events (event_id, user_key, feature, occurred_at) select gen_random_uuid(), user_key, 'dashboard', %s from app.users",
            [AS_OF],
        )
        connection.execute(
            "insert into app.exercises (exercise_id, user_key, name) select 'own-' || user_key, user_key, 'Secret Lift' from app.users"
        )
        connection.execute(
            "insert into app.workout_sets (workout_key, position, exercise_key, reps)"
            " select workout_key, 99, exercise_key, 5 from app.workouts join app.exercises using (user_key)"
        )
        connection.execute(
            "insert into app.rejected_rows (source, user_key, raw_text, reason) select 'strong', user_key, 'a name', 'no date' from app.users"
        )
        connection.execute(  # as the API keeps an event that it refuses
            "insert into app.rejected_rows (source, raw_text, reason)"
            " select 'onboarding', '{\"eventId\":\"1\",\"userId\":' || to_json(user_id) || '}', 'no step' from app.users"
            " union all select 'onboarding', '{\"anonymousId\":\"' || anonymous_id || '\",\"step\":3}', 'no step' from app.identity_links"
        )
    regenerate(module_database.url, as_of=AS_OF)
    run_dbt(module_database, "seed")
    run_dbt(module_database, "run", as_of=AS_OF)
    return module_database


def user_of(database, number):
    with database.connect() as connection:
        return connection.execute("select user_id, user_key from app.users order by user_key offset %s limit 1", [number]).fetchone()


def test_everything_about_the_user_is_gone_at_once_and_others_keep_theirs(built):
    user_id, key = user_of(built, 0)
    _, other = user_of(built, 1)
    with built.connect() as connection:
        before = traces(connection, other)
        mine = traces(connection, key)
        assert {"marts.user_summary", "marts.personal_records", "marts.user_payloads", "plans.plans", "app.workouts"} <= mine.keys()

    def refused_events():
        with built.connect() as connection:
            return {row[0] for row in connection.execute("select raw_text from app.rejected_rows where source = 'onboarding'")}

    refused_before = refused_events()
    removed = forget(built.url, user_id)
    assert removed.keys() >= mine.keys()
    assert refused_before - refused_events() == {
        json.dumps({"eventId": "1", "userId": user_id}, separators=(",", ":")),
        json.dumps({"anonymousId": f"device-{key}", "step": 3}, separators=(",", ":")),
    }
    with built.connect() as connection:
        assert traces(connection, key) == {}
        assert traces(connection, other) == before
        assert connection.execute("select count(*) from app.users where user_id = %s", [user_id]).fetchone() == (0,)
        assert connection.execute("select count(*) from app.onboarding_events where anonymous_id = %s", [f"device-{key}"]).fetchone() == (
            0,
        )
        assert connection.execute("select count(*) from app.exercises where exercise_id = %s", [f"own-{key}"]).fetchone() == (0,)
        proof = connection.execute(
            "select user_id, finished_at is not null, removed from app.erasures where user_key = %s", [key]
        ).fetchone()
    assert proof[:2] == (None, True)
    assert proof[2]["found_afterwards"] == 0 and proof[2]["rows"]["marts.user_summary"] == 5


def test_the_next_build_counts_without_the_forgotten_user_and_brings_nothing_back(built):
    user_id, key = user_of(built, 0)
    people = "select coalesce(sum(entered), 0) from marts.onboarding_funnel where position = 1 and segment_by = '(all)' and grain = 'day'"
    with built.connect() as connection:
        (entered,) = connection.execute(people).fetchone()
    forget(built.url, user_id)
    run_dbt(built, "run", as_of=AS_OF)
    with built.connect() as connection:
        assert traces(connection, key) == {}
        assert oracle.differences(connection, AS_OF) == []
        incremental = connection.execute("select * from marts.onboarding_funnel order by 1, 2, 3, 4, 5, 6, 7").fetchall()
        assert connection.execute(people).fetchone()[0] < entered
    run_dbt(built, "run", "--full-refresh")
    with built.connect() as connection:
        assert connection.execute("select * from marts.onboarding_funnel order by 1, 2, 3, 4, 5, 6, 7").fetchall() == incremental
        assert oracle.differences(connection, AS_OF) == []


def test_a_row_in_erasures_is_a_request(built):
    user_id, key = user_of(built, 0)
    with built.connect(Role.API) as connection:
        connection.execute("insert into app.erasures (user_id) values (%s)", [user_id])
    assert forget_requested(built.url) == 1
    assert forget_requested(built.url) == 0
    with built.connect() as connection:
        assert traces(connection, key) == {}
        assert connection.execute("select user_id, user_key from app.erasures where user_key = %s", [key]).fetchall() == [(None, key)]


def test_several_requests_are_one_transaction_with_a_proof_each(built):
    (first, first_key), (second, second_key) = user_of(built, 0), user_of(built, 1)
    with built.connect() as connection:
        connection.execute("insert into app.erasures (user_id) values (%s), (%s), ('nobody-ever')", [first, second])
    assert forget_requested(built.url) == 3
    with built.connect() as connection:
        assert traces(connection, first_key) == traces(connection, second_key) == {}
        proofs = connection.execute(
            "select user_key, finished_at, (removed -> 'rows' ->> 'marts.user_summary')::int from app.erasures order by erasure_key"
        ).fetchall()
    assert [(key, rows) for key, _, rows in proofs[-3:]] == [(first_key, 5), (second_key, 5), (None, None)]
    assert len({finished_at for _, finished_at, _ in proofs[-3:]}) == 1


def test_a_request_that_fails_stays_open_and_does_not_hold_up_the_others(built):
    (first, first_key), (second, second_key) = user_of(built, 0), user_of(built, 1)
    with built.connect() as connection:
        connection.execute("insert into app.erasures (user_id) values (%s), (%s)", [first, second])
        connection.execute("create table ops.notes as select user_key from app.users where user_key = %s", [first_key])
    with pytest.raises(ExceptionGroup, match="1 of 2 erasures failed") as failed:
        forget_requested(built.url)
    assert failed.group_contains(ErasureIncomplete, match=r"ops\.notes")
    with built.connect() as connection:
        assert traces(connection, second_key) == {}
        assert connection.execute("select user_id from app.erasures where finished_at is null").fetchall() == [(first,)]
        connection.execute("drop table ops.notes")
    assert forget_requested(built.url) == 1


def test_an_unknown_user_leaves_a_proof_without_rows(built):
    assert forget(built.url, "nobody-ever") == {}


def test_nothing_is_removed_where_something_would_stay(built):
    user_id, key = user_of(built, 0)
    with built.connect() as connection:
        connection.execute("create materialized view marts.copied as select user_key from app.users with data")
        connection.execute("create table ops.notes as select user_key, 'text' as note from app.users")
        try:
            with pytest.raises(Exception, match=r"ops\.notes|concurrently"):
                forget(built.url, user_id)
        finally:
            connection.execute("drop materialized view marts.copied")
        with pytest.raises(ErasureIncomplete, match=r"ops\.notes"):
            forget(built.url, user_id)
        connection.execute("drop table ops.notes")
        connection.execute("create table ops.people as select app.anonymous_key(anonymous_id) as person_key from app.identity_links")
        with pytest.raises(ErasureIncomplete, match=r"ops\.people"):
            forget(built.url, user_id)
        connection.execute("drop table ops.people")
        assert traces(connection, key)["marts.user_summary"] == 5
