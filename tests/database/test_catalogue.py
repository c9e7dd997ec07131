"""Publishing the exercise catalogue."""

from database.catalogue import publish_catalogue
from domain.exercises.catalogue import load_frame, split_list
from tests.conftest import Database


def test_the_published_catalogue_is_the_file(database: Database) -> None:
    with database.connect() as connection:
        assert publish_catalogue(connection) == len(load_frame())
        stored = connection.execute(
            "select exercise_key, exercise_id, name, movement_pattern, coalesce(equipment, ''), primary_muscles, secondary_muscles, load_type,"
            " measured_in, user_key from app.exercises order by exercise_key"
        ).fetchall()
    expected = [
        (
            row["exercise_key"],
            row["exercise_id"],
            row["name"],
            row["movement_pattern"],
            row["equipment"],
            split_list(row["primary_muscles"]),
            split_list(row["secondary_muscles"]),
            row["load_type"],
            row["measured_in"],
            None,
        )
        for row in load_frame().sort_values("exercise_key").to_dict("records")
    ]
    assert stored == expected


def test_publishing_again_leaves_no_trace(database: Database) -> None:
    with database.connect() as connection:
        publish_catalogue(connection)
        before = connection.execute("select exercise_key, xid::text, ctid::text from app.exercises order by 1").fetchall()
        publish_catalogue(connection)
        assert connection.execute("select exercise_key, xid::text, ctid::text from app.exercises order by 1").fetchall() == before


def test_only_what_differs_is_written(database: Database) -> None:
    with database.connect() as connection:
        publish_catalogue(connection)
        connection.execute("update app.exercises set name = 'Squatting', equipment = null, primary_muscles = '{}' where exercise_key = 1")
        before = dict(connection.execute("select exercise_key, xid::text from app.exercises").fetchall())
        publish_catalogue(connection)
        after = dict(connection.execute("select exercise_key, xid::text from app.exercises").fetchall())
        assert {key for key in after if after[key] != before[key]} == {1}
        assert connection.execute("select name, equipment from app.exercises where exercise_key = 1").fetchone() == (
            "Squat (Barbell)",
            "barbell",
        )


def test_custom_exercises_and_exercises_that_left_the_file_stay(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id) values ('ann')")
        connection.execute(
            "insert into app.exercises (exercise_id, user_key, name) select 'mine', user_key, 'Squat (Barbell)' from app.users"
        )
        connection.execute("insert into app.exercises (exercise_key, exercise_id, name) values (99999, 'gone', 'Gone')")
        publish_catalogue(connection)
        assert connection.execute("select exercise_key > 100000 from app.exercises where exercise_id = 'mine'").fetchone() == (True,)
        assert connection.execute("select count(*) from app.exercises where exercise_key = 99999").fetchone() == (1,)
