"""Plans as rows, for tests of what was done of them."""

import datetime

import psycopg

Slot = tuple[int, int, int, int, float | None]
"""Exercise, sets, fewest and most repetitions, load in kg: the same in all four weeks."""


def add_plan(connection: psycopg.Connection, user: int, starts_on: datetime.date, sessions: list[tuple[int, list[Slot]]]) -> int:
    """A plan that is current from `starts_on` on; `sessions` are (day of the week counted from its start, slots)."""
    slots = [slot for _, own in sessions for slot in own]
    count = len(slots)
    row = connection.execute(
        """
        insert into plans.plans (user_key, as_of, inputs_hash, planned_on, starts_on, mesocycle_started_on, engine_version, goal, split, refusal,
          deload_week, in_pounds, session_day, session_slots, session_minutes, exercise_key, rep_min, rep_max, rest_seconds, superset, warmup_sets,
          exercise_reason, sets_reason, numbers, sets, load_kg, reserve, load_reason)
        values (%s, %s, 1, %s, %s, %s, 'test', 0, 0, 0, 4, false, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning plan_id
        """,
        [
            *(user, datetime.datetime.combine(starts_on, datetime.time(3), datetime.UTC), starts_on, starts_on, starts_on),
            *([day for day, _ in sessions], [len(own) for _, own in sessions], [[60] * 4 for _ in sessions]),
            *([slot[0] for slot in slots], [slot[2] for slot in slots], [slot[3] for slot in slots]),
            *([90] * count, [0] * count, [0] * count, [0] * count, [0] * count, [[0.0] * 4 for _ in slots]),
            *([[slot[1]] * 4 for slot in slots], [[float("nan") if slot[4] is None else slot[4]] * 4 for slot in slots]),
            *([[2] * 4 for _ in slots], [[0] * 4 for _ in slots]),
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])
