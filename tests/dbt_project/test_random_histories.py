"""Whatever is written, moved, deleted and built in whatever order: every mart holds what a full rebuild from raw rows would.

MESOCYCLE_HISTORIES=<n> runs n histories of three times the length; the default is a few short ones.
"""

import datetime
import os
import random
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from psycopg import sql

from database.connection import connect
from domain.vocabulary import ExperienceLevel, Goal
from tests.conftest import Database, clone_database
from tests.dbt_project import dashboard_oracle, oracle, population
from tests.dbt_project.analytics.plans import add_plan
from tests.dbt_project.support import run_dbt

HISTORIES = int(os.environ.get("MESOCYCLE_HISTORIES", "0"))
MOST_BUILDS = 15 if HISTORIES else 5
START = datetime.datetime(2024, 5, 1, 9, 30, tzinfo=datetime.UTC)
CHAIN = ("run", "--select", "+user_summary", "+personal_records", "+user_payloads")
MARTS = (
    *("marts.user_days", "marts.user_summary", "marts.personal_records", "marts.user_payloads"),
    *(f"marts.{name}" for name in dashboard_oracle.KEYS),
    *("intermediate.exercise_sessions", "intermediate.personal_record_events", "intermediate.user_zones"),
    "intermediate.planned_session_completions",
)
MUSCLES = ["abs", "biceps", "glutes", "chest", "quads"]
seeds = st.integers(0, 2**32)


def rows_of_marts(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Every row without when it was computed: a row that still holds is left alone."""
    return {
        mart: sorted(
            str({name: value for name, value in row.items() if name not in ("as_of", "today_on")})
            for (row,) in connection.execute(f"select to_jsonb(t) from {mart} t")
        )
        for mart in MARTS
    }


@pytest.fixture(scope="module")
def beginning(postgres, template) -> Iterator[Database]:
    """A handful of users with a past and plans, everything built once. Histories begin with a copy of it."""
    made = clone_database(postgres, template)
    database = next(made)
    with database.connect() as connection:
        population.add_population(connection, seed=5, users=5, workouts_each=12, as_of=START)
        connection.execute("insert into app.profiles (user_key) select user_key from app.users where user_key <> 2")
        for user in (1, 2, 3):
            add_plan(
                connection,
                user,
                (START - datetime.timedelta(days=9)).date(),
                [(0, [(1, 3, 5, 8, 60.0), (2, 2, 5, 8, 80.0)]), (3, [(6, 4, 8, 10, 40.0)])],
            )
    run_dbt(database, *CHAIN, as_of=START)
    yield database
    made.close()


def history_machine(postgres, beginning: Database) -> type[RuleBasedStateMachine]:
    """The machine over copies of `beginning`: one name for all of them, so that dbt parses the project once."""
    name = f"history_{os.getpid()}"
    database = Database({role: url.rsplit("/", 1)[0] + f"/{name}" for role, url in beginning.urls.items()}, beginning.admin_url)

    class History(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            with connect(postgres.url("test-superuser"), autocommit=True) as admin:
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
                admin.execute(
                    sql.SQL("create database {} template {} owner mesocycle_owner strategy file_copy").format(
                        sql.Identifier(name), sql.Identifier(beginning.url.rsplit("/", 1)[1])
                    )
                )
            self.as_of = START
            self.builds = 0
            self.changed = False
            self.app = database.connect()
            self.rebuilt = self.rebuilds()
            self.late: psycopg.Connection | None = None
            self.late_user: int | None = None

        def rebuilds(self) -> list[tuple]:
            return self.app.execute("select model, rebuilt_at from staging.model_state order by 1").fetchall()

        def users(self) -> list[int]:
            return [key for (key,) in self.app.execute("select user_key from app.users order by 1")]

        def workouts(self) -> list[int]:
            return [key for (key,) in self.app.execute("select workout_key from app.workouts order by 1")]

        @rule(seed=seeds)
        def log_workouts(self, seed: int) -> None:
            dice = random.Random(seed)
            for _ in range(dice.choice([1, 1, 3])):
                at = population.random_instant(dice, self.as_of)
                population.add_workout(
                    self.app, dice.choice(self.users()), at, population.random_sets(dice), dice.choice([None, 3600, 30000])
                )
            self.changed = True

        @rule(seed=seeds)
        def edit_sets(self, seed: int) -> None:
            dice = random.Random(seed)
            for workout in dice.sample(self.workouts(), min(2, len(self.workouts()))):
                population.replace_sets(self.app, workout, population.random_sets(dice))
            self.changed = True

        @rule(seed=seeds, to_other_user=st.booleans())
        def move_a_workout(self, seed: int, to_other_user: bool) -> None:
            dice = random.Random(seed)
            for workout in dice.sample(self.workouts(), min(2, len(self.workouts()))):
                if to_other_user:
                    self.app.execute("update app.workouts set user_key = %s where workout_key = %s", [dice.choice(self.users()), workout])
                else:
                    at = population.random_instant(dice, self.as_of)
                    self.app.execute("update app.workouts set started_at = %s where workout_key = %s", [at, workout])
            self.changed = True

        @rule(seed=seeds)
        def delete_workouts(self, seed: int) -> None:
            dice = random.Random(seed)
            chosen = dice.sample(self.workouts(), min(2, len(self.workouts())))
            self.app.execute(
                "update app.workouts set deleted_at = case when deleted_at is null then now() end where workout_key = %s", chosen[:1] or [0]
            )
            self.app.execute("delete from app.workouts where workout_key = any(%s)", [chosen[1:]])
            self.changed = True

        @rule(seed=seeds)
        def change_time_zone(self, seed: int) -> None:
            dice = random.Random(seed)
            self.app.execute(
                "update app.users set time_zone = %s where user_key = %s", [dice.choice(population.ZONES), dice.choice(self.users())]
            )
            self.changed = True

        @rule(seed=seeds)
        def change_exercise(self, seed: int) -> None:
            dice = random.Random(seed)
            self.app.execute(
                "update app.exercises set load_type = %s, name = %s, primary_muscles = %s, secondary_muscles = %s where exercise_key = %s",
                [
                    *(dice.choice(["external", "assisted", "bodyweight"]), f"Renamed {dice.randrange(1000)}"),
                    *(dice.sample(MUSCLES, 1), dice.sample(MUSCLES, 2), dice.choice([1, 2, 3, 6])),
                ],
            )
            self.changed = True

        @rule(seed=seeds)
        def change_profile(self, seed: int) -> None:
            dice = random.Random(seed)
            self.app.execute(
                "insert into app.profiles (user_key, goal, experience_level) values (%s, %s, %s)"
                " on conflict (user_key) do update set goal = excluded.goal, experience_level = excluded.experience_level",
                [dice.choice(self.users()), dice.choice(list(Goal)[:2]), dice.choice(list(ExperienceLevel)[:2])],
            )
            self.changed = True

        @rule(seed=seeds)
        def make_a_plan(self, seed: int) -> None:
            dice = random.Random(seed)
            starts = (self.as_of - datetime.timedelta(days=dice.choice([0, 0, 5, 20, 40]))).date()
            slots = [(exercise, dice.choice([2, 3, 5]), 5, 8, 50.0) for exercise in dice.sample([1, 2, 3, 5, 6], 3)]
            user = dice.choice(self.users())
            taken = self.app.execute("select 1 from plans.plans where user_key = %s and starts_on = %s", [user, starts]).fetchone()
            if not taken:
                add_plan(self.app, user, starts, [(0, slots[:1]), (dice.choice([1, 4]), slots[1:])])
            self.changed = True

        @rule(seed=seeds)
        def sign_up_and_leave(self, seed: int) -> None:
            dice = random.Random(seed)
            leaving = [user for user in self.users() if user != self.late_user]  # that one is locked by its unfinished transaction
            if dice.random() < 0.5 and len(leaving) > 3:
                self.app.execute("delete from app.users where user_key = %s", [dice.choice(leaving)])
            else:
                population.add_user(self.app, f"new-{seed}-{self.builds}-{dice.random()}", dice.choice(population.ZONES))
            self.changed = True

        @precondition(lambda self: self.late is None)
        @rule(seed=seeds)
        def begin_a_transaction(self, seed: int) -> None:
            """It writes now, and commits only after later ones have and, maybe, after builds."""
            dice = random.Random(seed)
            self.late = database.connect(autocommit=False)
            self.late_user = dice.choice(self.users())
            population.add_workout(self.late, self.late_user, population.random_instant(dice, self.as_of), population.random_sets(dice))

        @precondition(lambda self: self.late is not None)
        @rule()
        def commit_it(self) -> None:
            assert self.late is not None
            self.late.commit()
            self.late.close()
            self.late = self.late_user = None
            self.changed = True

        @precondition(lambda self: self.builds < MOST_BUILDS)
        @rule(hours=st.sampled_from([1, 15, 24, 24 * 6, 24 * 25, 24 * 400, -48]))
        def time_passes_alone(self, hours: int) -> None:
            """Between two builds, so that nothing else makes a user's rows anew."""
            if self.changed:
                self.build()
            self.as_of += datetime.timedelta(hours=hours)
            self.build()

        @precondition(lambda self: self.changed and self.builds < MOST_BUILDS)
        @rule()
        def build(self) -> None:
            self.builds += 1
            self.changed = False
            run_dbt(database, *CHAIN, as_of=self.as_of)
            assert self.rebuilds() == self.rebuilt  # only what changed was computed
            assert oracle.differences(self.app, self.as_of) == []
            assert dashboard_oracle.differences(self.app, self.as_of) == []

        def teardown(self) -> None:
            """Row for row as a rebuild from nothing has it, payloads and intermediate tables included."""
            if not hasattr(self, "app"):
                return
            if self.late is not None:
                self.late.rollback()
                self.late.close()
            if self.builds:
                run_dbt(database, *CHAIN, as_of=self.as_of)
                partly = rows_of_marts(self.app)
                run_dbt(database, *CHAIN, "--full-refresh", as_of=self.as_of)
                wholly = rows_of_marts(self.app)
                for mart in MARTS:
                    assert partly[mart] == wholly[mart], mart
            self.app.close()

    return History


def test_any_history_ends_in_the_marts_of_a_full_rebuild(postgres, beginning):
    run_state_machine_as_test(
        history_machine(postgres, beginning),
        settings=settings(
            max_examples=HISTORIES or 3,
            stateful_step_count=90 if HISTORIES else 25,
            deadline=None,
            derandomize=not HISTORIES,
            phases=(Phase.generate,) if not HISTORIES else (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
