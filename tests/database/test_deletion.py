"""A user can be deleted with everything that hangs on it."""

from tests.conftest import Database


def test_a_user_whose_sets_use_a_custom_exercise_can_be_deleted(database: Database) -> None:
    with database.connect() as connection:
        row = connection.execute("insert into app.users (user_id) values ('ann') returning user_key").fetchone()
        assert row
        connection.execute("insert into app.exercises (exercise_id, user_key, name) values ('mine', %s, 'My Curl')", row)
        connection.execute("insert into app.workouts (user_key, started_at) values (%s, '2024-03-01 10:00Z')", row)
        connection.execute(
            "insert into app.workout_sets (workout_key, position, exercise_key, reps) select workout_key, 1, exercise_key, 5 from app.workouts, app.exercises"
        )
        connection.execute("delete from app.users")
        assert connection.execute("select count(*) from app.workout_sets").fetchone() == (0,)
