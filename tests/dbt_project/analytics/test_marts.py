"""Marts for analysts against plain pandas over the raw rows, and kept true by every kind of change."""

import datetime
import operator
import random

import numpy as np
import psycopg
import pytest

from domain.planning.reasons import REFUSALS
from tests.conftest import Database
from tests.dbt_project.analytics import oracle
from tests.dbt_project.analytics.conftest import AS_OF, MARTS, add_activity, add_opening
from tests.dbt_project.population import ZONES, add_user, add_workout
from tests.dbt_project.support import run_dbt, statuses

DAY = datetime.timedelta(days=1)


def activity(connection: psycopg.Connection) -> dict:
    return {
        (user, date): {
            "workouts": workouts, "sets": sets, "dashboard": dashboard, "records": records, "plan": plan, "workout": workout,
            "opens": opens, "platform": platform, "app_version": version,
        }
        for user, date, workouts, sets, dashboard, records, plan, workout, opens, platform, version in connection.execute(
            "select user_key, local_date, workouts, sets, dashboard_opens, records_opens, plan_opens, workout_opens, opens, platform,"
            " app_version from marts.user_activity_days"
        ).fetchall()
    }  # fmt: skip


def test_activity_days_are_what_a_plain_count_of_raw_rows_says(populated: Database) -> None:
    with populated.connect() as connection:
        found, expected = activity(connection), oracle.activity_days(connection)
    assert len(expected) > 300
    assert found == expected


def test_a_day_knows_the_next_one_of_each_kind(populated: Database) -> None:
    with populated.connect() as connection:
        found = connection.execute(
            "select user_key, local_date, workouts, dashboard_opens, records_opens,"
            " next_active_on, next_workout_on, next_dashboard_on, next_records_on from marts.user_activity_days"
        ).fetchall()
    for user, date, *_, active, workout, dashboard, records in found:
        later = sorted(row[1:5] for row in found if row[0] == user and row[1] > date)
        expected = [
            next((day for day, *counts in later if kind(counts)), None) for kind in (lambda _: True, *map(operator.itemgetter, range(3)))
        ]
        assert [active, workout, dashboard, records] == expected
    assert all(sum(row[column] is not None for row in found) > 20 for column in (5, 6, 7, 8))


def test_retention_is_what_a_plain_walk_over_users_and_weeks_says(populated: Database) -> None:
    with populated.connect() as connection:
        found = {
            (cohort, week): tuple(counts)
            for cohort, week, *counts in connection.execute(
                "select cohort_week_on, week_number, users, observed, trained, active, trained_since from marts.retention_cohorts"
            ).fetchall()
        }
        expected = oracle.retention(connection, AS_OF)
    assert len(expected) > 20
    assert found == expected


def test_adoption_is_what_a_plain_walk_over_users_and_weeks_says(populated: Database) -> None:
    with populated.connect() as connection:
        found = {
            (week, by, segment, feature): (active, users, opens)
            for week, by, segment, feature, active, users, opens in connection.execute(
                "select week_on, segment_by, segment, feature, active_users, users, opens from marts.feature_adoption"
            ).fetchall()
        }
        expected = oracle.adoption(connection, AS_OF)
    assert len({by for _, by, _, _ in expected}) == 3
    assert found == expected


def test_segments_of_adoption_sum_to_everybody(populated: Database) -> None:
    with populated.connect() as connection:
        wrong = connection.execute(
            """
            select week_on, feature, segment_by from marts.feature_adoption group by week_on, feature, segment_by
            having (sum(active_users), sum(users), sum(opens)) <> (
              select a.active_users, a.users, a.opens from marts.feature_adoption a
              where a.segment_by = '(all)' and a.week_on = feature_adoption.week_on and a.feature = feature_adoption.feature)
            """
        ).fetchall()
    assert wrong == []


def test_a_week_that_still_runs_is_not_complete(populated: Database) -> None:
    with populated.connect() as connection:
        rows = connection.execute("select distinct week_on, is_complete from marts.feature_adoption order by 1 desc limit 2").fetchall()
    assert rows == [(datetime.date(2025, 6, 30), False), (datetime.date(2025, 6, 23), True)]


REFUSAL_CODES = [code for code, _ in REFUSALS.values()]


def test_days_of_plan_requests_are_what_pandas_says(populated: Database) -> None:
    with populated.connect() as connection:
        raw = oracle.frame(connection, "select * from app.plan_requests")
        rows = oracle.frame(connection, "select * from marts.plan_requests_daily order by day_on")
    raw = raw[raw.requested_at <= AS_OF].copy()
    raw["finished"] = raw.finished_at.notna() & (raw.finished_at <= AS_OF)
    raw["day"] = raw.requested_at.dt.date
    raw["ms"] = (raw.finished_at - raw.requested_at).dt.total_seconds() * 1000
    assert len(rows) == raw.day.nunique() > 4
    for row in rows.itertuples():
        day = raw[raw.day == row.day_on]
        done, without = day[day.finished & (day.status == "succeeded")], day[day.finished & (day.status == "failed")]
        refused = without.failure_code.isin(REFUSAL_CODES).sum()
        assert (row.requests, row.succeeded, row.refused, row.failed, row.finished, row.still_open) == (
            len(day),
            len(done),
            refused,
            len(without) - refused,
            len(done) + len(without),
            len(day) - len(done) - len(without),
        )
        assert row.failures_by_code == without.failure_code.value_counts().to_dict()
        assert row.retried == (day.attempts > 1).sum()
        assert sum(row.buckets) == len(done)
        if len(done):
            assert row.p50_ms == pytest.approx(np.percentile(done.ms, 50))
            assert row.p95_ms == pytest.approx(np.percentile(done.ms, 95))
            assert row.p99_ms == pytest.approx(np.percentile(done.ms, 99))
        taken_up = day[day.started_at <= AS_OF]  # whatever became of it
        waited = (taken_up.started_at - taken_up.requested_at).dt.total_seconds() * 1000
        assert row.waiting_p95_ms == pytest.approx(np.percentile(waited, 95) if len(waited) else None, nan_ok=True)


def test_a_request_of_exactly_two_seconds_lies_in_the_bucket_up_to_two_seconds(populated: Database) -> None:
    from database.api_latency import BOUNDS_MS, Histogram

    with populated.connect() as connection:
        raw = connection.execute(
            "select extract(epoch from finished_at - requested_at)::float8 * 1000 from app.plan_requests"
            " where status = 'succeeded' and finished_at <= %s",
            [AS_OF],
        ).fetchall()
        row = connection.execute("select marts.sum_buckets(buckets) from marts.plan_requests_daily").fetchone()
    histogram = Histogram()
    for (milliseconds,) in raw:
        histogram.add(milliseconds)
    assert row is not None
    assert row[0] == histogram.buckets
    assert histogram.buckets[BOUNDS_MS.index(2000)] > 0


def test_days_of_latency_are_sums_of_their_minutes(populated: Database) -> None:
    with populated.connect() as connection:
        raw = oracle.frame(connection, "select * from ops.api_latency")
        rows = oracle.frame(connection, "select * from marts.api_latency_daily")
    raw = raw[raw.minute <= AS_OF].copy()
    raw["day"] = raw.minute.dt.date
    groups = dict(list(raw.groupby(["day", "method", "route"])))
    assert len(rows) == len(groups) > 8
    for row in rows.itertuples():
        group = groups[(row.day_on, row.method, row.route)]
        assert row.requests == group.requests.sum()
        assert row.client_errors == group[(group.status >= 400) & (group.status < 500)].requests.sum()
        assert row.server_errors == group[group.status >= 500].requests.sum()
        assert row.mean_ms == pytest.approx(group.total_ms.sum() / group.requests.sum())
        assert row.max_ms == group.max_ms.max()
        assert row.buckets == [sum(column) for column in zip(*group.buckets, strict=True)]
        assert row.is_promised == (row.route.startswith("/api/") and "waiting" not in row.route)


def test_users_are_told_by_bands_and_only_those_who_had_signed_up(database: Database) -> None:
    with database.connect() as connection:
        for year, user in ((1931, "old"), (1949, "postwar"), (1950, "fifty"), (1999, "ninety"), (2000, "young"), (None, "silent")):
            key = add_user(connection, user, "Pacific/Kiritimati")
            connection.execute("update app.users set created_at = '2025-06-29 11:00Z' where user_key = %s", [key])
            connection.execute("insert into app.profiles (user_key, birth_year) values (%s, %s)", [key, year])
        add_user(connection, "later")
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", "changes", "users", as_of=AS_OF)
    with database.connect() as connection:
        rows = connection.execute("select birth_years, signed_up_on, cohort_week_on from marts.users order by user_key").fetchall()
    bands = ["before 1950", "before 1950", "1950-1959", "1990-1999", "2000 and later", None]
    assert rows == [(band, datetime.date(2025, 6, 30), datetime.date(2025, 6, 30)) for band in bands]


def test_each_change_reaches_the_activity_days_without_a_rebuild(database: Database, dice: random.Random) -> None:
    with database.connect() as connection:
        add_activity(connection, dice, 12)
    selection = ["+user_activity_days", "+retention_cohorts", "+feature_adoption"]
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", *selection, as_of=AS_OF)

    def change(connection: psycopg.Connection, number: int) -> None:
        users = [row[0] for row in connection.execute("select user_key from app.users order by 1").fetchall()]
        user = dice.choice(users)
        if number == 0:
            add_opening(connection, user, "dashboard", AS_OF - dice.randrange(20) * DAY, dice)
        elif number == 1:
            connection.execute("update app.users set time_zone = %s where user_key = %s", [dice.choice(ZONES), user])
        elif number == 2:
            connection.execute("delete from app.users where user_key = %s", [user])
        elif number == 3:
            add_workout(connection, user, AS_OF - 3 * DAY, [(1, 1, "normal", 60, 8, None, None, None)])
        elif number == 4:
            connection.execute("update app.workouts set deleted_at = now() where user_key = %s", [user])
        elif number == 5:
            connection.execute("update app.workouts set started_at = started_at - interval '3 days' where user_key = %s", [user])

    for number in range(6):
        with database.connect() as connection:
            change(connection, number)
            before = connection.execute("select rebuilt_at from staging.model_state where model = 'user_activity_days'").fetchone()
        run_dbt(database, "build", "--indirect-selection", "cautious", "--select", *selection, as_of=AS_OF)
        with database.connect() as connection:
            after = connection.execute("select rebuilt_at from staging.model_state where model = 'user_activity_days'").fetchone()
            assert before == after
            assert activity(connection) == oracle.activity_days(connection), f"after change {number}"
            users = connection.execute(
                "select coalesce(sum(users), 0)::int from (select distinct cohort_week_on, users from marts.retention_cohorts) c"
            )
            assert users.fetchone()[0] <= len(connection.execute("select from app.users").fetchall())  # type: ignore[index]


def test_an_event_that_commits_late_is_counted_by_the_next_build(database: Database, dice: random.Random) -> None:
    with database.connect() as connection:
        user = add_user(connection, "ann")
        connection.execute("update app.users set created_at = %s", [AS_OF - 10 * DAY])
    with database.connect(autocommit=False) as slow:
        add_opening(slow, user, "dashboard", AS_OF - DAY, dice)
        run_dbt(database, "build", "--indirect-selection", "cautious", "--select", "+user_activity_days", as_of=AS_OF)
        slow.commit()
    with database.connect() as connection:
        assert activity(connection) == {}
        add_opening(connection, user, "records", AS_OF - 2 * DAY, dice)
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", "+user_activity_days", as_of=AS_OF)
    with database.connect() as connection:
        assert activity(connection) == oracle.activity_days(connection)
        assert len(activity(connection)) == 2


def test_a_new_day_moves_every_window_though_nobody_did_anything(database: Database, dice: random.Random) -> None:
    with database.connect() as connection:
        add_activity(connection, dice, 10)
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", *MARTS, as_of=AS_OF)
    monday = datetime.datetime(2025, 6, 30, 1, 30, tzinfo=datetime.UTC)  # while it is still Sunday in the west
    for later in (AS_OF + 7 * DAY, monday):
        result = run_dbt(database, "build", "--indirect-selection", "cautious", "--select", *MARTS, as_of=later)
        assert set(statuses(result).values()) <= {"success", "pass"}
        with database.connect() as connection:
            found = {
                (cohort, week): tuple(counts)
                for cohort, week, *counts in connection.execute(
                    "select cohort_week_on, week_number, users, observed, trained, active, trained_since from marts.retention_cohorts"
                ).fetchall()
            }
            assert found == oracle.retention(connection, later)
            row = connection.execute("select value from marts.readiness_scorecard where criterion = 'active_users'").fetchone()
            assert row == (oracle.users_within(connection, later.date(), 7),)
            complete = connection.execute("select max(week_on) from marts.feature_adoption where is_complete").fetchone()
            assert complete == (datetime.date(2025, 6, 16) if later == monday else datetime.date(2025, 6, 30),)


def test_from_many_activity_days_on_what_counts_all_of_them_follows_once_an_hour(database: Database, dice: random.Random) -> None:
    with database.connect() as connection:
        add_activity(connection, dice, 12)
    many = ("build", "--indirect-selection", "cautious", "--select", *MARTS, "--vars", "{analytics_rows_at_once: 10}")
    questions = (
        "select sum(dashboard_opens) from marts.user_activity_days",
        "select sum(opens) from marts.feature_adoption where feature = 'dashboard' and segment_by = '(all)'",
        "select numerator from marts.kpi_daily, marts.clock where metric = 'dashboard_use' and day_on = today_on",
        "select sum(trained) from marts.retention_cohorts",
    )
    answers, said = [], []
    for minutes in (0, 20, 35):
        with database.connect() as connection:
            if minutes == 20:
                user = add_user(connection, "new")
                connection.execute("update app.users set created_at = %s where user_key = %s", [AS_OF - 20 * DAY, user])
                add_opening(connection, user, "dashboard", AS_OF, dice)
                add_workout(connection, user, AS_OF - 19 * DAY, [(1, 1, "normal", 60, 8, None, None, None)])
            run_dbt(database, *many, as_of=AS_OF + datetime.timedelta(minutes=minutes))
            answers.append([connection.execute(question).fetchone()[0] for question in questions])
            said += connection.execute("select distinct as_of from marts.readiness_scorecard").fetchall()
    first, within_the_hour, next_hour = answers
    assert within_the_hour == [first[0] + 1, *first[1:]]
    assert next_hour == [count + 1 for count in first]
    assert said == [(AS_OF,), (AS_OF,), (AS_OF + datetime.timedelta(minutes=35),)]
