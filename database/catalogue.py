"""The exercise catalogue in the database: what `domain/exercises/catalogue.csv` says, published to `app.exercises`."""

import psycopg

from domain.exercises.catalogue import load_catalogue, split_list


def publish_catalogue(connection: psycopg.Connection) -> int:
    """Bring `app.exercises` in line with the catalogue's file; rows that say the same already aren't touched.

    Exercises that left the file stay, since old sets refer to them. Returns the number of exercises in the catalogue.
    """
    frame = load_catalogue().frame
    connection.execute(
        """
        insert into app.exercises as e
          (exercise_key, exercise_id, name, movement_pattern, equipment, primary_muscles, secondary_muscles, load_type, measured_in)
        select
          f.exercise_key, f.exercise_id, f.name, f.movement_pattern, nullif(f.equipment, ''), string_to_array(f.primary_muscles, '|'),
          coalesce(string_to_array(nullif(f.secondary_muscles, ''), '|'), '{}'), f.load_type, f.measured_in
        from unnest(%s::integer[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) as f (
          exercise_key, exercise_id, name, movement_pattern, equipment, primary_muscles, secondary_muscles, load_type, measured_in
        )
        on conflict (exercise_key) do update set
          exercise_id = excluded.exercise_id, name = excluded.name, movement_pattern = excluded.movement_pattern,
          equipment = excluded.equipment, primary_muscles = excluded.primary_muscles, secondary_muscles = excluded.secondary_muscles,
          load_type = excluded.load_type, measured_in = excluded.measured_in
        where (e.exercise_id, e.name, e.movement_pattern, e.equipment, e.primary_muscles, e.secondary_muscles, e.load_type, e.measured_in)
          is distinct from (excluded.exercise_id, excluded.name, excluded.movement_pattern, excluded.equipment, excluded.primary_muscles,
            excluded.secondary_muscles, excluded.load_type, excluded.measured_in)
        """,
        [
            frame["exercise_key"].tolist(),
            *(
                ["|".join(split_list(str(cell))) if column.endswith("muscles") else str(cell) for cell in frame[column]]
                for column in (
                    "exercise_id",
                    "name",
                    "movement_pattern",
                    "equipment",
                    "primary_muscles",
                    "secondary_muscles",
                    "load_type",
                    "measured_in",
                )
            ),
        ],
    )
    return len(frame)
