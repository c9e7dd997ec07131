"""The exercise catalogue in the database says what its file says."""

from database.catalogue import publish_catalogue
from domain.exercises.catalogue import load_catalogue, split_list
from tests.conftest import Database


def test_publishing_the_catalogue_twice_touches_no_row(database: Database) -> None:
    with database.connect() as connection:
        count = publish_catalogue(connection)
        before = connection.execute("select exercise_key, xmin::text from app.exercises order by 1").fetchall()
        assert publish_catalogue(connection) == count == len(before) == len(load_catalogue().frame)
        assert connection.execute("select exercise_key, xmin::text from app.exercises order by 1").fetchall() == before


def test_a_change_of_the_file_reaches_only_its_own_rows(database: Database) -> None:
    with database.connect() as connection:
        publish_catalogue(connection)
        key = connection.execute("select min(exercise_key) from app.exercises").fetchone()
        assert key is not None
        connection.execute("update app.exercises set primary_muscles = '{neck}', name = 'Old name' where exercise_key = %s", [key[0]])
        before = dict(connection.execute("select exercise_key, xmin::text from app.exercises").fetchall())
        publish_catalogue(connection)
        after = dict(connection.execute("select exercise_key, xmin::text from app.exercises").fetchall())
        assert {changed for changed in after if after[changed] != before[changed]} == {key[0]}


def test_the_rows_say_what_the_file_says(database: Database) -> None:
    frame = load_catalogue().frame.set_index("exercise_key")
    with database.connect() as connection:
        publish_catalogue(connection)
        rows = connection.execute(
            "select exercise_key, exercise_id, name, equipment, primary_muscles, secondary_muscles, load_type from app.exercises where user_key is null"
        ).fetchall()
    assert {row[0] for row in rows} == set(frame.index)
    for key, exercise_id, name, equipment, primary, secondary, load_type in rows:
        exercise = frame.loc[key]
        assert (exercise_id, name, equipment or "", load_type) == tuple(exercise[["exercise_id", "name", "equipment", "load_type"]])
        assert primary == split_list(exercise["primary_muscles"])
        assert secondary == split_list(exercise["secondary_muscles"])
