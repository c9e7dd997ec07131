"""Every mart agrees with the oracle on real logs and a simulated population, too; peer groups; what a plan asks for."""

import datetime
import random

import pytest

from database.imports import import_log
from database.population import load_population
from domain.simulation import simulate
from domain.vocabulary import WeightUnit
from domain.workout_logs import read_log
from tests.conftest import PROJECT
from tests.dbt_project import dashboard_oracle, oracle, population
from tests.dbt_project.analytics.plans import add_plan
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)
TODAY = AS_OF.date()
CHAIN = ("run", "--select", "+user_summary", "+personal_records", "+user_payloads")
LOGS = (
    "fitnotes_f1.csv",
    "fitnotes_f4_lb.csv",
    "hevy_h1.csv",
    "hevy_h4.csv",
    "strong_s1m.csv",
    "strong_s7_two_units.csv",
    "strong_s9_de.csv",
)
ONLY_PLANNED = 1
"""An exercise of the catalogue."""
FOLDER = PROJECT.parent / "shared" / "lifting-logs"


@pytest.fixture(scope="module")
def built(module_database):
    """Simulated users, real logs (where they are), and sixty peers who did different amounts of the same."""
    load_population(module_database.url, simulate(40, 4, 3, AS_OF))
    dice = random.Random(2)
    with module_database.connect() as connection:
        planner = population.add_user(connection, "planner")
        monday = TODAY - datetime.timedelta(days=TODAY.weekday())
        add_plan(connection, planner, monday, [(0, [(ONLY_PLANNED, 3, 5, 8, None)]), (4, [(ONLY_PLANNED, 2, 5, 8, None)])])
        for file in LOGS:
            if (path := FOLDER / file).exists():
                log = read_log(path.read_bytes(), file_name=file, weight_unit=WeightUnit.LB if "_lb" in file else WeightUnit.KG)
                import_log(connection, f"log-{file}", log, timezone="Europe/Berlin", file_name=file)
        # As if each log had been exported this morning: what is older than a year would leave most columns empty.
        connection.execute(
            "update app.workouts set started_at = workouts.started_at + (%s - newest.started_at) from ("
            " select user_key, max(started_at) as started_at from app.workouts join app.users using (user_key)"
            " where user_id like 'log-%%' group by user_key) as newest where newest.user_key = workouts.user_key",
            [AS_OF - datetime.timedelta(hours=3)],
        )
        connection.execute("update app.profiles set goal = 'fat_loss' where goal in ('strength', 'powerlifting')")
        for goal, members in (("strength", 60), ("powerlifting", 49)):
            for number in range(members):
                user = population.add_user(connection, f"{goal}-{number}", dice.choice(population.ZONES))
                connection.execute("insert into app.profiles (user_key, goal, experience_level) values (%s, %s, 'advanced')", [user, goal])
                for week in range(1 + number % 4):
                    lifted = [(0, 1, "normal", 60 + number + week, 5, None, None, None)] * (1 + number % 3)
                    sets = [(position, *one[1:]) for position, one in enumerate(lifted)]
                    population.add_workout(connection, user, AS_OF - datetime.timedelta(weeks=week, hours=40), sets)
    run_dbt(module_database, *CHAIN, as_of=AS_OF)
    return module_database


def agrees(database, as_of) -> None:
    with database.connect() as connection:
        assert oracle.differences(connection, as_of) == []
        assert dashboard_oracle.differences(connection, as_of) == []


def test_simulated_users_and_peers_agree_with_the_independent_computation(built):
    agrees(built, AS_OF)
    with built.connect() as connection:
        assert connection.execute("select count(*) from marts.record_feed").fetchone()[0] > 100
        assert connection.execute("select count(*) from marts.top_lifts where trend_12w_pct is not null").fetchone()[0] > 50


@pytest.mark.usefixtures("shared")
def test_real_logs_were_among_them(built):
    with built.connect() as connection:
        found = connection.execute(
            "select count(distinct user_key), sum(sets), sum(record_events) from marts.user_weeks join app.users using (user_key) where user_id like 'log-%'"
        ).fetchone()
    assert found[0] == len(LOGS) and found[1] > 1000 and found[2] > 50


def test_points_are_those_of_the_active_members_and_groups_below_fifty_have_none(built):
    with built.connect() as connection:
        wanted = dashboard_oracle.expected_groups(connection, AS_OF)
        rows = connection.execute(
            "select goal, experience_level, measure, users, points from marts.peer_quantiles where day_on = %s", [TODAY]
        ).fetchall()
    assert {row[:3] for row in rows} >= wanted.keys()
    for goal, level, measure, users, points in rows:
        values = wanted.get((goal, level, measure), [])
        assert users == len(values)
        if users < 50:
            assert points is None
        else:
            # The least value that at least so many hundredths of the members don't exceed.
            assert points == pytest.approx([values[-(-hundredth * users // 100) - 1] for hundredth in range(1, 100)])
    reasons = {(goal, measure): points is None for goal, _, measure, _, points in rows if goal in ("strength", "powerlifting")}
    assert reasons["strength", "volume_kg"] is False and reasons["powerlifting", "volume_kg"] is True


def test_who_does_more_stands_higher_and_equals_stand_together(built):
    with built.connect() as connection:
        rows = connection.execute(
            "select value, percentile, peers from marts.peer_percentiles where goal = 'strength' and measure = 'volume_kg' order by value"
        ).fetchall()
    percentiles = [percentile for _, percentile, _ in rows]
    assert percentiles == sorted(percentiles) and percentiles[0] < 2 and percentiles[-1] > 97
    assert {peers for _, _, peers in rows} == {60}
    assert len({percentile for value, percentile, _ in rows if value == rows[30][0]}) == 1


def test_an_exercise_that_is_only_planned_moves_the_planned_sets_when_its_muscles_change(built):
    with built.connect() as connection:
        connection.execute(
            "update app.exercises set primary_muscles = '{neck}', secondary_muscles = '{traps}' where exercise_key = %s", [ONLY_PLANNED]
        )
    run_dbt(built, *CHAIN)
    with built.connect() as connection:
        rows = connection.execute(
            "select muscle, planned_sets_week, planned_sets_28d, done_sets_28d from marts.muscle_sets join app.users using (user_key)"
            " where user_id = 'planner' order by 1"
        ).fetchall()
        # Monday's session lies in the past, Friday's is still to come.
        assert rows == [("neck", 5, 3, 0), ("traps", 2.5, 1.5, 0)]
    agrees(built, AS_OF)


def test_others_training_moves_nobody_before_the_next_day(built):
    def standings(connection):
        query = "select user_key, measure, percentile, compared_on from marts.peer_percentiles where goal = 'strength' order by 1, 2"
        return connection.execute(query).fetchall()

    with built.connect() as connection:
        before = standings(connection)
        busy = connection.execute("select user_key from app.users where user_id = 'strength-0'").fetchone()[0]
        for hours in (3, 5, 7):
            population.add_workout(connection, busy, AS_OF - datetime.timedelta(hours=hours), [(0, 1, "normal", 200, 10, None, None, None)])
    run_dbt(built, *CHAIN)
    with built.connect() as connection:
        after = standings(connection)
        assert [row for row in after if row[0] != busy] == [row for row in before if row[0] != busy]
        assert [row for row in after if row[0] == busy] != [row for row in before if row[0] == busy]
    later = AS_OF + datetime.timedelta(days=1)
    run_dbt(built, *CHAIN, as_of=later)
    agrees(built, later)
    with built.connect() as connection:
        assert {row[3] for row in standings(connection)} == {TODAY + datetime.timedelta(days=1), None}  # None: no trend to compare
