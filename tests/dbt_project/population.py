"""Small, nasty histories for tests: every oddity that the definitions name turns up within a few users."""

import datetime
import random

import psycopg

ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Asia/Kathmandu"]
POUND = 0.45359237
EXERCISES = [
    (1, "bench_press", "Bench Press", "external", ["chest"], ["triceps", "front_delts"]),
    (2, "squat", "Squat", "external", ["quads", "glutes"], ["glutes", "abs"]),
    (3, "pull_up", "Pull Up", "bodyweight", ["lats"], ["biceps"]),
    (4, "assisted_dip", "Assisted Dip", "assisted", ["chest"], ["triceps"]),
    (5, "plank", "Plank", "unloaded", ["abs"], []),
    (6, "row", "Row", "external", ["upper_back"], ["biceps", "rear_delts"]),
]


def add_exercises(connection: psycopg.Connection) -> None:
    for exercise in EXERCISES:
        connection.execute(
            "insert into app.exercises (exercise_key, exercise_id, name, load_type, primary_muscles, secondary_muscles)"
            " values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            exercise,
        )


def add_user(connection: psycopg.Connection, user_id: str, time_zone: str = "UTC") -> int:
    row = connection.execute(
        "insert into app.users (user_id, time_zone) values (%s, %s) returning user_key", [user_id, time_zone]
    ).fetchone()
    assert row is not None
    return int(row[0])


def random_sets(dice: random.Random) -> list[tuple]:
    """(position, exercise, type, weight, reps, seconds, metres, rpe) of one workout; may be empty or hold no real set."""
    sets = []
    for position in range(dice.choice([0, 1, 1, 2, 3, 5, 8])):
        weight = dice.choice([None, 0, 20, 40, 45 * POUND, 60, 60, 80, 90, 100, 102.5, 120])
        reps = dice.choice([None, 0, 1, 3, 5, 8, 10, 12, 13, 20])
        seconds = dice.choice([None, None, None, 0, 30])
        kind = dice.choice(["normal", "normal", "normal", "warmup", "drop", "failure"])
        rpe = dice.choice([None, None, 1, 7, 8.5, 10])
        exercise = dice.choice(EXERCISES)[0]
        if sets and dice.random() < 0.3:  # as often with another load
            exercise, reps = sets[-1][1], sets[-1][4]
        sets.append((position, exercise, kind, weight, reps, seconds, dice.choice([None, None, None, 100]), rpe))
    return sets


def add_workout(
    connection: psycopg.Connection, user_key: int, started_at: datetime.datetime, sets: list[tuple], seconds: int | None = 3600
) -> int:
    row = connection.execute(
        "insert into app.workouts (user_key, started_at, duration_seconds) values (%s, %s, %s) returning workout_key",
        [user_key, started_at, seconds],
    ).fetchone()
    assert row is not None
    replace_sets(connection, int(row[0]), sets)
    return int(row[0])


def replace_sets(connection: psycopg.Connection, workout_key: int, sets: list[tuple]) -> None:
    connection.execute("delete from app.workout_sets where workout_key = %s", [workout_key])
    connection.cursor().executemany(
        "insert into app.workout_sets (workout_key, position, exercise_key, set_type, weight_kg, reps, duration_seconds, distance_m, rpe)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [(workout_key, *one) for one in sets],
    )


def random_instant(dice: random.Random, around: datetime.datetime) -> datetime.datetime:
    """Mostly within the ranges' edges, some long ago, some after `around`; round hours, so that starts tie."""
    days = dice.choice([0, 0, 1, 5, 6, 7, 8, 13, 14, 29, 30, 31, 59, 60, 61, 89, 90, 180, 364, 365, 366, 729, 730, 900, -1, -3])
    return around - datetime.timedelta(days=days, hours=dice.randrange(24))


def add_population(connection: psycopg.Connection, seed: int, users: int, workouts_each: int, as_of: datetime.datetime) -> None:
    dice = random.Random(seed)
    add_exercises(connection)
    with connection.transaction():
        for number in range(users):
            user = add_user(connection, f"user-{seed}-{number}", dice.choice(ZONES))
            for _ in range(dice.randrange(workouts_each + 1)):
                seconds = dice.choice([None, 0, 1800, 3600, 6 * 3600, 6 * 3600 + 1, 90000])
                workout = add_workout(connection, user, random_instant(dice, as_of), random_sets(dice), seconds)
                if dice.random() < 0.08:
                    connection.execute("update app.workouts set deleted_at = now() where workout_key = %s", [workout])
