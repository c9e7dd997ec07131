"""Builds of the marts: full, after 1 % of users logged a workout, after nothing, beside one GROUP BY over the raw sets.

A build's seconds are those from its first model's begin to its last model's end; dbt's own start-up is reported apart. A reader hammers
both views in the meantime. "Nothing" is what the minute schedule does then: it asks and starts no build (what dbt would take for finding
nothing is `idle_models_seconds`). Freshness is from the commit of a logged set until `user_summary` shows it: half a minute for the
median wait for the schedule's tick, the schedule's question, and a dbt process that starts from nothing and builds the chain; the launch
of Dagster's run, 3 to 4 s, comes on top.
"""

import argparse
import atexit
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.harness import Figures, ThrowawayPostgres, figure, main, repeat, throwaway_postgres
from database.connection import Role, connect, url_for
from database.freshness import anything_changed
from orchestration.dbt import DBT_PROJECT, dbt_environment

CHAIN = (
    "changes",
    "user_zones",
    "exercise_sessions",
    "personal_record_events",
    "personal_record_rows",
    "user_days",
    "training_state",
    "user_range_exercises",
    "planned_session_completions",
    "user_range_totals",
    "user_summary_rows",
    "user_summary",
    "personal_records",
)
VIEWS = ("stg_users", "stg_exercises", "stg_workouts", "stg_workout_sets")
GROUP_BY = """
select user_key, count(*), sum(weight_kg * reps), max(weight_kg)
from app.workout_sets join app.workouts using (workout_key) group by user_key
"""
DATA = Path(__file__).parent / "summaries_data.sql"
AS_OF = "2024-05-01T00:00:00Z"
AGAIN = (10, 11, 12, 13, 14)
"""Who trains again before and after history is doubled (`log_workouts`)."""


class Reader:
    """A process that reads one user of each view again and again (as a thread it would wait for dbt's hold on the interpreter)."""

    def __init__(self, postgres: ThrowawayPostgres) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=hammer, args=(postgres.urls[Role.API], end), daemon=True)

    def start(self) -> None:
        self.process.start()
        self.pipe.recv()  # it is connected

    def finish(self) -> None:
        self.pipe.send("stop")
        self.errors, self.waits = self.pipe.recv()
        self.process.join(30)


def hammer(url: str, pipe: Any) -> None:
    """Until something comes through `pipe`; then sends (errors, waits in seconds)."""
    errors, waits, key = 0, [], 0
    with connect(url, autocommit=True) as connection:
        pipe.send("ready")
        while not pipe.poll():
            key = key % 1000 + 1
            for view in ("user_summary", "personal_records"):
                start = time.perf_counter()
                try:
                    connection.execute(f"select * from marts.{view} where user_key = %s", [key]).fetchall()
                except Exception:
                    errors += 1
                waits.append(time.perf_counter() - start)
            time.sleep(0.002)
    pipe.send((errors, waits))


def run(quick: bool, options: argparse.Namespace) -> Figures:
    users = options.users or (10_000 if quick else 100_000)
    sets = options.sets or users * 100
    with throwaway_postgres() as postgres:
        load(postgres, users, sets)
        group_by = repeat(lambda: group_in_postgres(postgres), runs=3)
        duck = group_in_duckdb(postgres)
        first = build(postgres)
        full = [first] if quick else [build(postgres, "--full-refresh") for _ in range(2)]
        quiet = hammer_quiet(postgres, seconds=2)
        reader = Reader(postgres)
        reader.start()
        changed = []
        for number in range(2 if quick else 3):
            log_workouts(postgres, number)
            changed.append(build(postgres))
        asked = [ask_whether_anything_changed(postgres) for _ in range(5)]
        idle = [] if quick else [build(postgres) for _ in range(3)]
        fresh = [30 + seconds_until_visible(postgres) for _ in range(1 if quick else 5)]
        build(postgres, "--full-refresh")
        reader.finish()
        doubled = {} if quick else double_history(postgres)
    whole = [seconds["models"] for seconds in full]
    middle = sorted(whole)[len(whole) // 2]
    plain = sorted(group_by)[len(group_by) // 2]
    figures = {
        "full_seconds": figure(whole, "s"),
        "first_seconds": figure([first["models"]], "s"),
        "group_by_seconds": figure(group_by, "s"),
        "duckdb_seconds": figure(duck, "s"),
        "full_ratio_to_group_by": figure([value / plain for value in whole], "×", limit=12),
        "full_ratio_to_duckdb": figure([value / min(duck) for value in whole], "×"),
        "incremental_share": figure([each["models"] / middle for each in changed], "of a full build", limit=0.10),
        "idle_share": figure([each / middle for each in asked], "of a full build", limit=0.01),
        "incremental_seconds": figure([each["models"] for each in changed], "s"),
        "idle_seconds": figure(asked, "s"),
        "dbt_start_up_seconds": figure([each["start_up"] for each in changed], "s"),
        "freshness_median_seconds": figure(fresh, "s", limit=120),
        "reader_errors": figure([reader.errors], "errors", limit=0),
        "reader_max_wait_ms": figure([1000 * max(reader.waits)], "ms", peer={"name": "quiet P99", "value": quiet}, limit=quiet + 50),
    }
    if not quick:
        figures["idle_models_seconds"] = figure([each["models"] for each in idle], "s")
        figures["incremental_growth_with_doubled_history"] = figure(
            [doubled["after"] / doubled["before"] - 1], "of the build before", limit=0.10
        )
    return figures


def ask_whether_anything_changed(postgres: ThrowawayPostgres) -> float:
    """Seconds of the schedule's question on a connection of its own, as each tick asks it."""
    start = time.perf_counter()
    with postgres.connect() as connection:
        anything_changed(connection)
    return time.perf_counter() - start


def seconds_until_visible(postgres: ThrowawayPostgres) -> float:
    """From the commit of a logged set until `user_summary` counts it, as if the tick came at once."""
    with postgres.connect() as connection:
        count = "select sets from marts.user_summary where user_key = 7 and range = 'all'"
        before = connection.execute(count).fetchone()
        connection.execute(
            """
            with logged as (insert into app.workouts (user_key, started_at) values (7, '2024-04-30 19:00:00+00') returning workout_key)
            insert into app.workout_sets (workout_key, position, exercise_key, weight_kg, reps) select workout_key, 0, 1, 60, 5 from logged
            """
        )
        start = time.perf_counter()
        assert anything_changed(connection)
        dbt = Path(sys.executable).parent / "dbt"
        subprocess.run([str(dbt), *dbt_arguments()], env=os.environ, check=True, capture_output=True)
        assert connection.execute(count).fetchone() != before
        return time.perf_counter() - start


def double_history(postgres: ThrowawayPostgres) -> dict[str, float]:
    """Median seconds of the builds after 1 %, before and after everybody has trained twice as long.

    The same users, exercises and share of records each time, and no reader, so that the two differ by history only.
    """
    before = median_of_increments(postgres, heavier_kg=5)
    with connect(url_for(postgres.admin_url, database="mesocycle"), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            """
            create temporary table older as
            select workout_key, nextval(pg_get_serial_sequence('app.workouts', 'workout_key')) as older_key from app.workouts
            """
        )
        connection.execute(
            """
            insert into app.workouts (workout_key, user_key, started_at, duration_seconds, source) overriding system value
            select older_key, user_key, started_at - interval '400 days', duration_seconds, 'simulation'
            from older join app.workouts using (workout_key)
            """
        )
        connection.execute(
            """
            insert into app.workout_sets (workout_key, position, exercise_key, weight_kg, reps, rpe, set_type)
            select older_key, position, exercise_key, weight_kg, reps, rpe, set_type
            from older join app.workout_sets using (workout_key) order by older_key, position
            """
        )
        connection.execute("vacuum analyze app.workout_sets, app.workouts")
    build(postgres, "--full-refresh")
    return {"before": before, "after": median_of_increments(postgres, heavier_kg=10)}


def median_of_increments(postgres: ThrowawayPostgres, *, heavier_kg: float) -> float:
    """Of builds as they follow each other on a platform that runs: what a rebuild before them left to vacuum is done, everything is read."""
    with connect(url_for(postgres.admin_url, database="mesocycle"), autocommit=True) as connection:
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")
    for number in AGAIN:
        log_workouts(postgres, number, heavier_kg - 1)
    build(postgres)
    seconds = []
    for number in AGAIN:
        log_workouts(postgres, number, heavier_kg)
        seconds.append(build(postgres)["models"])
    return statistics.median(seconds)


def load(postgres: ThrowawayPostgres, users: int, sets: int) -> None:
    with connect(url_for(postgres.admin_url, database="mesocycle"), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")  # no triggers: these rows are the beginning of history
        script = DATA.read_text() % {"users": users, "sets_per_user": sets // users}
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("vacuum analyze app.workout_sets, app.workouts, app.users, app.exercises")


def group_in_postgres(postgres: ThrowawayPostgres) -> None:
    with postgres.connect() as connection:
        connection.execute(f"create temporary table grouped as {GROUP_BY}")


def group_in_duckdb(postgres: ThrowawayPostgres) -> list[float]:
    """The same over the same rows in DuckDB's own tables, on as many threads as Postgres has processes."""
    folder = Path(tempfile.mkdtemp(prefix="mesocycle-duckdb-"))
    try:
        folder.chmod(0o755)
        duck = duckdb.connect()
        duck.execute("set threads = 2")
        with postgres.connect() as connection:
            for table, columns in (("workout_sets", "workout_key, weight_kg, reps"), ("workouts", "workout_key, user_key")):
                path = folder / f"{table}.csv"
                with (
                    path.open("wb") as file,
                    connection.cursor().copy(f"copy (select {columns} from app.{table}) to stdout csv header") as copy,
                ):
                    for block in copy:
                        file.write(block)
                duck.execute(f"create table {table} as select * from read_csv('{path}')")
        query = GROUP_BY.replace("app.", "")
        return repeat(lambda: duck.execute(f"create or replace table grouped as {query}"), runs=3)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def log_workouts(postgres: ThrowawayPostgres, number: int, heavier_kg: float = 0) -> None:
    """1 % of the users, another one by `number`, log a workout of 20 sets."""
    with postgres.connect() as connection:
        connection.execute(
            """
            with logged as (
              insert into app.workouts (user_key, started_at, duration_seconds)
              select user_key, '2024-04-30 20:00:00+00', 3000 from app.users where user_key %% 100 = %s
              returning workout_key, user_key
            )
            insert into app.workout_sets (workout_key, position, exercise_key, weight_kg, reps)
            select workout_key, p, 1 + (user_key * 5 + p / 5) %% 60, 40 + (user_key + p) %% 60 + %s, 5
            from logged cross join generate_series(0, 19) p
            """,
            [number, heavier_kg],
        )


def build(postgres: ThrowawayPostgres, *arguments: str) -> dict[str, float]:
    """One dbt build of the chain: seconds of its models, of dbt around them, and of both."""
    from dbt.cli.main import dbtRunner

    with postgres.connect() as connection:
        connection.execute("insert into ops.build_clock (as_of) values (%s) on conflict do nothing", [AS_OF])
    os.environ.update(
        dbt_environment(postgres.url), DBT_TARGET_PATH=target_folder(), DBT_LOG_PATH=target_folder(), DBT_SEND_ANONYMOUS_USAGE_STATS="false"
    )
    start = time.perf_counter()
    result: Any = dbtRunner().invoke([*dbt_arguments(), *arguments])
    wall = time.perf_counter() - start
    if not result.success:
        raise RuntimeError(f"dbt failed: {result.exception or [r.message for r in result.result.results if r.status == 'error']}")
    steps = [step for each in result.result.results if each.node.resource_type == "model" for step in each.timing if step.completed_at]
    models = (max(step.completed_at for step in steps) - min(step.started_at for step in steps)).total_seconds()
    return {"wall": wall, "models": models, "start_up": wall - models}


def dbt_arguments() -> list[str]:
    return ["run", "--select", *VIEWS, *CHAIN, "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--quiet"]


_folders: list[str] = []


def target_folder() -> str:
    """One for the whole run, so that dbt parses once."""
    if not _folders:
        _folders.append(tempfile.mkdtemp(prefix="mesocycle-dbt-"))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]


def hammer_quiet(postgres: ThrowawayPostgres, seconds: float) -> float:
    """P99 in ms of the same reads while nothing is built."""
    reader = Reader(postgres)
    reader.start()
    time.sleep(seconds)
    reader.finish()
    return 1000 * sorted(reader.waits)[int(len(reader.waits) * 0.99)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=int, help="default 100,000 (quick: 10,000)")
    parser.add_argument("--sets", type=int, help="default 100 per user")


if __name__ == "__main__":
    main("summaries", run, add_arguments=add_arguments)
